//! REM-1: a crash costs one item.

use super::Subject;
use crate::{ErrorPolicy, ProcessEnd, SameBinaryExt as _, TaskErrorKind};

fn crash_at_13(n: u64) -> u64 {
    if n == 13 {
        std::process::abort();
    }
    n
}

pub(in crate::conformance) fn a_crash_is_the_outcome_of_its_item_alone(subject: &Subject) {
    let pool = subject.pool();
    for chunk_size in [1, 7, 1000] {
        let map = pool.map(0..50, crash_at_13).chunk_size(chunk_size);
        let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
        assert_eq!(outcomes.len(), 50);
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert_eq!(value, index as u64),
                Err(error) => {
                    assert_eq!((error.index(), index), (13, 13), "{error}");
                    let TaskErrorKind::WorkerLost(lost) = error.kind() else {
                        panic!("{error}");
                    };
                    assert_ne!(lost.pid, std::process::id());
                }
            }
        }
    }
}

pub(in crate::conformance) fn the_pool_goes_on_after_many_crashes(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..10 {
        let error = pool.submit(13, crash_at_13).join().unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::WorkerLost(_)),
            "{error}"
        );
        assert_eq!(pool.submit(1, crash_at_13).join().unwrap(), 1);
    }
    let results: Vec<u64> = pool.map(100..300, crash_at_13).collect().unwrap();
    assert_eq!(results, (100..300).collect::<Vec<u64>>());
}

pub(in crate::conformance) fn a_crash_fails_fast(subject: &Subject) {
    let pool = subject.pool();
    let error = pool
        .map(0..14, crash_at_13)
        .collect::<Vec<_>>()
        .unwrap_err();
    let first = error.first().unwrap();
    assert_eq!(first.index(), 13);
    assert!(
        matches!(first.kind(), TaskErrorKind::WorkerLost(_)),
        "{first}"
    );
}

pub(in crate::conformance) fn a_crash_can_be_retried(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map(0..20, crash_at_13).retries(2);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    let error = outcomes[13].as_ref().unwrap_err();
    assert!(
        matches!(error.kind(), TaskErrorKind::WorkerLost(_)),
        "{error}"
    );
    assert_eq!(error.attempt(), 3);
    assert_eq!(outcomes.iter().filter(|it| it.is_ok()).count(), 19);
}

pub(in crate::conformance) fn the_exit_code_of_a_task_that_exits_is_told(subject: &Subject) {
    let pool = subject.pool();
    let exit = |code: i32| -> i32 { std::process::exit(code) };
    let error = pool.submit(9, exit).join().unwrap_err();
    let TaskErrorKind::WorkerLost(lost) = error.kind() else {
        panic!("{error}");
    };
    assert_eq!(lost.ended, ProcessEnd::Exited(9));
}
