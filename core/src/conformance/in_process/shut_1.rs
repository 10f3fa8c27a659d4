//! SHUT-1: shutting down while tasks wait and run.

use std::time::Duration;

use super::{Pool, Subject};
use crate::conformance::gate::{Counter, Gate};
use crate::{
    CancelReason, CancellationToken, Executor as _, Handle, InProcessExt as _, Shutdown,
    TaskErrorKind,
};

const LONG: Duration = Duration::from_secs(600);

const EVERY: [Shutdown; 3] = [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Abort];

/// Keeps every worker busy until the gate opens; returns when all are.
fn occupy(pool: &Pool, gate: &Gate) -> Vec<Handle<'static, ()>> {
    let num = pool.parallelism().get();
    let started = Counter::new();
    let submit = |_| {
        let (started, pass) = (started.clone(), gate.pass());
        pool.submit((), move |()| {
            started.add();
            pass.wait();
        })
    };
    let handles = (0..num).map(submit).collect();
    started.wait_for(num);
    handles
}

fn check_running(handles: Vec<Handle<'static, ()>>) {
    for handle in handles {
        let result = handle.join();
        assert!(
            result.is_ok(),
            "a running task did not end in peace: {result:?}"
        );
    }
}

pub(in crate::conformance) fn a_shutdown_does_not_wait_for_running_tasks(subject: &Subject) {
    for how in EVERY {
        let pool = subject.pool();
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        // It returns although the gate is closed.
        pool.shutdown(how);
        gate.open();
        check_running(running);
    }
}

pub(in crate::conformance) fn a_drain_runs_what_waits(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let waiting: Vec<_> = (0..50).map(|n| pool.submit(n, |n| n)).collect();
    pool.shutdown(Shutdown::Drain);
    gate.open();
    check_running(running);
    for (n, handle) in (0..).zip(waiting) {
        assert_eq!(handle.join().unwrap(), n);
    }
}

pub(in crate::conformance) fn what_waits_is_cancelled_at_once(subject: &Subject) {
    for how in [Shutdown::CancelQueued, Shutdown::Abort] {
        let pool = subject.pool();
        let gate = Gate::new();
        let running = occupy(&pool, &gate);
        let waiting: Vec<_> = (0..50).map(|n| pool.submit(n, |n| n)).collect();
        pool.shutdown(how);
        // The workers are busy still: waiters must not wait for them.
        for handle in waiting {
            let error = handle.join().expect_err("it had not started");
            assert!(
                matches!(
                    error.kind(),
                    TaskErrorKind::Cancelled(CancelReason::ShutDown)
                ),
                "after {how:?}: {error}; `Job::cancel` says why"
            );
        }
        gate.open();
        check_running(running);
    }
}

pub(in crate::conformance) fn a_waiter_wakes(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let waiting = pool.submit((), |()| ());
    let waiter = std::thread::spawn(move || waiting.join());
    pool.shutdown(Shutdown::CancelQueued);
    let outcome = waiter.join().unwrap();
    let error = outcome.expect_err("a waiting task ran after `CancelQueued`");
    assert!(error.is_cancelled(), "{error}");
    gate.open();
    check_running(running);
}

pub(in crate::conformance) fn an_abort_asks_running_tasks_to_stop(subject: &Subject) {
    let pool = subject.pool();
    let started = Counter::new();
    let task = pool.submit((), {
        let started = started.clone();
        move |()| {
            let token = CancellationToken::current();
            started.add();
            assert!(token.wait_timeout(LONG), "nobody asked");
            token.reason()
        }
    });
    started.wait_for(1);
    pool.shutdown(Shutdown::Abort);
    assert_eq!(task.join().unwrap(), Some(CancelReason::ShutDown));
}

pub(in crate::conformance) fn an_abort_ends_a_running_map(subject: &Subject) {
    let pool = subject.pool();
    let started = Counter::new();
    let aborter = std::thread::spawn({
        let (pool, started) = (pool.clone(), started.clone());
        move || {
            started.wait_for(1);
            pool.shutdown(Shutdown::Abort);
        }
    });
    let map = pool.map(0..1000, |_| {
        started.add();
        assert!(
            CancellationToken::current().wait_timeout(LONG),
            "nobody asked"
        );
    });
    let error = map.run().expect_err("the map ran to its end");
    assert!(error.first().unwrap().is_cancelled(), "{error}");
    aborter.join().unwrap();
}

pub(in crate::conformance) fn a_task_may_shut_its_own_pool_down(subject: &Subject) {
    for how in EVERY {
        let pool = subject.pool();
        let inner = pool.clone();
        let task = pool.submit((), move |()| inner.shutdown(how));
        assert!(task.join().is_ok());
        let outcome = pool.submit((), |()| ()).join();
        let error = outcome.expect_err("a task ran after the shutdown");
        assert!(matches!(error.kind(), TaskErrorKind::Refused), "{error}");
    }
}

pub(in crate::conformance) fn a_running_map_ends_whatever_the_shutdown(subject: &Subject) {
    for how in EVERY {
        for at in [0, 10, 1000] {
            let pool = subject.pool();
            let inner = pool.clone();
            let map = pool.map(0..2000, move |n: u64| {
                if n == at {
                    inner.shutdown(how);
                }
                n
            });
            let outcomes = map.outcomes().unwrap();
            assert_eq!(outcomes.len(), 2000, "{how:?} at item {at}");
            let pool = subject.pool();
            let inner = pool.clone();
            let map = pool.map(0..2000, move |n: u64| {
                if n == at {
                    inner.shutdown(how);
                }
                n
            });
            let map = map.in_flight(8).ordered().unwrap();
            let outcomes: Vec<_> = map.collect();
            let is_complete = outcomes.len() == 2000 && outcomes.iter().all(Result::is_ok);
            let is_broken = outcomes.last().is_some_and(Result::is_err);
            assert!(
                is_complete || is_broken,
                "{how:?} at item {at}: cut without a word"
            );
        }
    }
}

pub(in crate::conformance) fn a_task_may_submit_during_a_drain(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let (inner, pass) = (pool.clone(), gate.pass());
    let task = pool.submit((), move |()| {
        pass.wait();
        inner.submit((), |()| ()).join()
    });
    pool.shutdown(Shutdown::Drain);
    gate.open();
    // Refused, since the shutdown came first; but it resolves.
    let inner = task.join().unwrap();
    let error = inner.expect_err("a task was accepted after the shutdown");
    assert!(matches!(error.kind(), TaskErrorKind::Refused), "{error}");
}

pub(in crate::conformance) fn a_scope_resolves_after_a_shutdown(subject: &Subject) {
    for how in EVERY {
        let pool = subject.pool();
        pool.scope(|s| {
            let before: Vec<_> = (0..20).map(|n| s.submit(n, |n| n)).collect();
            pool.shutdown(how);
            let after = s.submit(1, |n| n);
            assert!(after.join().is_err(), "{how:?}: it was accepted");
            for (n, handle) in (0..).zip(before) {
                match handle.join() {
                    Ok(value) => assert_eq!(value, n),
                    Err(error) => assert!(error.is_cancelled(), "{error}"),
                }
            }
        });
    }
}
