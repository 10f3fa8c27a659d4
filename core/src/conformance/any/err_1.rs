//! ERR-1: failing fast.

use super::{Ext as _, Subject, dislike_7, failures, identity, unwrap};
use crate::{CancelReason, ErrorPolicy, TaskErrorKind};

pub(in crate::conformance) fn every_ending_reports_the_failure(subject: &Subject) {
    let pool = subject.pool();
    for (ending, failure) in failures(|| pool.try_map(0..10, dislike_7)) {
        let failure = failure.unwrap_or_default();
        assert_eq!(failure, "item 7 failed: 7 ends in 7", "`{ending}`");
    }
}

pub(in crate::conformance) fn a_failure_ends_an_endless_map(subject: &Subject) {
    let pool = subject.pool();
    let seen = failures(|| {
        pool.try_map(0.., |n: u64| match n {
            400 => Err("enough".to_owned()),
            _ => Ok(n),
        })
    });
    for (ending, failure) in seen {
        let failure = failure.unwrap_or_default();
        assert_eq!(failure, "item 400 failed: enough", "`{ending}`");
    }
}

pub(in crate::conformance) fn ordered_ends_after_the_failure(subject: &Subject) {
    let pool = subject.pool();
    let mut map = unwrap(pool.try_map(0..1000, dislike_7).ordered());
    let num_ok = map.by_ref().take_while(Result::is_ok).count();
    assert!(num_ok <= 997, "{num_ok} results before the failure");
    assert!(map.next().is_none(), "something came after the failure");
    assert!(map.next().is_none(), "something came after the end");
}

pub(in crate::conformance) fn the_rest_of_the_outcomes_is_cancelled(subject: &Subject) {
    let pool = subject.pool();
    let outcomes = unwrap(pool.try_map(0..5000, dislike_7).outcomes());
    assert_eq!(outcomes.len(), 5000);
    let failed = outcomes.iter().filter(|it| {
        let error = it.as_ref().err();
        error.is_some_and(|error| matches!(error.kind(), TaskErrorKind::Failed(_)))
    });
    assert!(failed.count() >= 1, "the failure is not among the outcomes");
    for error in outcomes.iter().filter_map(|it| it.as_ref().err()) {
        assert!(
            matches!(
                error.kind(),
                TaskErrorKind::Failed(_) | TaskErrorKind::Cancelled(CancelReason::OtherFailed)
            ),
            "{error}"
        );
    }
}

pub(in crate::conformance) fn a_panic_fails_fast_too(subject: &Subject) {
    let pool = subject.pool();
    let seen = failures(|| pool.map(0..10, super::fear_7));
    for (ending, failure) in seen {
        let failure = failure.unwrap_or_default();
        let wanted = "item 7 panicked: afraid of 7";
        assert!(
            failure.starts_with(wanted),
            "`{ending}` reported {failure:?}"
        );
    }
}

pub(in crate::conformance) fn stop_after_ends_with_so_many_failures(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .try_map(0.., dislike_7)
        .on_error(ErrorPolicy::StopAfter(3));
    let error = map
        .collect::<Vec<_>>()
        .expect_err("an endless map ends with an error");
    assert!(error.failures().len() >= 3, "{error}");
    let at: Vec<usize> = error.failures().iter().map(|it| it.index()).collect();
    assert!(at.iter().all(|at| at % 10 == 7), "failures at {at:?}");
}

pub(in crate::conformance) fn stop_above_ends_with_too_many_failures(subject: &Subject) {
    let pool = subject.pool();
    let map = |percent| {
        let map = pool.try_map(0..1000, dislike_7);
        map.on_error(ErrorPolicy::StopAbove(percent)).outcomes()
    };
    let is_cancelled = |it: &Result<_, crate::TaskError<_>>| {
        it.as_ref().is_err_and(crate::TaskError::is_cancelled)
    };
    assert!(
        !unwrap(map(50.0)).iter().any(is_cancelled),
        "50 % were not reached"
    );
    assert!(
        unwrap(map(1.0)).iter().any(is_cancelled),
        "1 % was exceeded"
    );
}

pub(in crate::conformance) fn retries_come_before_failing(subject: &Subject) {
    let pool = subject.pool();
    for (ending, failure) in failures(|| pool.try_map(0..10, dislike_7).retries(1)) {
        let failure = failure.unwrap_or_default();
        let wanted = "item 7 failed: 7 ends in 7 (attempt 2)";
        assert_eq!(failure, wanted, "`{ending}`");
    }
}

pub(in crate::conformance) fn a_map_without_failures_is_not_stopped(subject: &Subject) {
    let pool = subject.pool();
    let seen = failures(|| pool.map(0..1000, identity));
    assert!(seen.iter().all(|(_, it)| it.is_none()), "{seen:?}");
}
