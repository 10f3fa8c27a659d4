//! RES-1: states and leftovers of earlier calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Subject;
use crate::conformance::gate::Gate;
use crate::{CancellationToken, Executor as _, InProcessExt as _};

pub(in crate::conformance) fn every_state_is_made_and_taken_once(subject: &Subject) {
    let pool = subject.pool();
    let most = pool.parallelism().get() + 1;
    for items in [0..1000, 0..1, 0..0] {
        let (made, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let crew = pool.init(|| made.fetch_add(1, Ordering::SeqCst));
        let crew = crew.on_exit(|_| {
            taken.fetch_add(1, Ordering::SeqCst);
        });
        let num = crew.map(items.collect::<Vec<usize>>(), |_, n| n);
        let num = num.collect::<Vec<_>>().unwrap().len();
        let (made, taken) = (made.into_inner(), taken.into_inner());
        assert_eq!(made, taken, "states made and taken for {num} items");
        assert!(made <= most.min(num), "{made} states for {num} items");
    }
}

pub(in crate::conformance) fn a_state_is_never_used_by_two_threads_at_once(subject: &Subject) {
    let pool = subject.pool();
    // `Cell` is not `Sync`: that it compiles is half of the case.
    let map = pool
        .init(|| std::cell::Cell::new(0))
        .map(0..2000, |cell, n: u64| {
            cell.set(n);
            std::thread::yield_now();
            cell.get() == n
        });
    let results: Vec<bool> = map.collect().unwrap();
    assert!(
        results.into_iter().all(|it| it),
        "two threads shared a state"
    );
}

pub(in crate::conformance) fn a_left_behind_item_does_not_disturb_the_next_map(subject: &Subject) {
    let pool = subject.pool_of(2);
    for _ in 0..5 {
        let gate = Gate::new();
        let pass = gate.pass();
        let map = pool.map(0..1_u64, move |n| {
            pass.wait();
            n + 1000
        });
        let map = map.timeout(Duration::from_millis(20));
        map.collect::<Vec<_>>().unwrap_err();
        let map = pool.map(0..100_u64, |n| n).ordered().unwrap();
        gate.open();
        let results: Vec<u64> = map.map(Result::unwrap).collect();
        assert_eq!(results, (0..100).collect::<Vec<_>>());
    }
}

pub(in crate::conformance) fn the_token_of_one_map_is_not_that_of_the_next(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..20 {
        let fail = |n: u64| if n == 5 { Err("five") } else { Ok(n) };
        pool.try_map(0..50, fail).run().unwrap_err();
        let map = pool.map(0..50, |_| CancellationToken::current().is_cancelled());
        let seen: Vec<bool> = map.collect().unwrap();
        assert!(!seen.contains(&true), "a fresh item saw a cancelled token");
        let task = pool.submit((), |()| CancellationToken::current().is_cancelled());
        assert!(!task.join().unwrap(), "a fresh task saw a cancelled token");
    }
}

pub(in crate::conformance) fn a_worker_is_no_worker_after_the_map(subject: &Subject) {
    let pool = subject.pool();
    pool.map(0..10, |n: u64| n).collect::<Vec<_>>().unwrap();
    // Outside of tasks there is no token to be cancelled with.
    assert!(!CancellationToken::current().is_cancelled());
    let shared = Arc::new(());
    let held = shared.clone();
    pool.map(0..10, move |_| Arc::strong_count(&held))
        .run()
        .unwrap();
    assert_eq!(
        Arc::strong_count(&shared),
        1,
        "the function of a map is still held"
    );
}
