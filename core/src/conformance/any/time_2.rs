//! TIME-2: waits with a timeout.

use std::time::Duration;

use super::{Ext as _, Subject, dislike_7, identity, unwrap};
use crate::{When, as_completed, wait};

pub(in crate::conformance) fn a_finished_task_is_joined_whatever_the_timeout(subject: &Subject) {
    let pool = subject.pool();
    for timeout in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
        let handles = [pool.submit(5, identity)];
        assert_eq!(wait(&handles, When::All, Some(Duration::MAX)), [0]);
        let [handle] = handles;
        let joined = handle.join_timeout(timeout);
        assert_eq!(unwrap(joined.expect("the task is done")), 5);
    }
}

pub(in crate::conformance) fn wait_for_all_returns_every_position(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..50).map(|n| pool.submit(n, identity)).collect();
    assert_eq!(wait(&handles, When::All, None), (0..50).collect::<Vec<_>>());
}

pub(in crate::conformance) fn wait_for_the_first_returns_at_least_one(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..50).map(|n| pool.submit(n, identity)).collect();
    assert!(!wait(&handles, When::First, None).is_empty());
    let sum: u64 = handles.into_iter().map(|it| unwrap(it.join())).sum();
    assert_eq!(sum, 49 * 25);
}

pub(in crate::conformance) fn wait_for_the_first_error_finds_it(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..10).map(|n| pool.try_submit(n, dislike_7)).collect();
    let done = wait(&handles, When::FirstError, None);
    assert!(done.contains(&7), "done: {done:?}");
    let handles: Vec<_> = (0..5).map(|n| pool.try_submit(n, dislike_7)).collect();
    let done = wait(&handles, When::FirstError, None);
    assert_eq!(done, [0, 1, 2, 3, 4], "without an error it waits for all");
}

pub(in crate::conformance) fn next_timeout_yields_what_is_done(subject: &Subject) {
    let pool = subject.pool();
    let mut handles = as_completed((0..5).map(|n| pool.submit(n, identity)));
    let mut num = 0;
    while handles.next_timeout(Duration::MAX).is_some() {
        num += 1;
    }
    assert_eq!(num, 5);
    assert!(handles.next_timeout(Duration::MAX).is_none());
}
