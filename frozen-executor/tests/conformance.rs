//! The kit, as a stranger joins it.

use frozen_executor::QueuePool;
use taskfarm_core::conformance::Subject;

mod two_workers {
    use super::*;
    taskfarm_core::conformance!(Subject::new(QueuePool::new));
}

mod one_worker {
    use super::*;
    taskfarm_core::conformance!(Subject::new(QueuePool::new).workers(1));
}

#[test]
fn the_kit_can_be_run_by_hand() {
    let report = taskfarm_core::conformance::run(&Subject::new(QueuePool::new), "zero_1::");
    assert!(report.is_ok());
    assert!(!report.verdicts().is_empty());
}

#[test]
fn users_meet_the_pool_through_the_extension_trait() {
    use taskfarm_core::{InProcessExt, MapError};

    let pool = QueuePool::new(2).unwrap();
    let result: Result<Vec<u32>, MapError<std::num::ParseIntError>> =
        pool.try_map(["1", "2"], str::parse).collect();
    assert_eq!(result.unwrap(), [1, 2]);
    assert_eq!(pool.submit(1, |n| n + 1).join().unwrap(), 2);
}
