//! TIME-1: items that exceed their limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Subject;
use crate::conformance::gate::{Counter, Gate};
use crate::{
    CancelReason, CancellationToken, ErrorPolicy, Executor as _, InProcessExt as _, TaskErrorKind,
};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(50);

/// Long enough for any item that does nothing, on a busy machine too.
const AMPLE: Duration = Duration::from_millis(800);

pub(in crate::conformance) fn an_item_over_its_limit_ends_as_timed_out(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map(0..1, |_| CancellationToken::current().wait_timeout(LONG));
    let error = map.timeout(SHORT).collect::<Vec<_>>().unwrap_err();
    let first = error.first().unwrap();
    assert!(
        matches!(first.kind(), TaskErrorKind::TimedOut(limit) if *limit == SHORT),
        "{first}"
    );
}

pub(in crate::conformance) fn its_token_is_set(subject: &Subject) {
    let pool = subject.pool();
    let asked = Counter::new();
    let map = pool.map(0..1, {
        let asked = asked.clone();
        move |_| {
            if CancellationToken::current().wait_timeout(LONG) {
                asked.add();
            }
        }
    });
    map.timeout(SHORT).run().unwrap_err();
    asked.wait_for(1);
}

pub(in crate::conformance) fn an_item_that_does_not_stop_is_left_behind(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let pass = gate.pass();
    let map = pool.map(0..1, move |_| pass.wait());
    // It returns although the gate is closed.
    let outcomes = map.timeout(SHORT).outcomes().unwrap();
    let error = outcomes[0].as_ref().expect_err("the limit was not kept");
    assert!(error.is_timeout(), "{error}");
    gate.open();
}

pub(in crate::conformance) fn a_late_result_is_discarded(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let pass = gate.pass();
    let map = pool.map(0..1, move |n| {
        pass.wait();
        n
    });
    let map = map.timeout(SHORT).on_error(ErrorPolicy::Collect);
    let mut map = map.ordered().unwrap();
    assert!(map.next().unwrap().unwrap_err().is_timeout());
    gate.open();
    assert!(map.next().is_none(), "the late result was delivered");
    let tally = map.finish().tally();
    assert_eq!((tally.ok, tally.timed_out, tally.total()), (0, 1, 1));
}

pub(in crate::conformance) fn the_other_items_keep_their_results(subject: &Subject) {
    let pool = subject.pool_of(2);
    let map = pool.map(0..100, |n| {
        if n == 50 {
            CancellationToken::current().wait_timeout(LONG);
        }
        n
    });
    let map = map.timeout(AMPLE).on_error(ErrorPolicy::Collect);
    let outcomes = map.outcomes().unwrap();
    let failed: Vec<usize> = (0..100).filter(|&at| outcomes[at].is_err()).collect();
    assert_eq!(failed, [50]);
}

pub(in crate::conformance) fn the_time_counts_from_the_start_of_the_item(subject: &Subject) {
    let pool = subject.pool_of(1);
    // Together they take longer than the limit; the last waits longer than it.
    let map = pool.map(0..4, |n| {
        std::thread::sleep(AMPLE / 3);
        n
    });
    let results: Vec<u64> = map.timeout(AMPLE).collect().unwrap();
    assert_eq!(results, [0, 1, 2, 3]);
}

pub(in crate::conformance) fn a_timed_out_item_can_be_retried(subject: &Subject) {
    let pool = subject.pool_of(2);
    let attempts = Arc::new(AtomicUsize::new(0));
    let map = pool.map(0..1, {
        let attempts = attempts.clone();
        move |n| {
            if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
                CancellationToken::current().wait_timeout(LONG);
            }
            n
        }
    });
    let results: Vec<u64> = map.timeout(AMPLE).retries(3).collect().unwrap();
    assert_eq!((results, attempts.load(Ordering::SeqCst)), (vec![0], 2));
}

pub(in crate::conformance) fn a_deadline_ends_the_map(subject: &Subject) {
    let pool = subject.pool_of(1);
    let map = pool.map(0..100, |_| CancellationToken::current().wait_timeout(LONG));
    let map = map.on_error(ErrorPolicy::Collect).deadline(SHORT);
    let outcomes = map.outcomes().unwrap();
    assert_eq!(outcomes.len(), 100);
    for (index, outcome) in outcomes.iter().enumerate() {
        // Whether the running one was seen to stop or was left behind.
        let has_ended = match outcome {
            Ok(_) => index == 0,
            Err(error) if error.is_timeout() => index == 0,
            Err(error) => matches!(
                error.kind(),
                TaskErrorKind::Cancelled(CancelReason::Deadline)
            ),
        };
        assert!(has_ended, "item {index}: {outcome:?}");
    }
}

pub(in crate::conformance) fn a_deadline_leaves_running_items_behind(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let pass = gate.pass();
    let map = pool.map(0..100, move |_| pass.wait()).deadline(SHORT);
    let error = map.collect::<Vec<_>>().unwrap_err();
    let first = error.first().unwrap();
    assert!(first.is_timeout() || first.is_cancelled(), "{first}");
    gate.open();
}

pub(in crate::conformance) fn a_token_leaves_running_items_behind_after_the_grace(
    subject: &Subject,
) {
    let pool = subject.pool();
    let gate = Gate::new();
    let started = Counter::new();
    let token = CancellationToken::new();
    let map = pool.map(0..100, {
        let (pass, started) = (gate.pass(), started.clone());
        move |_| {
            started.add();
            pass.wait();
        }
    });
    let canceller = std::thread::spawn({
        let token = token.clone();
        move || {
            started.wait_for(1);
            token.cancel();
        }
    });
    let map = map.cancel_token(&token).grace(SHORT);
    let error = map.run().unwrap_err();
    assert!(error.first().unwrap().is_cancelled(), "{error}");
    gate.open();
    canceller.join().unwrap();
}

pub(in crate::conformance) fn the_pool_has_its_workers_back_in_the_end(subject: &Subject) {
    let pool = subject.pool();
    let num_workers = pool.parallelism().get();
    let gate = Gate::new();
    let pass = gate.pass();
    let map = pool.map(0..num_workers, move |_| pass.wait());
    let map = map.timeout(SHORT).on_error(ErrorPolicy::Collect);
    map.run().unwrap();
    gate.open();
    let there = Counter::new();
    let submit = |_| {
        let there = there.clone();
        pool.submit((), move |()| there.meet(num_workers))
    };
    let handles: Vec<_> = (0..num_workers).map(submit).collect();
    for handle in handles {
        handle.join().unwrap();
    }
}
