//! PAR-1: how many jobs run at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Pool, Subject};
use crate::conformance::gate::{Counter, Gate};
use crate::{Executor as _, InProcessExt as _};

/// Has every worker in a task at the same time.
fn meet(pool: &Pool) {
    let num = pool.parallelism().get();
    let there = Counter::new();
    let submit = |_| {
        let there = there.clone();
        pool.submit((), move |()| there.meet(num))
    };
    let handles: Vec<_> = (0..num).map(submit).collect();
    for handle in handles {
        handle.join().unwrap();
    }
}

pub(in crate::conformance) fn as_many_tasks_run_at_once_as_declared(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..20 {
        meet(&pool);
    }
}

pub(in crate::conformance) fn as_many_items_of_a_map_run_at_once_as_declared(subject: &Subject) {
    let pool = subject.pool();
    let num = pool.parallelism().get();
    let there = Counter::new();
    let items: Vec<usize> = (0..num).collect();
    pool.map(items, |_| there.meet(num))
        .collect::<Vec<_>>()
        .unwrap();
    let there = Counter::new();
    pool.map(0..num, |_| there.meet(num)).run().unwrap();
}

pub(in crate::conformance) fn a_task_does_not_wait_while_a_worker_is_idle(subject: &Subject) {
    let pool = subject.pool_of(2);
    let gate = Gate::new();
    let pass = gate.pass();
    let busy = pool.submit((), move |()| pass.wait());
    for _ in 0..20 {
        pool.submit((), |()| ()).join().unwrap();
    }
    gate.open();
    busy.join().unwrap();
}

pub(in crate::conformance) fn a_task_of_a_busy_worker_does_not_wait_for_it(subject: &Subject) {
    let pool = subject.pool_of(2);
    for _ in 0..20 {
        let inner = pool.clone();
        let busy = pool.submit((), move |()| {
            let ran = Counter::new();
            let others = ran.clone();
            drop(inner.submit((), move |()| others.add()));
            // Not by joining it: then this worker could run it.
            ran.wait_for(1);
        });
        busy.join().unwrap();
    }
}

pub(in crate::conformance) fn full_strength_is_there_after_panics(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..20 {
        let handles: Vec<_> = (0..8)
            .map(|_| pool.submit((), |()| panic!("one of many")))
            .collect();
        for handle in handles {
            handle.join().unwrap_err();
        }
    }
    meet(&pool);
}

pub(in crate::conformance) fn never_more_jobs_run_at_once_than_declared(subject: &Subject) {
    let pool = subject.pool();
    let declared = pool.parallelism().get();
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let begun = Counter::new();
    let gate = Gate::new();
    let submit = |_| {
        let (running, most) = (running.clone(), most.clone());
        let (begun, pass) = (begun.clone(), gate.pass());
        pool.submit((), move |()| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            begun.add();
            pass.wait();
            // Gives those who should still wait a chance to show themselves.
            std::thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
        })
    };
    let handles: Vec<_> = (0..declared * 4 + 4).map(submit).collect();
    begun.wait_for(declared);
    // Whoever runs more has most likely begun it by now.
    std::thread::sleep(std::time::Duration::from_millis(20));
    gate.open();
    for handle in handles {
        handle.join().unwrap();
    }
    let most = most.load(Ordering::SeqCst);
    assert!(
        most <= declared,
        "{most} jobs ran at once; `parallelism` says {declared}"
    );
}

pub(in crate::conformance) fn submit_returns_before_the_task_ends(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let pass = gate.pass();
    let handle = pool.submit((), move |()| pass.wait());
    gate.open();
    handle.join().unwrap();
}

pub(in crate::conformance) fn submit_returns_while_every_worker_is_busy(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let submit = |_| {
        let pass = gate.pass();
        pool.submit((), move |()| pass.wait())
    };
    let num = pool.parallelism().get() + 200;
    let handles: Vec<_> = (0..num).map(submit).collect();
    gate.open();
    for handle in handles {
        handle.join().unwrap();
    }
}

pub(in crate::conformance) fn tasks_run_on_threads_of_the_executor(subject: &Subject) {
    let pool = subject.pool();
    let caller = std::thread::current().id();
    for _ in 0..20 {
        let task = pool.submit((), |()| std::thread::current().id());
        assert_ne!(
            task.join().unwrap(),
            caller,
            "a task ran on the caller's thread"
        );
    }
}
