//! CAN-1: cancelling.

use super::{Ext as _, Subject, failures, identity, unwrap};
use crate::{CancelOutcome, CancelReason, CancellationToken, TaskErrorKind, When, wait};

pub(in crate::conformance) fn cancelling_a_finished_task_is_too_late(subject: &Subject) {
    let pool = subject.pool();
    let handle = pool.submit(1, identity);
    let handles = [handle];
    wait(&handles, When::All, None);
    let [handle] = handles;
    assert_eq!(handle.cancel(), CancelOutcome::TooLate);
    assert_eq!(unwrap(handle.join()), 1);
}

pub(in crate::conformance) fn a_map_with_a_cancelled_token_runs_nothing(subject: &Subject) {
    let pool = subject.pool();
    let token = CancellationToken::new();
    token.cancel();
    for (ending, failure) in failures(|| pool.map(0..100, identity).cancel_token(&token)) {
        let failure = failure.unwrap_or_default();
        assert_eq!(failure, "item 0 was cancelled on request", "`{ending}`");
    }
    let outcomes = unwrap(pool.map(0..100, identity).cancel_token(&token).outcomes());
    assert_eq!(outcomes.len(), 100);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.unwrap_err();
        assert_eq!(error.index(), index);
        assert!(matches!(
            error.kind(),
            TaskErrorKind::Cancelled(CancelReason::Asked)
        ));
    }
}

pub(in crate::conformance) fn a_token_ends_an_endless_stream(subject: &Subject) {
    let pool = subject.pool();
    let token = CancellationToken::new();
    let map = pool.map(0.., identity).cancel_token(&token);
    let mut num_ok = 0;
    for outcome in unwrap(map.ordered()) {
        match outcome {
            Ok(_) => num_ok += 1,
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        if num_ok == 100 {
            token.cancel();
        }
    }
    assert!(num_ok >= 100, "{num_ok} results");
}

pub(in crate::conformance) fn cancelling_after_the_end_changes_nothing(subject: &Subject) {
    let pool = subject.pool();
    let token = CancellationToken::new();
    let map = pool.map(0..100, identity).cancel_token(&token);
    let results: Vec<u64> = unwrap(map.collect());
    token.cancel();
    assert_eq!(results.len(), 100);
    let again: Vec<u64> = unwrap(pool.map(0..100, identity).collect());
    assert_eq!(again, results);
}

pub(in crate::conformance) fn a_cancelled_map_never_passes_for_a_complete_one(subject: &Subject) {
    let pool = subject.pool();
    // From another thread, at whatever moment.
    for round in 0..50_u64 {
        let token = CancellationToken::new();
        let canceller = std::thread::spawn({
            let token = token.clone();
            move || {
                (0..round * 20).for_each(|_| std::hint::spin_loop());
                token.cancel();
            }
        });
        let map = pool.map(0..500, identity).cancel_token(&token);
        match map.collect::<Vec<_>>() {
            Ok(results) => assert_eq!(results.len(), 500),
            Err(error) => assert!(
                error.first().is_some_and(crate::TaskError::is_cancelled),
                "{error}"
            ),
        }
        canceller.join().expect("the canceller does not panic");
    }
}
