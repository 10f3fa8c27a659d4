//! CAN-1: cancelling what waits and what runs.

use std::time::Duration;

use super::{Pool, Subject};
use crate::conformance::gate::{Counter, Gate};
use crate::{
    CancelOutcome, CancelReason, CancellationToken, ErrorPolicy, Handle, InProcessExt as _,
    TaskErrorKind,
};

const LONG: Duration = Duration::from_secs(600);

/// A task that keeps a worker busy until the gate opens, and has started.
fn blocker(pool: &Pool, gate: &Gate) -> Handle<'static, ()> {
    let started = Counter::new();
    let handle = pool.submit((), {
        let (started, pass) = (started.clone(), gate.pass());
        move |()| {
            started.add();
            pass.wait();
        }
    });
    started.wait_for(1);
    handle
}

pub(in crate::conformance) fn a_cancelled_waiting_task_never_starts(subject: &Subject) {
    let pool = subject.pool_of(1);
    let gate = Gate::new();
    let busy = blocker(&pool, &gate);
    let ran = Counter::new();
    let waiting = pool.submit((), {
        let ran = ran.clone();
        move |()| ran.add()
    });
    assert_eq!(waiting.cancel(), CancelOutcome::NotStarted);
    assert_eq!(waiting.cancel(), CancelOutcome::TooLate, "the second time");
    let error = waiting.join().expect_err("the task ran");
    assert!(matches!(
        error.kind(),
        TaskErrorKind::Cancelled(CancelReason::Asked)
    ));
    gate.open();
    busy.join().unwrap();
    pool.submit((), |()| ()).join().unwrap();
    assert_eq!(ran.get(), 0, "the cancelled task has run");
}

pub(in crate::conformance) fn a_cancelled_running_task_is_asked(subject: &Subject) {
    let pool = subject.pool();
    let started = Counter::new();
    let task = pool.submit((), {
        let started = started.clone();
        move |()| {
            let token = CancellationToken::current();
            started.add();
            assert!(token.wait_timeout(LONG), "nobody asked");
            (token.reason(), CancellationToken::current().is_cancelled())
        }
    });
    started.wait_for(1);
    assert_eq!(task.cancel(), CancelOutcome::Asked);
    let seen = task.join().unwrap();
    assert_eq!(seen, (Some(CancelReason::Asked), true));
}

pub(in crate::conformance) fn a_task_may_ask_for_its_token_after_it_was_cancelled(
    subject: &Subject,
) {
    let pool = subject.pool();
    let gate = Gate::new();
    let started = Counter::new();
    let task = pool.submit((), {
        let (started, pass) = (started.clone(), gate.pass());
        move |()| {
            started.add();
            pass.wait();
            CancellationToken::current().is_cancelled()
        }
    });
    started.wait_for(1);
    assert_eq!(task.cancel(), CancelOutcome::Asked);
    gate.open();
    assert!(task.join().unwrap(), "the token was not set");
}

pub(in crate::conformance) fn the_answer_is_true_at_every_moment(subject: &Subject) {
    let pool = subject.pool();
    for round in 0..500_u64 {
        let ran = Counter::new();
        let task = pool.submit((), {
            let ran = ran.clone();
            move |()| ran.add()
        });
        (0..round % 50 * 10).for_each(|_| std::hint::spin_loop());
        let answer = task.cancel();
        let result = task.join();
        match answer {
            CancelOutcome::NotStarted => {
                assert!(result.unwrap_err().is_cancelled());
                pool.submit((), |()| ()).join().unwrap();
                assert_eq!(ran.get(), 0, "it has run although it had not started");
            }
            CancelOutcome::Asked | CancelOutcome::TooLate => {
                assert!(result.is_ok(), "{answer:?}, but it has not run");
                assert_eq!(ran.get(), 1, "{answer:?}, but it has not run");
            }
            CancelOutcome::Killed => panic!("a thread cannot be killed"),
        }
    }
}

pub(in crate::conformance) fn a_dropped_handle_cancels_if_it_was_told_to(subject: &Subject) {
    let pool = subject.pool_of(1);
    let gate = Gate::new();
    let busy = blocker(&pool, &gate);
    let ran = Counter::new();
    let waiting = pool.submit((), {
        let ran = ran.clone();
        move |()| ran.add()
    });
    drop(waiting.cancel_on_drop());
    gate.open();
    busy.join().unwrap();
    pool.submit((), |()| ()).join().unwrap();
    assert_eq!(ran.get(), 0, "the abandoned task has run");
}

pub(in crate::conformance) fn a_token_ends_a_map_and_asks_its_running_items(subject: &Subject) {
    let pool = subject.pool();
    let token = CancellationToken::new();
    let started = Counter::new();
    let canceller = std::thread::spawn({
        let (token, started) = (token.clone(), started.clone());
        move || {
            started.wait_for(1);
            token.cancel();
        }
    });
    let run = |items: Vec<u64>, started: &Counter| {
        let map = pool.map(items, |_| {
            started.add();
            let asked = CancellationToken::current().wait_timeout(LONG);
            assert!(asked, "nobody asked");
        });
        map.cancel_token(&token).collect::<Vec<_>>()
    };
    let error = run((0..1000).collect(), &started).unwrap_err();
    assert!(error.first().is_some_and(|it| it.is_cancelled()), "{error}");
    assert!(started.get() < 1000, "everything has started");
    canceller.join().unwrap();
}

pub(in crate::conformance) fn a_token_asks_the_running_items_of_a_limited_map(subject: &Subject) {
    let pool = subject.pool();
    let token = CancellationToken::new();
    let (started, asked) = (Counter::new(), Counter::new());
    let map = pool.map(0..1, {
        let (started, asked) = (started.clone(), asked.clone());
        move |_| {
            started.add();
            if CancellationToken::current().wait_timeout(LONG) {
                asked.add();
            }
        }
    });
    let canceller = std::thread::spawn({
        let token = token.clone();
        move || {
            started.wait_for(1);
            token.cancel();
        }
    });
    let map = map.on_error(ErrorPolicy::Collect).cancel_token(&token);
    drop(map.grace(LONG).outcomes().unwrap());
    assert_eq!(
        asked.get(),
        1,
        "the item was left behind before its grace was over"
    );
    canceller.join().unwrap();
}

pub(in crate::conformance) fn leaving_an_iterator_asks_its_running_items(subject: &Subject) {
    let pool = subject.pool();
    let (started, asked) = (Counter::new(), Counter::new());
    let map = pool.map(0.., {
        let (started, asked) = (started.clone(), asked.clone());
        move |_: u64| {
            started.add();
            if CancellationToken::current().wait_timeout(LONG) {
                asked.add();
            }
        }
    });
    let map = map.ordered().unwrap();
    started.wait_for(1);
    drop(map);
    asked.wait_for(1);
}

pub(in crate::conformance) fn a_map_inside_a_cancelled_task_ends(subject: &Subject) {
    let pool = subject.pool_of(2);
    let started = Counter::new();
    let task = pool.submit((), {
        let (started, pool) = (started.clone(), pool.clone());
        move |()| {
            let map = pool.map(0..1000, |_| {
                started.add();
                let asked = CancellationToken::current().wait_timeout(LONG);
                assert!(asked, "nobody asked");
            });
            map.run()
                .unwrap_err()
                .first()
                .is_some_and(|it| it.is_cancelled())
        }
    });
    started.wait_for(1);
    assert_eq!(task.cancel(), CancelOutcome::Asked);
    assert!(task.join().unwrap(), "the inner map was not cancelled");
}

pub(in crate::conformance) fn a_map_inside_ends_when_the_map_outside_fails(subject: &Subject) {
    for policy in [
        ErrorPolicy::FailFast,
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
    ] {
        for is_stream in [true, false] {
            let pool = subject.pool_of(2);
            let started = Counter::new();
            // What the map inside says must be neither success nor silence.
            let inside = || {
                let map = pool.map(0..1000, {
                    let started = started.clone();
                    move |_: u64| {
                        started.add();
                        assert!(
                            CancellationToken::current().wait_timeout(LONG),
                            "nobody asked"
                        );
                    }
                });
                let map = map.on_error(policy);
                match is_stream {
                    true => map.ordered().unwrap().last().unwrap().unwrap_err(),
                    false => {
                        let error = map.collect::<Vec<_>>().unwrap_err();
                        error.into_failures().pop().unwrap()
                    }
                }
            };
            // The map inside may take every worker that does not run an item of this one.
            let ready = Counter::new();
            let map = pool.try_map(vec![0, 1], |n| {
                if n == 0 {
                    ready.wait_for(1);
                    let error = inside();
                    assert!(error.is_cancelled(), "{error}");
                    return Ok(());
                }
                ready.add();
                started.wait_for(1);
                Err("outside")
            });
            let error = map.collect::<Vec<_>>().unwrap_err();
            assert_eq!(error.to_string(), "item 1 failed: outside", "{policy:?}");
        }
    }
}

pub(in crate::conformance) fn a_cancelled_task_may_still_give_its_result(subject: &Subject) {
    let pool = subject.pool();
    let gate = Gate::new();
    let started = Counter::new();
    let task = pool.submit(7, {
        let (started, pass) = (started.clone(), gate.pass());
        move |n| {
            started.add();
            pass.wait();
            n
        }
    });
    started.wait_for(1);
    assert_eq!(task.cancel(), CancelOutcome::Asked);
    gate.open();
    assert_eq!(task.join().unwrap(), 7);
}
