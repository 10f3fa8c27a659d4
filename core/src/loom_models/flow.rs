//! [`Flow`](crate::flow::Flow) and its consumer: see "Why the consumer sleeps through
//! nothing" in `flow.rs`.

use super::{Seen, Threads};
use crate::sync::let_time_pass;
use crate::{ErrorPolicy, InProcessExt};

/// A consumer of two items in a window of one, so that the lane goes home full and has to
/// be called again. Its naps end at once: nothing but a ring ends its sleep.
fn consume_two_items(time_passes: bool) {
    let_time_pass(time_passes);
    let pool = Threads::new(1);
    let map = pool.map(0..2, Seen::new).in_flight(1).chunk_size(1);
    let mut results = map.ordered().unwrap();
    for n in 0..2 {
        assert_eq!(results.next().unwrap().unwrap().get(), n);
    }
    assert!(results.next().is_none());
}

/// The consumer does not sleep while an outcome waits, or while nobody works.
#[test]
fn loom_a_consumer_is_rung_by_its_lane() {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.check(|| consume_two_items(true));
}

/// A consumer that goes away stops the map and leaves nobody waiting.
#[test]
fn loom_a_consumer_that_goes_away() {
    loom::model(|| {
        let_time_pass(true);
        let pool = Threads::new(1);
        let map = pool.map(0..2, Seen::new).in_flight(2).chunk_size(1);
        drop(map.ordered().unwrap());
    });
}

/// A failure that stops the map reaches the consumer, after what came before it.
#[test]
fn loom_a_failure_reaches_the_consumer() {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.check(|| {
        let_time_pass(true);
        let pool = Threads::new(1);
        let map = pool.try_map(0..1, |_| Err::<(), _>("bad"));
        let mut results = map.on_error(ErrorPolicy::FailFast).ordered().unwrap();
        assert!(results.next().unwrap().is_err());
        assert!(results.next().is_none());
    });
}
