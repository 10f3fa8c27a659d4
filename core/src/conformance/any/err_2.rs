//! ERR-2: which failure is reported.

use super::{CHUNK_SIZES, Ext as _, Subject, failures, unwrap};

fn fail_from_10(n: u64) -> Result<u64, String> {
    match n {
        0..10 => Ok(n),
        _ => Err(n.to_string()),
    }
}

pub(in crate::conformance) fn one_worker_reports_the_first_failure(subject: &Subject) {
    let pool = subject.pool_of(1);
    for size in CHUNK_SIZES {
        let seen = failures(|| pool.try_map(0..200, fail_from_10).chunk_size(size));
        for (ending, failure) in seen {
            let failure = failure.unwrap_or_default();
            assert_eq!(
                failure, "item 10 failed: 10",
                "`{ending}` in chunks of {size}"
            );
        }
    }
}

pub(in crate::conformance) fn exactly_one_failure_is_reported(subject: &Subject) {
    let pool = subject.pool();
    let items: Vec<u64> = (0..300).collect();
    let error = pool.try_map(items, fail_from_10).collect::<Vec<_>>();
    assert_eq!(error.unwrap_err().failures().len(), 1);
    let outcomes: Vec<_> = unwrap(pool.try_map(0..300, fail_from_10).ordered()).collect();
    assert_eq!(outcomes.iter().filter(|it| it.is_err()).count(), 1);
}

pub(in crate::conformance) fn the_error_of_the_function_comes_back(subject: &Subject) {
    let pool = subject.pool();
    let error = pool.try_submit(11, fail_from_10).join().unwrap_err();
    assert_eq!((error.index(), error.cause()), (0, Some(&"11".to_owned())));
    let items: Vec<u64> = (0..11).collect();
    let error = pool.try_map(items, fail_from_10).collect::<Vec<_>>();
    let error = error.unwrap_err();
    let first = error.first().expect("there is a failure");
    assert_eq!((first.index(), first.cause()), (10, Some(&"10".to_owned())));
}
