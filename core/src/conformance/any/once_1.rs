//! ONCE-1: one outcome for each item.

use super::{Ext as _, Subject, dislike_7, identity, unwrap};
use crate::{ErrorPolicy, as_completed};

pub(in crate::conformance) fn every_submitted_task_gives_its_result(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..2000).map(|n| pool.submit(n, identity)).collect();
    let sum: u64 = handles
        .into_iter()
        .map(|handle| unwrap(handle.join()))
        .sum();
    assert_eq!(sum, 1999 * 1000);
}

pub(in crate::conformance) fn every_submitted_task_gives_its_result_one_by_one(subject: &Subject) {
    let pool = subject.pool();
    for n in 0..300 {
        assert_eq!(unwrap(pool.submit(n, identity).join()), n);
    }
}

pub(in crate::conformance) fn as_completed_yields_each_item_once(subject: &Subject) {
    let pool = subject.pool();
    let mut seen: Vec<usize> = unwrap(pool.map(0..3000, identity).as_completed())
        .map(|(index, _)| index)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..3000).collect::<Vec<_>>());
}

pub(in crate::conformance) fn as_completed_handles_yield_each_task_once(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..300).map(|n| pool.submit(n, identity)).collect();
    let mut seen: Vec<usize> = as_completed(handles).map(|(at, _)| at).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
}

pub(in crate::conformance) fn outcomes_has_one_entry_for_each_item(subject: &Subject) {
    let pool = subject.pool();
    for policy in [
        ErrorPolicy::FailFast,
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
    ] {
        let map = pool.try_map(0..500, dislike_7).on_error(policy);
        assert_eq!(
            unwrap(map.outcomes()).len(),
            500,
            "outcomes under {policy:?}"
        );
    }
}

pub(in crate::conformance) fn the_result_of_an_unwatched_task_is_dropped_in_peace(
    subject: &Subject,
) {
    let pool = subject.pool();
    for n in 0..200 {
        drop(pool.submit(n, |n| n.to_string()));
    }
    assert_eq!(unwrap(pool.submit(1, identity).join()), 1);
}

pub(in crate::conformance) fn retries_give_up_after_the_last(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .try_map(0..20, dislike_7)
        .on_error(ErrorPolicy::Collect);
    let outcomes = unwrap(map.retries(2).outcomes());
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, index as u64),
            Err(error) => assert_eq!((error.index() % 10, error.attempt()), (7, 3), "{error}"),
        }
    }
}
