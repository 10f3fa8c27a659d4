//! DROP-1: pools, scopes and iterators that go while tasks run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::any::unwrap;
use super::{Pool, Subject};
use crate::conformance::gate::{Counter, Gate, until};
use crate::{Executor as _, InProcessExt as _};

/// Keeps every worker busy until the gate opens; returns when all are.
fn occupy(pool: &Pool, gate: &Gate) {
    let num = pool.parallelism().get();
    let started = Counter::new();
    for _ in 0..num {
        let (started, pass) = (started.clone(), gate.pass());
        drop(pool.submit((), move |()| {
            started.add();
            pass.wait();
        }));
    }
    started.wait_for(num);
}

pub(in crate::conformance) fn waiting_tasks_resolve_when_the_pool_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    occupy(&pool, &gate);
    let handles: Vec<_> = (0..50).map(|n| pool.submit(n, |n| n)).collect();
    let dropper = std::thread::spawn(move || drop(pool));
    gate.open();
    dropper.join().unwrap();
    for (n, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(value) => assert_eq!(value, n),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
}

pub(in crate::conformance) fn values_of_waiting_tasks_are_dropped_with_the_pool(subject: &Subject) {
    let value = Arc::new(());
    let pool = subject.pool();
    let gate = Gate::new();
    occupy(&pool, &gate);
    for _ in 0..50 {
        let value = value.clone();
        drop(pool.submit((), move |()| drop(value)));
    }
    let dropper = std::thread::spawn(move || drop(pool));
    gate.open();
    dropper.join().unwrap();
    until(|| Arc::strong_count(&value) == 1);
}

pub(in crate::conformance) fn the_last_reference_may_go_inside_a_task(subject: &Subject) {
    for _ in 0..10 {
        let pool = subject.pool();
        let gate = Gate::new();
        let (inner, pass) = (pool.clone(), gate.pass());
        let task = pool.submit((), move |()| {
            pass.wait();
            drop(inner);
        });
        drop(pool);
        gate.open();
        unwrap(task.join());
    }
}

pub(in crate::conformance) fn a_scope_waits_for_its_tasks(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..20 {
        let num_run = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..50 {
                drop(s.submit(&num_run, |num| num.fetch_add(1, Ordering::SeqCst)));
            }
        });
        assert_eq!(num_run.into_inner(), 50);
    }
}

pub(in crate::conformance) fn a_scope_that_is_left_by_a_panic_cancels_what_waits(
    subject: &Subject,
) {
    let pool = subject.pool();
    let gate = Gate::new();
    occupy(&pool, &gate);
    let num_run = AtomicUsize::new(0);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        pool.scope(|s| {
            for _ in 0..50 {
                drop(s.submit(&num_run, |num| num.fetch_add(1, Ordering::SeqCst)));
            }
            panic!("out of here");
        })
    }));
    gate.open();
    assert!(caught.is_err(), "the panic was lost");
    pool.submit((), |()| ()).join().unwrap();
    assert_eq!(
        num_run.into_inner(),
        0,
        "tasks that have run in spite of it"
    );
}

pub(in crate::conformance) fn borrowed_data_is_not_used_after_the_map(subject: &Subject) {
    let pool = subject.pool();
    for round in 0..200_usize {
        // A late worker would read freed memory; the tokens would be wrong.
        let data = vec![round; 64];
        let results: Vec<usize> = pool.map(&data, |n| *n).collect().unwrap();
        drop(data);
        assert!(results.iter().all(|n| *n == round));
        let data = vec![round.to_string(); 64];
        let fail = |text: &String| {
            if round % 2 == 0 {
                Err("even")
            } else {
                Ok(text.len())
            }
        };
        let _ = pool.try_map(&data, fail).run();
    }
}

pub(in crate::conformance) fn an_iterator_that_is_left_does_not_wait(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let started = Counter::new();
    let map = pool.map(0.., {
        let (started, pass) = (started.clone(), gate.pass());
        move |_: u64| {
            started.add();
            pass.wait();
        }
    });
    let map = map.ordered().unwrap();
    started.wait_for(1);
    // It returns although the gate is closed.
    drop(map);
    gate.open();
}

pub(in crate::conformance) fn an_iterator_and_its_pool_may_be_dropped_at_once(subject: &Subject) {
    for num_taken in [0, 1, 50] {
        let pool = subject.pool();
        let map = pool.map(0.., |n: u64| n).ordered().unwrap();
        assert_eq!(map.take(num_taken).count(), num_taken);
        drop(pool);
    }
}
