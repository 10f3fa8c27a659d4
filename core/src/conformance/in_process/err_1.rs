//! ERR-1: what a failure does to the other items.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::Subject;
use crate::conformance::gate::{Counter, Gate};
use crate::{CancelReason, CancellationToken, Executor as _, InProcessExt as _, Observer};

/// Longer than any deadline of the kit: a task that sleeps it through was not woken.
const LONG: Duration = Duration::from_secs(600);

pub(in crate::conformance) fn with_one_worker_nothing_starts_after_the_failure(subject: &Subject) {
    let pool = subject.pool_of(1);
    let num_started = AtomicUsize::new(0);
    let fail = |n: u64| {
        num_started.fetch_add(1, Ordering::SeqCst);
        if n == 100 { Err("bad") } else { Ok(n) }
    };
    let items: Vec<u64> = (0..5000).collect();
    pool.try_map(items, fail).collect::<Vec<_>>().unwrap_err();
    assert_eq!(
        num_started.swap(0, Ordering::SeqCst),
        101,
        "collect of a vector"
    );
    pool.try_map(0..5000, fail).collect::<Vec<_>>().unwrap_err();
    assert_eq!(num_started.swap(0, Ordering::SeqCst), 101, "collect");
    pool.try_map(0..5000, fail).for_each(drop).unwrap_err();
    assert_eq!(num_started.swap(0, Ordering::SeqCst), 101, "for_each");
}

struct Known(Arc<AtomicBool>);

impl Observer for Known {
    fn on_failure(&self, _: usize, _: &str) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(in crate::conformance) fn nothing_starts_once_the_failure_is_known(subject: &Subject) {
    let pool = subject.pool();
    let num_workers = pool.parallelism().get();
    for _ in 0..20 {
        let is_known = Arc::new(AtomicBool::new(false));
        let num_late = AtomicUsize::new(0);
        let map = pool.try_map(0..5000, |n| {
            if is_known.load(Ordering::SeqCst) {
                num_late.fetch_add(1, Ordering::SeqCst);
            }
            if n == 50 { Err("bad") } else { Ok(n) }
        });
        map.observe(Known(is_known.clone())).run().unwrap_err();
        // Each other worker may have been about to start one.
        let num_late = num_late.into_inner();
        assert!(
            num_late <= num_workers,
            "{num_late} items started afterwards"
        );
    }
}

pub(in crate::conformance) fn running_items_are_asked_to_stop(subject: &Subject) {
    let pool = subject.pool_of(2);
    let running = Counter::new();
    let map = pool.try_map(vec![0, 1], |n| {
        running.meet(2);
        if n == 0 {
            return Err("bad");
        }
        let token = CancellationToken::current();
        assert!(token.wait_timeout(LONG), "nobody asked");
        assert_eq!(token.reason(), Some(CancelReason::OtherFailed));
        Ok(())
    });
    let error = map.collect::<Vec<_>>().unwrap_err();
    assert_eq!(error.to_string(), "item 0 failed: bad");
}

pub(in crate::conformance) fn items_that_do_not_stop_are_left_behind_in_limited_maps(
    subject: &Subject,
) {
    let pool = subject.pool_of(2);
    let gate = Gate::new();
    let running = Counter::new();
    let pass = gate.pass();
    let map = pool.try_map(0..2, move |n| {
        running.meet(2);
        if n == 0 {
            return Err("bad");
        }
        pass.wait();
        Ok(())
    });
    // It returns although the gate is closed.
    let error = map.grace(Duration::from_millis(10)).run().unwrap_err();
    assert_eq!(error.to_string(), "item 0 failed: bad");
    gate.open();
}

pub(in crate::conformance) fn iterators_do_not_wait_for_running_items(subject: &Subject) {
    let pool = subject.pool_of(2);
    let gate = Gate::new();
    let running = Counter::new();
    let pass = gate.pass();
    let map = pool.try_map(0..2, move |n| {
        running.meet(2);
        if n == 1 {
            return Err("bad");
        }
        pass.wait();
        Ok(())
    });
    let mut map = map.ordered().unwrap();
    let error = map.next().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "item 1 failed: bad");
    drop(map);
    gate.open();
}
