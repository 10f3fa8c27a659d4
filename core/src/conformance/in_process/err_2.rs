//! ERR-2: which of several failures is reported.

use super::Subject;
use crate::InProcessExt as _;
use crate::conformance::gate::Counter;

pub(in crate::conformance) fn of_two_known_failures_the_lower_is_reported(subject: &Subject) {
    let pool = subject.pool_of(2);
    for late in [0, 1] {
        for _ in 0..10 {
            let (running, other) = (Counter::new(), Counter::new());
            let fail = |n: usize| {
                running.meet(2);
                // Both have started, so both will be known, whichever fails first.
                match n == late {
                    true => other.wait_for(1),
                    false => other.add(),
                }
                Err::<(), _>(n)
            };
            let error = pool.try_map(vec![0, 1], fail).collect::<Vec<_>>().unwrap_err();
            assert_eq!(error.first().map(|it| it.index()), Some(0), "collect of a vector");
            let (running, other) = (Counter::new(), Counter::new());
            let fail = |n: usize| {
                running.meet(2);
                match n == late {
                    true => other.wait_for(1),
                    false => other.add(),
                }
                Err::<(), _>(n)
            };
            let error = pool.try_map(0..2, fail).run().unwrap_err();
            assert_eq!(error.first().map(|it| it.index()), Some(0), "run");
        }
    }
}
