//! PAN-1: panics are outcomes.

use super::{Ext as _, Subject, fear_7, identity, unwrap};
use crate::{ErrorPolicy, TaskErrorKind};

pub(in crate::conformance) fn a_panic_is_the_outcome_of_a_task(subject: &Subject) {
    let pool = subject.pool();
    let outcome = pool.submit(7, fear_7).join();
    let error = outcome.expect_err("the panic was swallowed");
    let TaskErrorKind::Panicked(panic) = error.kind() else {
        panic!("the task ended otherwise: {error}");
    };
    assert_eq!(panic.message(), "afraid of 7");
}

pub(in crate::conformance) fn a_panic_is_the_outcome_of_its_item_alone(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map(0..30, fear_7).on_error(ErrorPolicy::Collect);
    for (index, outcome) in unwrap(map.outcomes()).into_iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, index as u64),
            Err(error) => {
                let wanted = format!("item {index} panicked: afraid of {index}");
                assert!(error.to_string().starts_with(&wanted), "{error}");
                assert_eq!(index % 10, 7);
            }
        }
    }
}

pub(in crate::conformance) fn a_static_message_is_kept(subject: &Subject) {
    let pool = subject.pool();
    let error = pool.submit(1, |_: u64| -> u64 { panic!("plain") }).join();
    let error = error.expect_err("the panic was swallowed").to_string();
    assert!(error.contains("panicked: plain"), "{error}");
}

pub(in crate::conformance) fn a_payload_that_is_no_string_is_survived(subject: &Subject) {
    let pool = subject.pool();
    let task = pool.submit(1, |n: u64| -> u64 { std::panic::panic_any(n) });
    let error = task.join().expect_err("the panic was swallowed");
    assert!(error.is_panic(), "{error}");
    assert_eq!(unwrap(pool.submit(1, identity).join()), 1);
}

pub(in crate::conformance) fn the_pool_goes_on_after_many_panics(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..30 {
        assert!(pool.submit(7, fear_7).join().is_err());
    }
    let results: Vec<u64> = unwrap(pool.map(0..1000, identity).collect());
    assert_eq!(results.len(), 1000);
}

pub(in crate::conformance) fn a_panic_can_be_retried(subject: &Subject) {
    let pool = subject.pool();
    let items: Vec<u64> = (0..8).collect();
    let error = pool.map(items, fear_7).retries(2).collect::<Vec<_>>();
    let error = error.unwrap_err();
    let first = error.first().expect("there is a failure");
    assert_eq!((first.index(), first.attempt()), (7, 3), "{first}");
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("a panic in drop");
    }
}

pub(in crate::conformance) fn a_drop_that_panics_inside_a_task_is_its_outcome(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .map(0..10, |n: u64| {
            if n == 3 {
                drop(Grenade);
            }
            n
        })
        .on_error(ErrorPolicy::Collect);
    let outcomes = unwrap(map.outcomes());
    let failed: Vec<usize> = (0..10).filter(|&at| outcomes[at].is_err()).collect();
    assert_eq!(failed, [3]);
}
