//! TIME-1: items that exceed their limits in another process.

use std::time::Duration;

use super::Subject;
use crate::{ErrorPolicy, SameBinaryExt as _};

fn loop_at_13(n: u64) -> u64 {
    if n == 13 {
        loop {
            std::hint::spin_loop();
        }
    }
    n
}

pub(in crate::conformance) fn an_item_over_its_limit_costs_itself_alone(subject: &Subject) {
    let pool = subject.pool();
    for chunk_size in [1, 7, 1000] {
        let map = pool.map(0..30, loop_at_13).chunk_size(chunk_size);
        let map = map.timeout(Duration::from_millis(500));
        let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert_eq!(value, index as u64),
                Err(error) => assert!(index == 13 && error.is_timeout(), "{error}"),
            }
        }
    }
    assert_eq!(pool.submit(1, loop_at_13).join().unwrap(), 1);
}

pub(in crate::conformance) fn a_deadline_ends_items_that_never_end(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .map(0..30, loop_at_13)
        .deadline(Duration::from_millis(500));
    let error = map.collect::<Vec<_>>().unwrap_err();
    let first = error.first().unwrap();
    assert!(first.is_timeout() || first.is_cancelled(), "{first}");
    assert_eq!(pool.submit(1, loop_at_13).join().unwrap(), 1);
}
