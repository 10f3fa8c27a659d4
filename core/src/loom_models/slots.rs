//! [`Slots`](crate::slots::Slots): see "Who may touch a slot" in `slots.rs`.

use super::{Seen, Threads, panic_quietly};
use crate::InProcessExt;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Each item is worked once, and its result is seen in its place; in the memory of the
/// items, since they have the layout of the results.
#[test]
fn loom_each_item_once_and_every_result_in_its_place() {
    loom::model(|| {
        let pool = Threads::new(2);
        let num_runs = AtomicUsize::new(0);
        let items = vec![Seen::new(1), Seen::new(2)];
        let map = pool.map(items, |item| {
            num_runs.fetch_add(1, Ordering::Relaxed);
            Seen::new(item.get() * 10)
        });
        let results: Vec<_> = map.chunk_size(1).collect().unwrap();
        let results: Vec<_> = results.iter().map(Seen::get).collect();
        assert_eq!(results, [10, 20]);
        assert_eq!(num_runs.load(Ordering::Relaxed), 2);
    });
}

/// The same where the items come from an iterator, which is entered by one thread at a
/// time.
#[test]
fn loom_an_iterator_is_entered_by_one_at_a_time() {
    loom::model(|| {
        let pool = Threads::new(2);
        let inside = Seen::new(0);
        let items = (0..2).map(|n| {
            inside.set(n);
            Seen::new(n)
        });
        let map = pool.map(items, |item| item.get());
        assert_eq!(map.chunk_size(1).collect::<Vec<_>>().unwrap(), [0, 1]);
    });
}

/// A panic ends a fail-fast map while another worker is in the middle of an item, and the
/// caller hears of it.
#[test]
fn loom_a_panic_ends_the_map_for_all() {
    loom::model(|| {
        let pool = Threads::new(2);
        let map = pool.map(vec![0, 1], |n| match n {
            0 => panic_quietly(),
            _ => Seen::new(n),
        });
        let error = map.chunk_size(1).collect::<Vec<_>>().unwrap_err();
        assert!(error.first().unwrap().is_panic());
    });
}
