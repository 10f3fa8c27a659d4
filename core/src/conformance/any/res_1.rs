//! RES-1: nothing of a call leaks into the next.

use super::{Ext as _, Pool, Subject, dislike_7, fear_7, identity, unwrap};
use crate::{CancellationToken, ErrorPolicy};

fn check(pool: &Pool, after: &str) {
    let wanted: Vec<u64> = (0..400).collect();
    let map = pool.map(wanted.clone(), identity);
    assert_eq!(unwrap(map.collect::<Vec<_>>()), wanted, "collect {after}");
    let map = unwrap(pool.map(0..400, identity).ordered());
    assert_eq!(
        map.map(unwrap).collect::<Vec<_>>(),
        wanted,
        "ordered {after}"
    );
    assert_eq!(unwrap(pool.submit(3, identity).join()), 3, "submit {after}");
}

pub(in crate::conformance) fn a_failed_map_leaves_no_trace(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..10 {
        assert!(pool.try_map(0..400, dislike_7).run().is_err());
        check(&pool, "after a failure");
        assert!(pool.map(0..400, fear_7).collect::<Vec<_>>().is_err());
        check(&pool, "after a panic");
    }
}

pub(in crate::conformance) fn a_cancelled_map_leaves_no_trace(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..10 {
        let token = CancellationToken::new();
        let map = pool.map(0.., identity).cancel_token(&token);
        let mut map = unwrap(map.ordered());
        assert_eq!(map.by_ref().take(20).count(), 20);
        token.cancel();
        check(&pool, "beside a cancelled map");
        drop(map);
        check(&pool, "after a cancelled map");
    }
}

pub(in crate::conformance) fn a_left_iterator_leaves_no_trace(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..10 {
        let map = unwrap(pool.map(0.., identity).as_completed());
        assert_eq!(map.take(20).count(), 20);
        check(&pool, "after a left iterator");
    }
}

pub(in crate::conformance) fn maps_on_one_pool_do_not_mix(subject: &Subject) {
    let pool = subject.pool();
    let callers: Vec<_> = (0..6)
        .map(|_| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                (0..5).for_each(|_| check(&pool, "beside other callers"));
                let map = pool.try_map(0..400, dislike_7).on_error(ErrorPolicy::Skip);
                assert_eq!(unwrap(map.collect::<Vec<_>>()).len(), 360);
            })
        })
        .collect();
    for caller in callers {
        assert!(caller.join().is_ok(), "a caller saw wrong results");
    }
}

pub(in crate::conformance) fn two_iterators_on_one_pool_can_be_read_in_turn(subject: &Subject) {
    let pool = subject.pool();
    let evens = unwrap(pool.map((0..600).map(|n| n * 2), identity).ordered());
    let odds = unwrap(pool.map((0..600).map(|n| n * 2 + 1), identity).ordered());
    for (n, (even, odd)) in (0..).zip(evens.zip(odds)) {
        assert_eq!((unwrap(even), unwrap(odd)), (n * 2, n * 2 + 1));
    }
}

pub(in crate::conformance) fn many_maps_one_after_another_are_alike(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..100 {
        check(&pool, "in a row");
    }
}

pub(in crate::conformance) fn a_context_belongs_to_its_map(subject: &Subject) {
    let pool = subject.pool();
    for factor in 1..20_u64 {
        let map = pool.context(factor).map(0..50, |factor, n: u64| factor * n);
        let results: Vec<u64> = unwrap(map.collect());
        assert_eq!(results, (0..50).map(|n| n * factor).collect::<Vec<_>>());
    }
}

pub(in crate::conformance) fn a_worker_state_begins_afresh_with_each_map(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..10 {
        // Each worker counts its own items; a state that was kept would count on.
        let map = pool.init(|| 0_u64).map(0..100, |count, _: u64| {
            *count += 1;
            *count
        });
        let counts: Vec<u64> = unwrap(map.collect());
        assert!(counts.contains(&1), "no state began at zero: {counts:?}");
        assert!(counts.iter().all(|count| *count <= 100), "{counts:?}");
    }
}
