//! The states of a [`Task`] and its [`Handle`]: see `task.rs`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::{Gate, Seen, Threads, panic_quietly};
use crate::job::{Body, GaveUp};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::thread;
use crate::task::Task;
use crate::{
    CancelOutcome, CancellationToken, Handle, InProcessExt, TaskErrorKind, When, as_completed,
    frame, wait,
};

/// The key of an executor that no thread of a model belongs to, unless it says so.
const KEY: u64 = u64::MAX;

type Body1 = Arc<dyn Body>;

/// A task, as its worker and its caller see it.
fn task<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> (Body1, Handle<'static, R>) {
    let task = Arc::new(Task::new(KEY, move || Ok::<_, Infallible>(f())));
    (task.clone(), Handle::new(task))
}

fn run_elsewhere(body: Body1) -> thread::JoinHandle<()> {
    thread::spawn(move || body.run())
}

/// Whoever joins sees the result, however the worker and the watcher meet.
#[test]
fn loom_a_join_meets_the_end_of_the_task() {
    loom::model(|| {
        let (body, handle) = task(|| Seen::new(1));
        let worker = run_elsewhere(body);
        assert_eq!(handle.join().unwrap().get(), 1);
        worker.join().unwrap();
    });
}

/// A task that panics wakes its waiter like any other.
#[test]
fn loom_a_join_meets_a_panic() {
    loom::model(|| {
        let (body, handle) = task(|| panic_quietly());
        let worker = run_elsewhere(body);
        let result: Result<(), _> = handle.join();
        assert!(result.unwrap_err().is_panic());
        worker.join().unwrap();
    });
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.open();
    }
}

/// An async task is woken if it was pending.
#[test]
fn loom_a_future_is_woken() {
    loom::model(|| {
        let (body, handle) = task(|| Seen::new(1));
        let worker = run_elsewhere(body);
        let gate = Arc::new(Gate::default());
        let waker = Waker::from(gate.clone());
        let mut handle = pin!(handle);
        let result = loop {
            match handle.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => break result,
                Poll::Pending => gate.wait(),
            }
        };
        assert_eq!(result.unwrap().get(), 1);
        worker.join().unwrap();
    });
}

/// `cancel` tells the truth: what it says fits what came of the task.
#[test]
fn loom_cancel_against_the_start_and_the_end() {
    loom::model(|| {
        let (body, handle) = task(|| Seen::new(1));
        let worker = run_elsewhere(body);
        let outcome = handle.cancel();
        match (outcome, handle.join()) {
            (CancelOutcome::NotStarted, Err(error)) => assert!(error.is_cancelled()),
            (CancelOutcome::Asked | CancelOutcome::TooLate, Ok(seen)) => assert_eq!(seen.get(), 1),
            (outcome, result) => panic!("cancel said {outcome:?}, then came {result:?}"),
        }
        worker.join().unwrap();
    });
}

/// A running task that is asked to stop hears of it, whether it asks for its token before
/// or after.
#[test]
fn loom_cancel_reaches_the_token() {
    loom::model(|| {
        let (body, handle) = task(CancellationToken::current);
        let worker = run_elsewhere(body);
        let outcome = handle.cancel();
        if let Ok(token) = handle.join() {
            assert!(outcome == CancelOutcome::TooLate || token.is_cancelled());
        }
        worker.join().unwrap();
    });
}

/// A task that is given up and run at the same time ends once.
#[test]
fn loom_a_task_given_up_and_run() {
    loom::model(|| {
        let (body, handle) = task(|| Seen::new(1));
        let worker = run_elsewhere(body.clone());
        body.give_up(GaveUp::ShutDown);
        match handle.join() {
            Ok(seen) => assert_eq!(seen.get(), 1),
            Err(error) => assert!(error.is_cancelled()),
        }
        worker.join().unwrap();
    });
}

/// A waiter inside a job of the same executor runs the task itself, or waits for who does.
#[test]
fn loom_help_while_waiting() {
    loom::model(|| {
        let num_runs = Arc::new(AtomicUsize::new(0));
        let counter = num_runs.clone();
        let (body, handle) = task(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Seen::new(1)
        });
        let worker = run_elsewhere(body);
        let token = CancellationToken::new();
        let seen = frame::enter(KEY, &token, || handle.join().unwrap());
        assert_eq!(seen.get(), 1);
        worker.join().unwrap();
        assert_eq!(num_runs.load(Ordering::Relaxed), 1);
    });
}

/// The result of a task that was detached is dropped once, by whoever is last.
#[test]
fn loom_detaching_against_the_end() {
    loom::model(|| {
        let value = Arc::new(());
        let inside = value.clone();
        let (body, handle) = task(move || inside);
        let worker = run_elsewhere(body);
        drop(handle);
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

/// A callback is called once, by the end of the task or by whoever leaves it too late.
#[test]
fn loom_a_callback_is_called_once() {
    loom::model(|| {
        let num_calls = Arc::new(AtomicUsize::new(0));
        let counter = num_calls.clone();
        let (body, handle) = task(|| Seen::new(1));
        let worker = run_elsewhere(body);
        handle.on_done(move |result| {
            assert_eq!(result.unwrap().get(), 1);
            counter.fetch_add(1, Ordering::Relaxed);
        });
        worker.join().unwrap();
        assert_eq!(num_calls.load(Ordering::Acquire), 1);
    });
}

/// Of two tasks, the first to end wakes the waiter, and both are told of in the end.
#[test]
fn loom_waiting_for_several() {
    loom::model(|| {
        let pool = Threads::new(2);
        let handles = [1, 2].map(|n| pool.submit(n, Seen::new));
        let done = wait(&handles, When::First, None);
        assert!(!done.is_empty());
        let sum: u32 = as_completed(handles)
            .map(|(_, seen)| seen.unwrap().get())
            .sum();
        assert_eq!(sum, 3);
    });
}

/// A panic is that task's own; the other waiter gets its result.
#[test]
fn loom_a_panic_while_another_waits() {
    loom::model(|| {
        let pool = Threads::new(2);
        let bad = pool.submit((), |()| panic_quietly());
        let good = pool.submit(1, Seen::new);
        let error = TaskErrorKind::<Infallible>::Dropped;
        let error = bad.join().map_or_else(|bad| bad.into_kind(), |()| error);
        assert!(matches!(error, TaskErrorKind::Panicked(_)));
        assert_eq!(good.join().unwrap().get(), 1);
    });
}
