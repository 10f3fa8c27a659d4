//! ERR-3: collecting and skipping.

use super::{Ext as _, Subject, dislike_7, fear_7, unwrap};
use crate::ErrorPolicy;

fn liked() -> Vec<u64> {
    (0..300).filter(|n| n % 10 != 7).collect()
}

pub(in crate::conformance) fn collect_reports_every_failure(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .try_map(0..300, dislike_7)
        .on_error(ErrorPolicy::Collect);
    let error = map.collect::<Vec<_>>().expect_err("there are failures");
    let at: Vec<usize> = error.failures().iter().map(|it| it.index()).collect();
    assert_eq!(at, (0..30).map(|n| n * 10 + 7).collect::<Vec<_>>());
}

pub(in crate::conformance) fn collect_runs_every_item(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .try_map(0..300, dislike_7)
        .on_error(ErrorPolicy::Collect);
    let tally = unwrap(map.run()).tally();
    assert_eq!((tally.ok, tally.failed, tally.cancelled), (270, 30, 0));
}

pub(in crate::conformance) fn ordered_yields_failures_in_their_places(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .try_map(0..300, dislike_7)
        .on_error(ErrorPolicy::Collect);
    let outcomes: Vec<_> = unwrap(map.ordered()).collect();
    assert_eq!(outcomes.len(), 300);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, index as u64),
            Err(error) => assert_eq!((error.index(), index % 10), (index, 7)),
        }
    }
}

pub(in crate::conformance) fn as_completed_yields_failures_too(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .try_map(0..300, dislike_7)
        .on_error(ErrorPolicy::Collect);
    let outcomes = unwrap(map.as_completed());
    let num_failed = outcomes.filter(|(_, it)| it.is_err()).count();
    assert_eq!(num_failed, 30);
}

pub(in crate::conformance) fn skip_delivers_the_successes_in_order(subject: &Subject) {
    let pool = subject.pool();
    let map = || pool.try_map(0..300, dislike_7).on_error(ErrorPolicy::Skip);
    assert_eq!(unwrap(map().collect::<Vec<_>>()), liked(), "collect");
    let ordered: Vec<u64> = unwrap(map().ordered()).map(unwrap).collect();
    assert_eq!(ordered, liked(), "ordered");
    let mut each = Vec::new();
    unwrap(map().for_each(|n| each.push(n)));
    assert_eq!(each, liked(), "for_each");
    let mut any: Vec<u64> = unwrap(map().as_completed())
        .map(|(_, outcome)| unwrap(outcome))
        .collect();
    any.sort_unstable();
    assert_eq!(any, liked(), "as_completed");
}

pub(in crate::conformance) fn skipped_failures_are_counted(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.try_map(0..300, dislike_7).on_error(ErrorPolicy::Skip);
    let tally = unwrap(map.for_each(drop)).tally();
    assert_eq!((tally.ok, tally.failed, tally.total()), (270, 30, 300));
}

pub(in crate::conformance) fn panics_can_be_collected_and_skipped(subject: &Subject) {
    let pool = subject.pool();
    let map = || pool.map(0..30, fear_7);
    let error = map().on_error(ErrorPolicy::Collect).collect::<Vec<_>>();
    assert_eq!(error.unwrap_err().failures().len(), 3);
    let rest = map().on_error(ErrorPolicy::Skip).collect::<Vec<_>>();
    assert_eq!(unwrap(rest).len(), 27);
}

pub(in crate::conformance) fn a_map_whose_items_all_fail_ends(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .try_map(0..300, |n: u64| Err::<u64, _>(n.to_string()))
        .on_error(ErrorPolicy::Skip);
    assert_eq!(unwrap(map.ordered()).count(), 0);
}
