//! Cancellation answers truthfully, and kills.

use std::time::{Duration, Instant};

use taskfarm_core::{CancelOutcome, Executor, SameBinaryExt, Shutdown, TaskErrorKind};
use taskfarm_process::StartMethod;

use crate::Case;
use crate::scratch::{Scratch, append, lines};
use crate::support::{eventually, idle_workers, is_alive, pool, worker_at};

pub(crate) const CASES: &[Case] = &[
    ("cancel::a_running_task_is_killed", a_running_task_is_killed),
    (
        "cancel::a_waiting_task_never_starts",
        a_waiting_task_never_starts,
    ),
    (
        "cancel::a_finished_task_is_too_late",
        a_finished_task_is_too_late,
    ),
    (
        "cancel::a_failing_map_kills_what_runs",
        a_failing_map_kills_what_runs,
    ),
    (
        "cancel::an_abort_ends_endless_tasks",
        an_abort_ends_endless_tasks,
    ),
    (
        "cancel::a_shutdown_that_cancels_lets_running_tasks_end",
        a_shutdown_that_cancels,
    ),
    (
        "cancel::many_cancels_at_once_are_quick",
        many_cancels_at_once_are_quick,
    ),
];

fn sleep_for_ever(_: u32) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn wait_for_a_line(path: &str) {
    eventually("it may go on", || (!lines(path).is_empty()).then_some(()));
}

fn a_running_task_is_killed(method: StartMethod) {
    let pool = pool(method, 1);
    let handle = pool.submit(0, sleep_for_ever);
    let worker = worker_at(&pool, 0);
    assert_eq!(handle.cancel(), CancelOutcome::Killed);
    assert!(handle.join().unwrap_err().is_cancelled());
    eventually("the worker is dead", || {
        (!is_alive(worker.pid)).then_some(())
    });
    assert_eq!(pool.submit(1, |n: u32| n).join().unwrap(), 1);
}

fn a_waiting_task_never_starts(method: StartMethod) {
    let pool = pool(method, 1);
    let scratch = Scratch::new();
    let path = scratch.file("started");
    let go = scratch.file("go");
    let running = pool.submit(go.clone(), |go| wait_for_a_line(&go));
    worker_at(&pool, 0);
    let waiting: Vec<_> = (0..10)
        .map(|_| pool.submit(path.clone(), |path| append(&path, "started")))
        .collect();
    for handle in &waiting {
        assert_eq!(handle.cancel(), CancelOutcome::NotStarted);
    }
    for handle in waiting {
        assert!(handle.join().unwrap_err().is_cancelled());
    }
    append(&go, "go");
    running.join().unwrap();
    assert_eq!(pool.stats().replaced, 0, "nobody had to die");
    drop(pool);
    assert_eq!(lines(&path), Vec::<String>::new());
}

fn a_finished_task_is_too_late(method: StartMethod) {
    let pool = pool(method, 1);
    let handle = pool.submit(1, |n: u32| n);
    eventually("the task has ended", || handle.is_finished().then_some(()));
    assert_eq!(handle.cancel(), CancelOutcome::TooLate);
    assert_eq!(handle.join().unwrap(), 1);
}

fn a_failing_map_kills_what_runs(method: StartMethod) {
    let pool = pool(method, 2);
    let started = Instant::now();
    let error = pool
        .try_map(0..100_u32, |n| match n {
            1 => Err("one".to_owned()),
            n => {
                std::thread::sleep(Duration::from_secs(30));
                Ok(n)
            }
        })
        .chunk_size(1)
        .collect::<Vec<_>>()
        .unwrap_err();
    assert_eq!(error.first().unwrap().index(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(pool.submit(1, |n: u32| n).join().unwrap(), 1);
}

fn an_abort_ends_endless_tasks(method: StartMethod) {
    let pool = pool(method, 2);
    let handles: Vec<_> = (0..10).map(|n| pool.submit(n, sleep_for_ever)).collect();
    worker_at(&pool, 0);
    pool.shutdown(Shutdown::Abort);
    for handle in handles {
        let error = handle.join().unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::Cancelled(_)),
            "{error}"
        );
    }
}

fn a_shutdown_that_cancels(method: StartMethod) {
    let pool = pool(method, 1);
    let scratch = Scratch::new();
    let go = scratch.file("go");
    let running = pool.submit((7, go.clone()), |(n, go): (u32, String)| {
        wait_for_a_line(&go);
        n
    });
    worker_at(&pool, 0);
    let waiting: Vec<_> = (0..10).map(|n| pool.submit(n, |n: u32| n)).collect();
    pool.shutdown(Shutdown::CancelQueued);
    for handle in waiting {
        assert!(handle.join().unwrap_err().is_cancelled());
    }
    assert!(!running.is_finished());
    append(&go, "go");
    assert_eq!(running.join().unwrap(), 7);
}

fn many_cancels_at_once_are_quick(method: StartMethod) {
    let pool = pool(method, 1);
    let endless = pool.submit(0, sleep_for_ever);
    worker_at(&pool, 0);
    let handles: Vec<_> = (0..50_000_u32).map(|n| pool.submit(n, |n| n)).collect();
    let started = Instant::now();
    for handle in &handles {
        assert_eq!(handle.cancel(), CancelOutcome::NotStarted);
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(endless.cancel(), CancelOutcome::Killed);
    assert_eq!(pool.submit(1, |n: u32| n).join().unwrap(), 1);
    idle_workers(&pool, 1);
}
