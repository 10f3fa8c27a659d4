//! PAN-1: panics wherever user code runs.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;

use super::{Pool, Subject};
use crate::conformance::gate::Counter;
use crate::{CancellationToken, ErrorPolicy, InProcessExt as _, Observer};

/// Panics when it is dropped, except while the thread panics already.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a panic in drop");
        }
    }
}

fn check(pool: &Pool) {
    let results: Vec<u64> = pool.map(0..200, |n| n).collect().unwrap();
    assert_eq!(results, (0..200).collect::<Vec<_>>());
    assert_eq!(pool.submit(4, |n| n).join().unwrap(), 4);
}

pub(in crate::conformance) fn the_place_of_a_panic_is_kept(subject: &Subject) {
    let pool = subject.pool();
    let error = pool.submit((), |()| panic!("here")).join().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("pan_1.rs"), "{message}");
}

pub(in crate::conformance) fn a_payload_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let error = pool.submit((), |()| panic_any(Grenade)).join().unwrap_err();
    assert!(error.is_panic(), "{error}");
    let map = pool.map(0..20, |_| panic_any(Grenade));
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    assert_eq!(outcomes.iter().filter(|it| it.is_err()).count(), 20);
    check(&pool);
}

pub(in crate::conformance) fn a_result_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..10 {
        // It goes off on whichever thread is the last to know of it.
        let task = pool.submit((), |()| Grenade);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
    }
    pool.map(0..20, |_| Grenade).run().unwrap();
    let map = pool.map(0..100, |_| Grenade).ordered().unwrap();
    // What is left in it goes off on this thread.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(map)));
    check(&pool);
}

pub(in crate::conformance) fn a_result_of_a_failed_collect_may_panic_when_it_is_dropped(
    subject: &Subject,
) {
    let pool = subject.pool_of(1);
    for bad in [1, 50] {
        let fail = move |n| if n == bad { Err("bad") } else { Ok(Grenade) };
        let map = pool.try_map((0..100).collect::<Vec<_>>(), fail);
        let _ = catch_unwind(AssertUnwindSafe(|| map.collect::<Vec<_>>()));
        let map = pool.try_map(0..100, fail);
        let _ = catch_unwind(AssertUnwindSafe(|| map.collect::<Vec<_>>()));
    }
    check(&pool);
}

pub(in crate::conformance) fn an_unstarted_item_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let token = CancellationToken::new();
    token.cancel();
    let grenades = || (0..20).map(|_| Grenade);
    let map = pool.map(grenades(), std::mem::forget).cancel_token(&token);
    let _ = catch_unwind(AssertUnwindSafe(|| map.run()));
    let fail = |grenade| {
        std::mem::forget(grenade);
        Err::<(), _>("bad")
    };
    let map = pool.try_map(grenades(), fail).chunk_size(10);
    let _ = catch_unwind(AssertUnwindSafe(|| map.outcomes()));
    let map = pool.try_map(grenades().collect::<Vec<_>>(), fail);
    let _ = catch_unwind(AssertUnwindSafe(|| map.collect::<Vec<_>>()));
    check(&pool);
}

pub(in crate::conformance) fn a_function_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let grenade = Grenade;
    let task = pool.submit((), move |()| {
        let _carried = &grenade;
        5
    });
    // It goes off inside the task.
    drop(task.join());
    let grenade = Arc::new(Grenade);
    let map = pool.map(0..50, move |n| {
        let _carried = &grenade;
        n
    });
    let _ = catch_unwind(AssertUnwindSafe(|| drop(map.run())));
    check(&pool);
}

pub(in crate::conformance) fn a_cancelled_task_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..20 {
        let grenade = Grenade;
        let task = pool.submit((), move |()| std::mem::forget(grenade));
        task.cancel();
        drop(task.join());
    }
    check(&pool);
}

/// An error that cannot be printed.
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a panic in display");
    }
}

struct Listener;

impl Observer for Listener {}

pub(in crate::conformance) fn an_error_may_panic_when_it_is_printed(subject: &Subject) {
    let pool = subject.pool();
    for policy in [
        ErrorPolicy::FailFast,
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
    ] {
        let fail = |n| if n % 3 == 0 { Err(Unspeakable) } else { Ok(n) };
        let map = pool.try_map(0..10, fail).on_error(policy).observe(Listener);
        let outcomes = map.outcomes().unwrap();
        assert_eq!(outcomes.len(), 10);
        assert!(outcomes[0].is_err(), "under {policy:?}");
        let map = pool
            .try_map((0..10).collect::<Vec<_>>(), fail)
            .observe(Listener);
        assert!(map.collect::<Vec<_>>().is_err());
    }
    check(&pool);
}

/// An item that cannot be copied.
struct Unique(u64);

impl Clone for Unique {
    fn clone(&self) -> Self {
        assert!(self.0 != 3, "a panic in clone");
        Self(self.0)
    }
}

pub(in crate::conformance) fn a_clone_that_panics_is_the_outcome_of_its_item(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map((0..10).map(Unique), |item| item.0).retries(1);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    let failed: Vec<usize> = (0..10).filter(|&at| outcomes[at].is_err()).collect();
    assert_eq!(failed, [3]);
    let message = outcomes[3].as_ref().unwrap_err().to_string();
    assert!(message.contains("a panic in clone"), "{message}");
}

/// An item whose copies panic when they are dropped.
struct Fragile {
    is_copy: bool,
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        Self { is_copy: true }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if self.is_copy && !std::thread::panicking() {
            panic!("a copy panics in drop");
        }
    }
}

pub(in crate::conformance) fn an_unused_copy_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let items = || (0..10).map(|_| Fragile { is_copy: false });
    let map = pool.map(items(), std::mem::forget).retries(2);
    assert_eq!(map.run().unwrap().tally().ok, 10);
    let fail = |item| {
        std::mem::forget(item);
        Err::<(), _>("no")
    };
    let map = pool.try_map(items(), fail).retries(2);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    assert!(outcomes.iter().all(Result::is_err));
    check(&pool);
}

/// An error that panics when it is dropped.
struct Touchy;

impl fmt::Display for Touchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("touchy")
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("an error panics in drop");
        }
    }
}

pub(in crate::conformance) fn an_error_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    for policy in [
        ErrorPolicy::FailFast,
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
    ] {
        for retries in [0, 2] {
            let map = pool.try_map(0..10, |_| Err::<(), _>(Touchy));
            let map = map.on_error(policy).retries(retries);
            // The last of it goes off on this thread.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(map.run())));
        }
    }
    check(&pool);
}

pub(in crate::conformance) fn a_state_that_cannot_be_made_is_the_outcome_of_its_item(
    subject: &Subject,
) {
    let pool = subject.pool();
    let map = pool
        .init(|| panic!("no state"))
        .map(0..10, |_: &mut u64, n: u64| n);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    for (index, outcome) in outcomes.iter().enumerate() {
        let message = outcome.as_ref().unwrap_err().to_string();
        let wanted = format!("item {index} panicked: no state");
        assert!(message.starts_with(&wanted), "{message}");
    }
    check(&pool);
}

pub(in crate::conformance) fn an_exit_hook_may_panic(subject: &Subject) {
    let pool = subject.pool();
    let crew = || pool.init(|| 0).on_exit(|_: u64| panic!("an exit hook"));
    let results: Vec<u64> = crew().map(0..50, |_, n| n).collect().unwrap();
    assert_eq!(results.len(), 50);
    let map = crew().map((0..50).collect::<Vec<u64>>(), |_, n| n);
    assert_eq!(map.collect::<Vec<_>>().unwrap().len(), 50);
    check(&pool);
}

pub(in crate::conformance) fn a_state_may_panic_when_it_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.init(|| Grenade).map(0..50, |_, n: u64| n);
    assert_eq!(map.collect::<Vec<_>>().unwrap().len(), 50);
    let map = pool.init(|| Grenade).map(0..50, |_, n: u64| {
        assert!(n % 10 != 5);
        n
    });
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    assert_eq!(outcomes.iter().filter(|it| it.is_err()).count(), 5);
    check(&pool);
}

pub(in crate::conformance) fn a_panic_replaces_the_state_of_its_worker(subject: &Subject) {
    let pool = subject.pool_of(1);
    let num_made = Counter::new();
    let made = num_made.clone();
    let crew = pool.init(move || {
        made.add();
        Cell::new(0_u64)
    });
    let map = crew.map((0..20).collect::<Vec<u64>>(), |dirt, n| {
        assert_eq!(dirt.replace(n + 1), 0, "a state that a panic left dirty");
        assert!(n != 4);
        dirt.set(0);
        n
    });
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    let failed: Vec<usize> = (0..20).filter(|&at| outcomes[at].is_err()).collect();
    assert_eq!(failed, [4]);
    assert_eq!(num_made.get(), 2, "states that were made");
}

pub(in crate::conformance) fn a_callback_may_panic(subject: &Subject) {
    let pool = subject.pool();
    let called = Counter::new();
    for _ in 0..20 {
        let called = called.clone();
        pool.submit((), |()| ()).on_done(move |_| {
            called.add();
            panic!("a callback");
        });
    }
    called.wait_for(20);
    check(&pool);
}

pub(in crate::conformance) fn a_panic_in_for_each_reaches_its_caller(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map(0.., |n: u64| n);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        map.for_each(|n| assert!(n != 100, "enough"))
    }));
    assert!(caught.is_err(), "an endless map ended otherwise");
    check(&pool);
}

pub(in crate::conformance) fn a_panic_inside_a_nested_map_stays_inside(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map((0..10).collect::<Vec<u64>>(), |n| {
        let inner = pool.map(0..10, |k| assert!(k != n)).run();
        inner.unwrap_err().first().map(|error| error.index())
    });
    let at: Vec<_> = map.collect().unwrap();
    assert_eq!(at, (0..10).map(Some).collect::<Vec<_>>());
}
