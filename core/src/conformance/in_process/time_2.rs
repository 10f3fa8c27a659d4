//! TIME-2: waits that run out of time.

use std::time::Duration;

use super::{Pool, Subject};
use crate::conformance::gate::Gate;
use crate::{CancellationToken, Handle, InProcessExt as _, When, as_completed, wait};

const SHORT: Duration = Duration::from_millis(20);

fn slow(pool: &Pool, gate: &Gate) -> Handle<'static, bool> {
    let pass = gate.pass();
    pool.submit((), move |()| {
        pass.wait();
        CancellationToken::current().is_cancelled()
    })
}

pub(in crate::conformance) fn join_timeout_gives_the_handle_back(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let handle = slow(&pool, &gate);
    let handle = handle.join_timeout(SHORT).expect_err("the gate is closed");
    let handle = handle
        .join_timeout(Duration::ZERO)
        .expect_err("the gate is closed");
    assert!(!handle.is_finished());
    gate.open();
    assert!(!handle.join().unwrap(), "waiting has cancelled the task");
}

pub(in crate::conformance) fn try_join_never_waits(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let handle = slow(&pool, &gate);
    let handle = handle.try_join().expect_err("the gate is closed");
    gate.open();
    assert!(!handle.join().unwrap(), "waiting has cancelled the task");
}

pub(in crate::conformance) fn wait_returns_when_the_time_is_over(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let handles = [slow(&pool, &gate), slow(&pool, &gate)];
    for when in [When::First, When::FirstError, When::All] {
        assert!(wait(&handles, when, Some(SHORT)).is_empty());
    }
    gate.open();
    assert_eq!(wait(&handles, When::All, None), [0, 1]);
    for handle in handles {
        assert!(!handle.join().unwrap(), "waiting has cancelled the task");
    }
}

pub(in crate::conformance) fn next_timeout_returns_when_the_time_is_over(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let mut handles = as_completed([slow(&pool, &gate), slow(&pool, &gate)]);
    assert!(handles.next_timeout(SHORT).is_none());
    gate.open();
    let results: Vec<bool> = handles.map(|(_, result)| result.unwrap()).collect();
    assert_eq!(results, [false, false]);
}

pub(in crate::conformance) fn a_wait_with_a_timeout_inside_a_task_ends(subject: &Subject) {
    let pool = subject.pool_of(1);
    let task = pool.submit((), {
        let pool = pool.clone();
        move |()| {
            // The only worker is here; a task cannot be left half-way, so nobody helps.
            let inner = pool.submit(3, |n| n);
            match inner.join_timeout(SHORT) {
                Ok(result) => result.unwrap(),
                Err(inner) => inner.join().unwrap(),
            }
        }
    });
    assert_eq!(task.join().unwrap(), 3);
}

pub(in crate::conformance) fn a_handle_is_a_future(subject: &Subject) {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let pool = subject.pool();
    let gate = Gate::new();
    let mut handle = pin!(slow(&pool, &gate));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    assert!(handle.as_mut().poll(&mut context).is_pending());
    gate.open();
    let result = loop {
        match handle.as_mut().poll(&mut context) {
            Poll::Ready(result) => break result,
            Poll::Pending => std::thread::park(),
        }
    };
    assert!(!result.unwrap());
}
