//! ONCE-1: how often items start, and how often values are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Subject;
use crate::conformance::gate::{Counter, until};
use crate::{ErrorPolicy, InProcessExt as _};

fn counters(num: usize) -> Arc<Vec<AtomicUsize>> {
    Arc::new((0..num).map(|_| AtomicUsize::new(0)).collect())
}

fn check(starts: &[AtomicUsize], what: &str) {
    for (index, starts) in starts.iter().enumerate() {
        let starts = starts.load(Ordering::SeqCst);
        assert_eq!(starts, 1, "starts of item {index} of {what}");
    }
}

pub(in crate::conformance) fn every_item_starts_once(subject: &Subject) {
    let pool = subject.pool();
    let start = |starts: &Arc<Vec<AtomicUsize>>| {
        let starts = starts.clone();
        move |n: usize| starts[n].fetch_add(1, Ordering::SeqCst)
    };
    let starts = counters(3000);
    let items: Vec<usize> = (0..3000).collect();
    pool.map(items, start(&starts)).collect::<Vec<_>>().unwrap();
    check(&starts, "a vector");
    let starts = counters(3000);
    pool.map(0..3000, start(&starts)).run().unwrap();
    check(&starts, "a range");
    let starts = counters(3000);
    assert_eq!(
        pool.map(0..3000, start(&starts)).ordered().unwrap().count(),
        3000
    );
    check(&starts, "an ordered map");
    let starts = counters(3000);
    let map = pool.map(0..3000, start(&starts)).as_completed().unwrap();
    assert_eq!(map.count(), 3000);
    check(&starts, "a map as completed");
}

pub(in crate::conformance) fn every_task_starts_once(subject: &Subject) {
    let pool = subject.pool();
    let starts = counters(500);
    let submit = |n: usize| {
        let starts = starts.clone();
        pool.submit(n, move |n| starts[n].fetch_add(1, Ordering::SeqCst))
    };
    let handles: Vec<_> = (0..500).map(submit).collect();
    for handle in handles {
        handle.join().unwrap();
    }
    check(&starts, "single tasks");
}

pub(in crate::conformance) fn an_item_that_fails_is_not_started_again(subject: &Subject) {
    let pool = subject.pool();
    let starts = counters(100);
    let map = pool.try_map(0..100, {
        let starts = starts.clone();
        move |n: usize| -> Result<(), &str> {
            starts[n].fetch_add(1, Ordering::SeqCst);
            Err("no")
        }
    });
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    assert!(outcomes.iter().all(Result::is_err));
    check(&starts, "failing items");
}

pub(in crate::conformance) fn with_retries_an_item_is_tried_until_it_succeeds(subject: &Subject) {
    let pool = subject.pool();
    let starts = counters(20);
    let map = pool.try_map(0..20, {
        let starts = starts.clone();
        move |n: usize| match starts[n].fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err("not yet"),
            _ => Ok(n),
        }
    });
    let results: Vec<usize> = map.retries(5).collect().unwrap();
    assert_eq!(results, (0..20).collect::<Vec<_>>());
    let starts: Vec<_> = starts.iter().map(|it| it.load(Ordering::SeqCst)).collect();
    assert_eq!(starts, [3; 20]);
}

pub(in crate::conformance) fn a_task_runs_although_its_handle_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let ran = Counter::new();
    for _ in 0..100 {
        let ran = ran.clone();
        drop(pool.submit((), move |()| ran.add()));
    }
    ran.wait_for(100);
}

pub(in crate::conformance) fn on_done_is_called_once(subject: &Subject) {
    let pool = subject.pool();
    let called = Counter::new();
    for n in 0..100 {
        let called = called.clone();
        pool.submit(n, |n| n).on_done(move |result| {
            assert_eq!(result.unwrap(), n);
            called.add();
        });
    }
    called.wait_for(100);
    assert_eq!(called.get(), 100);
}

/// Counts how many of its kind live.
struct Living(Arc<AtomicUsize>);

impl Living {
    fn new(living: &Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::SeqCst);
        Self(living.clone())
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "a value was dropped twice");
    }
}

fn items(living: &Arc<AtomicUsize>, num: usize) -> Vec<(usize, Living)> {
    (0..num).map(|n| (n, Living::new(living))).collect()
}

pub(in crate::conformance) fn every_item_and_result_is_dropped_once(subject: &Subject) {
    let pool = subject.pool();
    let living = Arc::new(AtomicUsize::new(0));
    // Items and results with the same layout, and with different ones.
    let results: Vec<Living> = pool
        .map(items(&living, 500), |(_, it)| it)
        .collect()
        .unwrap();
    assert_eq!(living.load(Ordering::SeqCst), 500);
    drop(results);
    let results: Vec<_> = pool.map(items(&living, 500), |it| it).collect().unwrap();
    assert_eq!(living.load(Ordering::SeqCst), 500);
    drop(results);
    pool.map(items(&living, 500), |it| it).run().unwrap();
    let map = pool
        .map(items(&living, 500), |it| it)
        .as_completed()
        .unwrap();
    assert_eq!(map.count(), 500);
    drop(pool);
    assert_eq!(living.load(Ordering::SeqCst), 0, "values are left");
}

pub(in crate::conformance) fn every_value_is_dropped_once_when_a_map_fails(subject: &Subject) {
    let pool = subject.pool();
    let living = Arc::new(AtomicUsize::new(0));
    for chunk_size in [1, 7, 1000] {
        for bad in [0, 1, 250, 499] {
            let fail = move |(n, it)| if n == bad { Err("bad") } else { Ok(it) };
            let map = pool
                .try_map(items(&living, 500), fail)
                .chunk_size(chunk_size);
            assert!(map.collect::<Vec<Living>>().is_err());
            let fail = move |(n, it)| {
                assert!(n != bad);
                (n, it)
            };
            let map = pool.map(items(&living, 500), fail).chunk_size(chunk_size);
            assert!(map.collect::<Vec<_>>().is_err());
            let fail = move |(n, it)| if n == bad { Err("bad") } else { Ok(it) };
            let map = pool
                .try_map(items(&living, 500), fail)
                .chunk_size(chunk_size);
            drop(map.outcomes().unwrap());
            assert_eq!(living.load(Ordering::SeqCst), 0, "values are left");
        }
    }
}

pub(in crate::conformance) fn every_value_is_dropped_once_when_an_iterator_is_left(
    subject: &Subject,
) {
    let living = Arc::new(AtomicUsize::new(0));
    let pool = subject.pool();
    for num_taken in [0, 1, 100] {
        let map = pool.map(items(&living, 500), |it| it).ordered().unwrap();
        drop(map.take(num_taken).collect::<Vec<_>>());
        let map = pool
            .map(items(&living, 500), |it| it)
            .as_completed()
            .unwrap();
        drop(map.take(num_taken).collect::<Vec<_>>());
    }
    drop(pool);
    // Workers that were inside may be a little late.
    until(|| living.load(Ordering::SeqCst) == 0);
}
