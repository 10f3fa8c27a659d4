//! ZERO-1: extremes.

use std::time::Duration;

use super::{Ext as _, Subject, failures, identity, unwrap};
use crate::{CancellationToken, ErrorPolicy, SetupError, SetupErrorKind, When, as_completed, wait};

pub(in crate::conformance) fn zero_workers_are_an_error(subject: &Subject) {
    match subject.try_pool_of(0) {
        Ok(_) => panic!("a pool with zero workers was built"),
        Err(error) => assert!(
            error.to_string().contains("workers") || error.to_string().contains("threads"),
            "the error does not name the option: {error}"
        ),
    }
}

pub(in crate::conformance) fn zero_items_are_no_work(subject: &Subject) {
    let pool = subject.pool();
    let none = Vec::<u64>::new;
    assert!(unwrap(pool.map(none(), identity).collect::<Vec<_>>()).is_empty());
    assert!(unwrap(pool.map(0..0, identity).collect::<Vec<_>>()).is_empty());
    assert!(unwrap(pool.map(none(), identity).outcomes()).is_empty());
    assert_eq!(unwrap(pool.map(none(), identity).ordered()).count(), 0);
    assert_eq!(unwrap(pool.map(none(), identity).as_completed()).count(), 0);
    unwrap(pool.map(none(), identity).for_each(|_| panic!("an item")));
    assert_eq!(unwrap(pool.map(none(), identity).run()).tally().total(), 0);
}

pub(in crate::conformance) fn zero_items_cannot_be_cancelled(subject: &Subject) {
    let pool = subject.pool();
    let token = CancellationToken::new();
    token.cancel();
    let none = Vec::<u64>::new();
    for policy in [ErrorPolicy::FailFast, ErrorPolicy::Collect] {
        let map = || {
            let map = pool.map(none.clone(), identity).on_error(policy);
            map.cancel_token(&token)
        };
        for (ending, failure) in failures(map) {
            assert_eq!(failure, None, "`{ending}` under {policy:?}");
        }
    }
}

pub(in crate::conformance) fn one_item_is_enough(subject: &Subject) {
    let pool = subject.pool();
    assert_eq!(unwrap(pool.map(vec![9], identity).collect::<Vec<_>>()), [9]);
    assert_eq!(unwrap(pool.map(9..10, identity).collect::<Vec<_>>()), [9]);
    assert_eq!(unwrap(pool.map(9..10, identity).ordered()).count(), 1);
    assert_eq!(unwrap(pool.map(9..10, identity).as_completed()).count(), 1);
    assert_eq!(unwrap(pool.map(9..10, identity).run()).tally().ok, 1);
}

pub(in crate::conformance) fn more_workers_than_items_are_no_trouble(subject: &Subject) {
    let pool = subject.pool_of(8);
    for num in 0..8 {
        let items: Vec<u64> = (0..num).collect();
        let results: Vec<u64> = unwrap(pool.map(items.clone(), identity).collect());
        assert_eq!(results, items);
        let results: Vec<u64> = unwrap(pool.map(0..num, identity).collect());
        assert_eq!(results, items);
    }
}

pub(in crate::conformance) fn a_chunk_may_be_larger_than_the_input(subject: &Subject) {
    let pool = subject.pool();
    for size in [11, 1 << 20, usize::MAX] {
        let map = || pool.map(0..10, identity).chunk_size(size);
        assert_eq!(unwrap(map().collect::<Vec<_>>()).len(), 10, "collect");
        assert_eq!(unwrap(map().ordered()).count(), 10, "ordered");
        assert_eq!(unwrap(map().run()).tally().ok, 10, "run");
    }
}

pub(in crate::conformance) fn a_bound_may_be_larger_than_the_input(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map(0..1000, identity).in_flight(usize::MAX);
    assert_eq!(unwrap(map.ordered()).count(), 1000);
}

fn check(what: &str, result: Result<usize, SetupError>) {
    let error = match result {
        Ok(num) => panic!("{what} was accepted: {num} items came out"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), SetupErrorKind::InvalidOption, "{error}");
    assert!(
        error.to_string().contains(what),
        "{what} is not named: {error}"
    );
}

pub(in crate::conformance) fn options_that_make_no_sense_are_errors(subject: &Subject) {
    let pool = subject.pool();
    // Nothing starts: the input is not even looked at.
    let map = || pool.map((0..10).inspect(|_| panic!("pulled")), identity);
    let num = |outcomes: Vec<_>| outcomes.len();
    check("chunk_size", map().chunk_size(0).outcomes().map(num));
    check("in_flight", map().in_flight(0).outcomes().map(num));
    check("timeout", map().timeout(Duration::ZERO).outcomes().map(num));
    for policy in [
        ErrorPolicy::StopAfter(0),
        ErrorPolicy::StopAbove(-1.0),
        ErrorPolicy::StopAbove(101.0),
        ErrorPolicy::StopAbove(f64::NAN),
    ] {
        check("on_error", map().on_error(policy).outcomes().map(num));
    }
}

pub(in crate::conformance) fn every_ending_checks_its_options(subject: &Subject) {
    let pool = subject.pool();
    let map = || pool.map(vec![1], identity).chunk_size(0);
    let collected = map().collect::<Vec<_>>();
    assert!(collected.is_err_and(|it| it.setup().is_some()), "collect");
    assert!(map().ordered().is_err(), "ordered");
    assert!(map().as_completed().is_err(), "as_completed");
    assert!(map().outcomes().is_err(), "outcomes");
    assert!(map().run().is_err_and(|it| it.setup().is_some()), "run");
    let each = map().for_each(drop);
    assert!(each.is_err_and(|it| it.setup().is_some()), "for_each");
}

pub(in crate::conformance) fn items_and_results_may_have_no_size(subject: &Subject) {
    let pool = subject.pool();
    let results: Vec<()> = unwrap(pool.map(vec![(); 5000], |()| ()).collect());
    assert_eq!(results.len(), 5000);
    let results: Vec<()> = unwrap(pool.map(0..5000_u64, |_| ()).collect());
    assert_eq!(results.len(), 5000);
    let results: Vec<u8> = unwrap(pool.map(vec![(); 5000], |()| 1).collect());
    assert_eq!(results, [1; 5000]);
    assert_eq!(
        unwrap(pool.map(vec![(); 5000], |()| ()).ordered()).count(),
        5000
    );
}

pub(in crate::conformance) fn waiting_for_no_handles_returns_at_once(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..0).map(|n| pool.submit(n, identity)).collect();
    for when in [When::First, When::FirstError, When::All] {
        assert!(wait(&handles, when, None).is_empty());
    }
    assert_eq!(as_completed(handles).count(), 0);
}

pub(in crate::conformance) fn zero_retries_are_no_retries(subject: &Subject) {
    let pool = subject.pool();
    for (ending, failure) in failures(|| pool.try_map(0..10, super::dislike_7).retries(0)) {
        let failure = failure.unwrap_or_default();
        assert_eq!(failure, "item 7 failed: 7 ends in 7", "`{ending}`");
    }
}
