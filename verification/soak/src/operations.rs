//! What clients do with a pool, and how each result is checked.
//!
//! In a round whose pool is shut down suddenly, items may end as cancelled, refused or
//! dropped. What does have a result must have the right one, in every round.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use taskfarm::{
    CancelOutcome, CancellationToken, ErrorPolicy, Executor, InProcess, InProcessExt, MapError,
    TaskError, TaskErrorKind, When, as_completed, wait,
};

use crate::check::{Counted, digest, panic_as_meant};
use crate::random::{Random, mix};

/// One of the callers of a pool.
pub(crate) struct Client<'a> {
    pub(crate) pool: &'a dyn Executor<Reach = InProcess>,
    pub(crate) random: Random,
    /// Whether the pool may be shut down at any time.
    pub(crate) is_sudden: bool,
    pub(crate) can_limit: bool,
}

pub(crate) type Operation = fn(&mut Client<'_>);

pub(crate) const OPERATIONS: &[Operation] = &[
    collect_in_place,
    collect_other_type,
    collect_an_iterator,
    fail_under_each_policy,
    panic_now_and_then,
    stream_in_order_and_stop_early,
    stream_as_completed,
    for_each_over_an_iterator,
    submit_and_join,
    submit_and_cancel,
    submit_and_wait_for_several,
    scope_with_borrowed_data,
    nested_maps,
    nested_submits,
    limits,
    retries,
    states_of_workers,
    cancel_from_outside,
];

fn items(num_items: usize) -> Vec<Counted> {
    (0..num_items as u64).map(Counted::new).collect()
}

fn work(item: Counted) -> Counted {
    Counted::new(digest(item.get()))
}

/// Whether the item number `n` of an operation goes wrong, once in `times`.
fn goes_wrong(salt: u64, n: u64, times: u64) -> bool {
    mix(salt ^ n).is_multiple_of(times)
}

impl Client<'_> {
    fn len(&mut self) -> usize {
        self.random.any_size(13)
    }

    /// The results, or nothing if the pool was shut down.
    fn results<R, E: Display + Debug>(
        &self,
        result: Result<Vec<R>, MapError<E>>,
    ) -> Option<Vec<R>> {
        match result {
            Ok(results) => Some(results),
            Err(error) if self.is_sudden => {
                let failures = error.failures();
                assert!(failures.iter().all(is_from_shutdown), "{error}");
                None
            }
            Err(error) => panic!("a map failed: {error}"),
        }
    }

    /// The result of a task that cannot fail, or nothing if the pool was shut down.
    fn result<R, E: Display + Debug>(&self, result: Result<R, TaskError<E>>) -> Option<R> {
        match result {
            Ok(value) => Some(value),
            Err(error) if self.is_sudden && is_from_shutdown(&error) => None,
            Err(error) => panic!("a task failed: {error}"),
        }
    }
}

fn is_from_shutdown<E>(error: &TaskError<E>) -> bool {
    error.is_cancelled()
        || matches!(
            error.kind(),
            TaskErrorKind::Refused | TaskErrorKind::Dropped
        )
}

fn check_all(results: &[Counted], num_items: usize) {
    assert_eq!(results.len(), num_items);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.get(), digest(n as u64), "item {n}");
    }
}

fn collect_in_place(client: &mut Client<'_>) {
    let num_items = client.len();
    let mut map = client.pool.map(items(num_items), work);
    if client.random.once_in(2) {
        map = map.chunk_size(1 + client.random.any_size(10));
    }
    let result = map.collect::<Vec<_>>();
    if let Some(results) = client.results(result) {
        check_all(&results, num_items);
    }
}

fn collect_other_type(client: &mut Client<'_>) {
    let num_items = client.len();
    let map = client.pool.map(items(num_items), |item| (work(item), 0_u8));
    let result = map.collect::<Vec<_>>();
    if let Some(results) = client.results(result) {
        let results: Vec<_> = results.into_iter().map(|(result, _)| result).collect();
        check_all(&results, num_items);
    }
}

fn collect_an_iterator(client: &mut Client<'_>) {
    let num_items = client.len();
    let numbers = (0..num_items as u64).map(Counted::new);
    let result = match client.random.once_in(2) {
        true => client.pool.map(numbers, work).collect(),
        // Of unknown length.
        false => {
            let some = numbers.filter(|n| n.get() < u64::MAX);
            client.pool.map(some, work).collect()
        }
    };
    if let Some(results) = client.results(result) {
        check_all(&results, num_items);
    }
}

fn fail_under_each_policy(client: &mut Client<'_>) {
    let num_items = client.len();
    let salt = client.random.next();
    let times = 1 + client.random.any_size(10) as u64;
    let function = move |item: Counted| match goes_wrong(salt, item.get(), times) {
        true => Err(format!("{} went wrong", item.get())),
        false => Ok(work(item)),
    };
    let wrong: HashSet<usize> = (0..num_items)
        .filter(|&n| goes_wrong(salt, n as u64, times))
        .collect();
    let policies = [
        ErrorPolicy::FailFast,
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
        ErrorPolicy::StopAfter(3),
        ErrorPolicy::StopAbove(50.0),
    ];
    let policy = client.random.one_of(&policies);
    let map = client
        .pool
        .try_map(items(num_items), function)
        .on_error(policy);
    if client.random.once_in(2) {
        let outcomes = map.outcomes().expect("the options are right");
        assert_eq!(outcomes.len(), num_items, "{policy:?}");
        for (n, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(result) => assert_eq!(result.get(), digest(n as u64)),
                Err(error) if error.cause().is_some() => {
                    assert!(wrong.contains(&n) && error.index() == n, "{error}");
                }
                Err(error) => assert!(is_from_shutdown(error), "{error}"),
            }
        }
        return;
    }
    match map.collect::<Vec<_>>() {
        Ok(results) if policy == ErrorPolicy::Skip => {
            if !client.is_sudden {
                assert_eq!(results.len(), num_items - wrong.len());
            }
            let right = (0..num_items).filter(|n| !wrong.contains(n));
            let right: HashSet<u64> = right.map(|n| digest(n as u64)).collect();
            assert!(results.iter().all(|result| right.contains(&result.get())));
        }
        Ok(results) => {
            assert!(wrong.is_empty(), "{policy:?} passed failures");
            check_all(&results, num_items);
        }
        Err(error) => {
            let failures = error.failures();
            let is_known = |failure: &TaskError<_>| {
                wrong.contains(&failure.index()) && failure.cause().is_some()
            };
            let by_shutdown =
                |failure: &TaskError<_>| client.is_sudden && is_from_shutdown(failure);
            let is_right = |failure| is_known(failure) || by_shutdown(failure);
            assert!(failures.iter().all(is_right), "{policy:?}: {error}");
            if policy == ErrorPolicy::Collect && !client.is_sudden {
                assert_eq!(failures.len(), wrong.len());
            }
        }
    }
}

fn panic_now_and_then(client: &mut Client<'_>) {
    let num_items = client.len().min(500);
    let salt = client.random.next();
    let function = move |item: Counted| match goes_wrong(salt, item.get(), 20) {
        true => panic_as_meant(),
        false => work(item),
    };
    let map = client.pool.map(items(num_items), function);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes();
    let outcomes = outcomes.expect("the options are right");
    assert_eq!(outcomes.len(), num_items);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let is_wrong = goes_wrong(salt, n as u64, 20);
        match outcome {
            Ok(result) => assert!(!is_wrong && result.get() == digest(n as u64)),
            Err(error) if error.is_panic() => assert!(is_wrong && error.index() == n),
            Err(error) => assert!(client.is_sudden && is_from_shutdown(&error), "{error}"),
        }
    }
}

fn stream_in_order_and_stop_early(client: &mut Client<'_>) {
    let wanted = client.len();
    let mut map = client.pool.map((0..).map(Counted::new), work);
    if client.random.once_in(2) {
        map = map.in_flight(1 + client.random.any_size(8));
    }
    if client.random.once_in(2) {
        map = map.chunk_size(1 + client.random.any_size(8));
    }
    let results = map.ordered().expect("the options are right");
    for (n, result) in results.take(wanted).enumerate() {
        match client.result(result) {
            Some(result) => assert_eq!(result.get(), digest(n as u64), "item {n}"),
            None => return,
        }
    }
}

fn stream_as_completed(client: &mut Client<'_>) {
    let num_items = client.len();
    let mut map = client.pool.map(items(num_items), work);
    if client.random.once_in(2) {
        map = map.in_flight(1 + client.random.any_size(8));
    }
    let mut seen = HashSet::new();
    let mut is_cut = false;
    for (index, result) in map.as_completed().expect("the options are right") {
        match client.result(result) {
            Some(result) => {
                assert_eq!(result.get(), digest(index as u64), "item {index}");
                assert!(seen.insert(index), "item {index} came twice");
            }
            None => is_cut = true,
        }
    }
    assert!(is_cut || seen.len() == num_items);
}

fn for_each_over_an_iterator(client: &mut Client<'_>) {
    let num_items = client.len();
    let mut next = 0;
    let map = client
        .pool
        .map((0..num_items as u64).map(Counted::new), work);
    let ended = map.for_each(|result| {
        assert_eq!(result.get(), digest(next), "item {next}");
        next += 1;
    });
    match ended {
        Ok(report) => {
            assert_eq!(next, num_items as u64);
            assert_eq!(report.tally().ok, num_items as u64);
        }
        Err(error) => assert!(client.is_sudden, "{error}"),
    }
}

fn submit_and_join(client: &mut Client<'_>) {
    let num_tasks = client.len().min(2000);
    let handles: Vec<_> = items(num_tasks)
        .into_iter()
        .map(|item| client.pool.submit(item, work))
        .collect();
    for (n, handle) in handles.into_iter().enumerate() {
        let result = match client.random.below(16) {
            // Detached.
            0 => continue,
            1 => match handle.join_timeout(Duration::from_micros(50)) {
                Ok(result) => result,
                Err(handle) => handle.join(),
            },
            2 => match handle.try_join() {
                Ok(result) => result,
                Err(handle) => handle.join(),
            },
            _ => handle.join(),
        };
        if let Some(result) = client.result(result) {
            assert_eq!(result.get(), digest(n as u64));
        }
    }
}

fn submit_and_cancel(client: &mut Client<'_>) {
    let num_tasks = client.len().min(1000);
    let handles: Vec<_> = items(num_tasks)
        .into_iter()
        .map(|item| client.pool.submit(item, work))
        .collect();
    for (n, handle) in handles.into_iter().enumerate() {
        if client.random.once_in(4) {
            drop(handle.cancel_on_drop());
            continue;
        }
        let outcome = client.random.once_in(2).then(|| handle.cancel());
        match (handle.join(), outcome) {
            (Ok(result), None | Some(CancelOutcome::Asked | CancelOutcome::TooLate)) => {
                assert_eq!(result.get(), digest(n as u64));
            }
            (Err(error), Some(CancelOutcome::NotStarted)) => assert!(error.is_cancelled()),
            (Err(error), _) if client.is_sudden => assert!(is_from_shutdown(&error), "{error}"),
            (result, outcome) => panic!("cancel said {outcome:?}, then came {result:?}"),
        }
    }
}

fn submit_and_wait_for_several(client: &mut Client<'_>) {
    let num_tasks = client.len().min(300);
    let handles: Vec<_> = items(num_tasks)
        .into_iter()
        .map(|item| client.pool.submit(item, work))
        .collect();
    let when = client
        .random
        .one_of(&[When::First, When::FirstError, When::All]);
    let timeout = client
        .random
        .once_in(2)
        .then_some(Duration::from_micros(200));
    let done = wait(&handles, when, timeout);
    assert!(done.iter().all(|&n| handles[n].is_finished()));
    if when == When::All && timeout.is_none() {
        assert_eq!(done.len(), num_tasks);
    }
    let mut num_results = 0;
    for (n, result) in as_completed(handles) {
        num_results += 1;
        if let Some(result) = client.result(result) {
            assert_eq!(result.get(), digest(n as u64));
        }
    }
    assert_eq!(num_results, num_tasks);
}

fn scope_with_borrowed_data(client: &mut Client<'_>) {
    let numbers = items(client.len().min(1000));
    let pool = client.pool;
    let sum = AtomicU64::new(0);
    let nested = AtomicI64::new(0);
    let num_joined = client.random.below(numbers.len() + 1);
    let num_ok = pool.scope(|s| {
        let submit = |number| {
            s.submit(number, |number: &Counted| {
                if number.get().is_multiple_of(16) {
                    nested.fetch_add(1, Ordering::Relaxed);
                    drop(s.submit((), |()| nested.fetch_sub(1, Ordering::Relaxed)));
                }
                sum.fetch_add(number.get(), Ordering::Relaxed);
                number.clone()
            })
        };
        let handles: Vec<_> = numbers.iter().map(submit).collect();
        let joined = handles.into_iter().take(num_joined);
        joined
            .map(|handle| handle.join().is_ok())
            .filter(|&ran| ran)
            .count()
    });
    if !client.is_sudden {
        let expected: u64 = numbers.iter().map(Counted::get).sum();
        assert_eq!(num_ok, num_joined);
        assert_eq!(
            sum.into_inner(),
            expected,
            "a task of the scope did not run"
        );
        assert_eq!(nested.into_inner(), 0, "a nested task did not run");
    }
}

fn nested_maps(client: &mut Client<'_>) {
    let pool = client.pool;
    let num_outer = client.random.below(12);
    let num_inner = client.random.below(60);
    let streamed = client.random.once_in(2);
    let outer = pool.try_map(0..num_outer as u64, |outer| {
        let inner = pool.map(items(num_inner), move |item| work(item).get() ^ outer);
        match streamed {
            false => inner.collect::<Vec<_>>().map_err(|error| error.to_string()),
            true => {
                let results = inner.ordered().expect("the options are right");
                let results: Result<_, _> = results.collect();
                results.map_err(|error| error.to_string())
            }
        }
    });
    match outer.collect::<Vec<_>>() {
        Ok(results) => {
            assert_eq!(results.len(), num_outer);
            for (outer, inner) in results.iter().enumerate() {
                let expected = (0..num_inner as u64).map(|n| digest(n) ^ outer as u64);
                assert!(inner.iter().copied().eq(expected), "outer item {outer}");
            }
        }
        Err(error) => assert!(client.is_sudden, "{error}"),
    }
}

/// A tree of tasks that wait for their children.
fn nested_submits(client: &mut Client<'_>) {
    fn count(pool: &dyn Executor<Reach = InProcess>, depth: usize) -> Result<u64, String> {
        if depth == 0 {
            return Ok(1);
        }
        pool.scope(|s| {
            let children: Vec<_> = (0..3)
                .map(|_| s.submit(depth - 1, |depth| count(pool, depth)))
                .collect();
            let mut sum = 0;
            for child in children {
                sum += child.join().map_err(|error| error.to_string())??;
            }
            Ok(sum)
        })
    }
    let depth = client.random.below(5);
    match count(client.pool, depth) {
        Ok(leaves) => assert_eq!(leaves, 3_u64.pow(depth as u32)),
        Err(error) => assert!(client.is_sudden, "{error}"),
    }
}

fn limits(client: &mut Client<'_>) {
    if !client.can_limit {
        return;
    }
    let num_items = client.random.below(40);
    let salt = client.random.next();
    let function = move |item: Counted| {
        if goes_wrong(salt, item.get(), 16) {
            CancellationToken::current().wait_timeout(Duration::from_secs(20));
        }
        work(item)
    };
    let map = client.pool.map(items(num_items), function);
    let map = map.on_error(ErrorPolicy::Collect);
    let limit = Duration::from_millis(2 + client.random.below(10) as u64);
    let map = match client.random.once_in(3) {
        true => map.deadline(limit),
        false => map.timeout(limit),
    };
    let outcomes = map.outcomes().expect("the options are right");
    assert_eq!(outcomes.len(), num_items);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        // On a busy machine any item may take too long.
        match outcome {
            Ok(result) => assert_eq!(result.get(), digest(n as u64)),
            Err(error) => {
                let is_right = error.is_timeout() || is_from_shutdown(&error);
                assert!(error.index() == n && is_right, "{error}");
            }
        }
    }
}

fn retries(client: &mut Client<'_>) {
    let num_items = client.len().min(500);
    let attempts: Vec<_> = (0..num_items).map(|_| AtomicU64::new(0)).collect();
    let salt = client.random.next();
    let function = |item: Counted| {
        let attempt = attempts[item.get() as usize].fetch_add(1, Ordering::Relaxed);
        match goes_wrong(salt ^ attempt, item.get(), 4) && attempt < 2 {
            true if item.get().is_multiple_of(2) => panic_as_meant(),
            true => Err("not yet"),
            false => Ok(work(item)),
        }
    };
    let map = client.pool.try_map(items(num_items), function).retries(2);
    match map.collect::<Vec<_>>() {
        Ok(results) => check_all(&results, num_items),
        // A map that is stopped does not try again.
        Err(error) => assert!(client.is_sudden, "{error}"),
    }
}

fn states_of_workers(client: &mut Client<'_>) {
    let num_items = client.len();
    let num_states = AtomicI64::new(0);
    let num_calls = AtomicU64::new(0);
    let crew = client.pool.init(|| {
        num_states.fetch_add(1, Ordering::Relaxed);
        0_u64
    });
    let crew = crew.on_exit(|calls| {
        num_calls.fetch_add(calls, Ordering::Relaxed);
        num_states.fetch_sub(1, Ordering::Relaxed);
    });
    let map = crew.map(items(num_items), |calls: &mut u64, item| {
        *calls += 1;
        work(item)
    });
    let result = map.collect::<Vec<_>>();
    if let Some(results) = client.results(result) {
        check_all(&results, num_items);
        assert_eq!(num_calls.into_inner(), num_items as u64);
    }
    assert_eq!(num_states.into_inner(), 0, "a state was made and not ended");
}

fn cancel_from_outside(client: &mut Client<'_>) {
    let num_items = client.len();
    let token = CancellationToken::new();
    let delay = Duration::from_micros(client.random.any_size(11) as u64);
    let policy = client
        .random
        .one_of(&[ErrorPolicy::FailFast, ErrorPolicy::Skip]);
    std::thread::scope(|s| {
        s.spawn(|| {
            std::thread::sleep(delay);
            token.cancel();
        });
        let map = client.pool.map(items(num_items), work);
        match map
            .on_error(policy)
            .cancel_token(&token)
            .collect::<Vec<_>>()
        {
            Ok(results) => check_all(&results, num_items),
            Err(error) => assert!(error.failures().iter().all(is_from_shutdown), "{error}"),
        }
    });
}
