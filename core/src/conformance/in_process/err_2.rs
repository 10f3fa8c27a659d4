//! ERR-2: which of several failures is reported.

use super::Subject;
use crate::conformance::gate::Counter;
use crate::{InProcessExt as _, MapError};

/// Two items that are both running when one of them, and then the other, fails.
fn race(late: usize) -> impl Fn(usize) -> Result<(), usize> + Send + Sync {
    let (running, other) = (Counter::new(), Counter::new());
    move |n| {
        running.meet(2);
        match n == late {
            true => other.wait_for(1),
            false => other.add(),
        }
        Err(n)
    }
}

fn check(error: MapError<usize>, what: &str) {
    let at: Vec<usize> = error.failures().iter().map(|it| it.index()).collect();
    assert_eq!(at, [0], "failures reported by {what}");
}

pub(in crate::conformance) fn of_two_known_failures_the_lower_is_reported(subject: &Subject) {
    let pool = subject.pool_of(2);
    for late in [0, 1].repeat(10) {
        let map = pool.try_map(vec![0, 1], race(late));
        check(map.collect::<Vec<_>>().unwrap_err(), "collect of a vector");
        let map = pool.try_map(0..2, race(late));
        check(map.collect::<Vec<_>>().unwrap_err(), "collect");
        let map = pool.try_map(0..2, race(late));
        check(map.run().unwrap_err(), "run");
    }
}
