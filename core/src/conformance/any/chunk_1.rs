//! CHUNK-1: chunks are invisible.

use super::{CHUNK_SIZES, Ext as _, Subject, dislike_7, double, failures, fear_7, unwrap};
use crate::{ErrorPolicy, TaskError};

pub(in crate::conformance) fn results_are_equal_for_every_chunk_size(subject: &Subject) {
    let pool = subject.pool();
    let wanted: Vec<u64> = (0..500).map(double).collect();
    for size in CHUNK_SIZES {
        let items: Vec<u64> = (0..500).collect();
        let results: Vec<u64> = unwrap(pool.map(items, double).chunk_size(size).collect());
        assert_eq!(results, wanted, "collect of a vector in chunks of {size}");
        let results: Vec<u64> = unwrap(pool.map(0..500, double).chunk_size(size).collect());
        assert_eq!(results, wanted, "collect in chunks of {size}");
        let map = pool.map(0..500, double).chunk_size(size);
        let results: Vec<u64> = unwrap(map.ordered()).map(unwrap).collect();
        assert_eq!(results, wanted, "ordered in chunks of {size}");
    }
}

fn shape<T, E: std::fmt::Display>(outcomes: Vec<Result<T, TaskError<E>>>) -> Vec<String> {
    let say = |outcome: Result<T, TaskError<E>>| match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    outcomes.into_iter().map(say).collect()
}

pub(in crate::conformance) fn errors_are_equal_for_every_chunk_size(subject: &Subject) {
    let pool = subject.pool();
    let run = |size| {
        let map = pool.try_map(0..300, dislike_7).chunk_size(size);
        shape(unwrap(map.on_error(ErrorPolicy::Collect).outcomes()))
    };
    let wanted = run(1);
    for size in CHUNK_SIZES {
        assert_eq!(run(size), wanted, "outcomes in chunks of {size}");
    }
}

pub(in crate::conformance) fn panics_are_equal_for_every_chunk_size(subject: &Subject) {
    let pool = subject.pool();
    let run = |size| {
        let map = pool.map(0..100, fear_7).chunk_size(size);
        shape(unwrap(map.on_error(ErrorPolicy::Collect).outcomes()))
    };
    let wanted = run(1);
    for size in CHUNK_SIZES {
        assert_eq!(run(size), wanted, "outcomes in chunks of {size}");
    }
}

pub(in crate::conformance) fn tallies_are_equal_for_every_chunk_size(subject: &Subject) {
    let pool = subject.pool();
    for size in CHUNK_SIZES {
        let map = pool.try_map(0..300, dislike_7).chunk_size(size);
        let tally = unwrap(map.on_error(ErrorPolicy::Skip).run()).tally();
        assert_eq!((tally.ok, tally.failed), (270, 30), "in chunks of {size}");
    }
}

pub(in crate::conformance) fn fail_fast_reports_the_same_failure_for_every_chunk_size(
    subject: &Subject,
) {
    let pool = subject.pool();
    for size in CHUNK_SIZES {
        let seen = failures(|| pool.try_map(0..10, dislike_7).chunk_size(size));
        for (ending, failure) in seen {
            let failure = failure.unwrap_or_default();
            let wanted = "item 7 failed: 7 ends in 7";
            assert_eq!(failure, wanted, "`{ending}` in chunks of {size}");
        }
    }
}
