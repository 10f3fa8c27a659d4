//! LAZY-1: how far a map looks ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ext as _, Subject, identity, unwrap};

/// More than any default bound for a few workers; a map that pulls more has none.
const FAR_TOO_MANY: usize = 50_000;

/// Counts from zero, and remembers how far the counting was ahead of the delivering.
struct Watched {
    next: u64,
    end: u64,
    ledger: Arc<Ledger>,
}

#[derive(Default)]
struct Ledger {
    pulled: AtomicUsize,
    delivered: AtomicUsize,
    most_ahead: AtomicUsize,
}

impl Watched {
    fn new(end: u64) -> (Self, Arc<Ledger>) {
        let ledger = Arc::<Ledger>::default();
        let input = Self {
            next: 0,
            end,
            ledger: ledger.clone(),
        };
        (input, ledger)
    }
}

impl Ledger {
    fn deliver(&self) {
        self.delivered.fetch_add(1, Ordering::SeqCst);
    }

    fn most_ahead(&self) -> usize {
        self.most_ahead.load(Ordering::SeqCst)
    }
}

impl Iterator for Watched {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.next == self.end {
            return None;
        }
        let pulled = self.ledger.pulled.fetch_add(1, Ordering::SeqCst) + 1;
        // The consumer counts after it was handed the item: at most one is missing here.
        let delivered = self.ledger.delivered.load(Ordering::SeqCst) + 1;
        let ahead = pulled.saturating_sub(delivered);
        self.ledger.most_ahead.fetch_max(ahead, Ordering::SeqCst);
        assert!(
            ahead < FAR_TOO_MANY,
            "{ahead} items were pulled and not delivered"
        );
        self.next += 1;
        Some(self.next - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Says that there is plenty, so that nobody is kept from taking it.
        (
            (self.end - self.next).try_into().unwrap_or(usize::MAX),
            None,
        )
    }
}

pub(in crate::conformance) fn an_endless_input_works_in_order(subject: &Subject) {
    let pool = subject.pool();
    let map = unwrap(pool.map(0.., identity).ordered());
    let results: Vec<u64> = map.take(2000).map(unwrap).collect();
    assert_eq!(results, (0..2000).collect::<Vec<u64>>());
}

pub(in crate::conformance) fn an_endless_input_works_as_completed(subject: &Subject) {
    let pool = subject.pool();
    let map = unwrap(pool.map(0.., identity).as_completed());
    assert_eq!(map.take(2000).filter(|(_, it)| it.is_ok()).count(), 2000);
}

pub(in crate::conformance) fn the_bound_holds_for_ordered(subject: &Subject) {
    let pool = subject.pool();
    for bound in [1, 2, 7, 100] {
        let (input, ledger) = Watched::new(1000);
        let map = pool.map(input, identity).in_flight(bound);
        for (n, outcome) in (0..1000).zip(unwrap(map.ordered())) {
            assert_eq!(unwrap(outcome), n);
            ledger.deliver();
        }
        let seen = ledger.most_ahead();
        assert!(
            seen <= bound,
            "{seen} items in flight, with a bound of {bound}"
        );
    }
}

pub(in crate::conformance) fn the_bound_holds_for_as_completed(subject: &Subject) {
    let pool = subject.pool();
    for bound in [1, 2, 7, 100] {
        let (input, ledger) = Watched::new(1000);
        let map = pool.map(input, identity).in_flight(bound);
        for _ in unwrap(map.as_completed()) {
            ledger.deliver();
        }
        let seen = ledger.most_ahead();
        assert!(
            seen <= bound,
            "{seen} items in flight, with a bound of {bound}"
        );
    }
}

pub(in crate::conformance) fn the_bound_holds_for_for_each(subject: &Subject) {
    let pool = subject.pool();
    for bound in [1, 2, 7, 100] {
        let (input, ledger) = Watched::new(1000);
        let map = pool.map(input, identity).in_flight(bound);
        unwrap(map.for_each(|_| ledger.deliver()));
        let seen = ledger.most_ahead();
        assert!(
            seen <= bound,
            "{seen} items in flight, with a bound of {bound}"
        );
    }
}

pub(in crate::conformance) fn the_bound_holds_for_chunks_larger_than_it(subject: &Subject) {
    let pool = subject.pool();
    let (input, ledger) = Watched::new(1000);
    let map = pool.map(input, identity).in_flight(5).chunk_size(64);
    for outcome in unwrap(map.ordered()) {
        unwrap(outcome);
        ledger.deliver();
    }
    let seen = ledger.most_ahead();
    assert!(seen <= 5, "{seen} items in flight, with a bound of 5");
}

pub(in crate::conformance) fn the_default_bound_is_finite(subject: &Subject) {
    let pool = subject.pool();
    let (input, ledger) = Watched::new(u64::MAX);
    // The input panics when the map runs away.
    let mut map = unwrap(pool.map(input, identity).ordered());
    for n in 0..FAR_TOO_MANY as u64 {
        assert_eq!(
            unwrap(map.next().expect("an endless map has a next item")),
            n
        );
        ledger.deliver();
    }
}

pub(in crate::conformance) fn nothing_is_pulled_before_the_map_is_started(subject: &Subject) {
    let pool = subject.pool();
    let (input, ledger) = Watched::new(10);
    let map = pool.map(input, identity).in_flight(3);
    assert_eq!(ledger.pulled.load(Ordering::SeqCst), 0);
    let results: Vec<u64> = unwrap(map.collect());
    assert_eq!(results.len(), 10);
}

pub(in crate::conformance) fn a_finished_stream_has_pulled_every_item_once(subject: &Subject) {
    let pool = subject.pool();
    let (input, ledger) = Watched::new(20_000);
    let map = unwrap(pool.map(input, identity).ordered());
    let num = map.inspect(|_| ledger.deliver()).count();
    assert_eq!(
        (num, ledger.pulled.load(Ordering::SeqCst)),
        (20_000, 20_000)
    );
}
