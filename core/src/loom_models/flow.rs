//! [`Flow`](crate::flow::Flow) and its consumer: see "Why the consumer sleeps through
//! nothing" in `flow.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Gate, Seen, Threads};
use crate::control::Control;
use crate::events::{Feed, Order};
use crate::flow::{Consumer, Delivery, Flow};
use crate::lease::{Lease, Lent};
use crate::options::Options;
use crate::sync::{let_time_pass, thread};
use crate::work::Plain;
use crate::{ErrorPolicy, Executor, InProcessExt};

/// A map of one item for one worker.
fn one_item(
    pool: &Threads,
    delivery: Delivery,
    mut options: Options<u32>,
) -> Arc<Flow<std::ops::Range<u32>, Plain<fn(u32) -> Seen>>> {
    let control = Control::new(pool, &mut options, Some(1), 2);
    let work: Plain<fn(u32) -> Seen> = Plain(Seen::new);
    Flow::new(0..1, work, control, pool.id().key(), 1, delivery, &options)
}

/// An item that ends while its time runs out has one outcome: its own, or that it was left
/// behind, and then its late result is discarded.
#[test]
fn loom_a_limit_against_the_end_of_its_item() {
    loom::model(|| {
        let options = Options {
            timeout: Some(Duration::from_secs(1)),
            ..Options::default()
        };
        let flow = one_item(&Threads::new(1), Delivery::StreamedUnbounded, options);
        let lane = flow.clone();
        let lane = thread::spawn(move || lane.work());
        flow.enforce_limits(Instant::now() + Duration::from_secs(3600));
        lane.join().unwrap();
        assert_eq!(flow.take_outcomes().count(), 1);
    });
}

/// Whoever counts the items in flight beside a lane and the consumer counts none too many,
/// and never less than none.
#[test]
fn loom_items_in_flight_are_never_negative() {
    loom::model(|| {
        let_time_pass(true);
        let pool = Threads::new(1);
        let flow = one_item(&pool, Delivery::Streamed, Options::default());
        let lease = Lease::new(pool.id().key(), flow.clone());
        let other = flow.clone();
        let counter = thread::spawn(move || assert!(other.in_flight() <= 1));
        let mut consumer = Consumer::new(&pool, flow, lease, Order::Input, None);
        assert!(consumer.next_outcome().is_some());
        counter.join().unwrap();
    });
}

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

/// An outcome is heard of while its lane goes on with the next item, which may take long:
/// here it waits for the consumer.
#[test]
fn loom_a_post_is_heard() {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.check(|| {
        let_time_pass(true);
        let pool = Threads::new(1);
        let gate = Arc::new(Gate::default());
        let inside = gate.clone();
        let map = pool.map(0..2, move |n| {
            if n == 1 {
                inside.wait();
            }
            Seen::new(n)
        });
        let mut results = map.in_flight(8).chunk_size(1).ordered().unwrap();
        assert_eq!(results.next().unwrap().unwrap().get(), 0);
        gate.open();
        assert_eq!(results.next().unwrap().unwrap().get(), 1);
    });
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
