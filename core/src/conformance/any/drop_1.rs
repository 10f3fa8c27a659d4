//! DROP-1: what is left of a pool.

use super::{Ext as _, Subject, fear_7, identity, unwrap};

// What is left is looked for by the kit, after every case.

pub(in crate::conformance) fn a_pool_that_was_never_used_leaves_nothing(subject: &Subject) {
    drop(subject.pool());
}

pub(in crate::conformance) fn a_pool_that_was_used_leaves_nothing(subject: &Subject) {
    let pool = subject.pool();
    assert_eq!(unwrap(pool.submit(1, identity).join()), 1);
    let results: Vec<u64> = unwrap(pool.map(0..1000, identity).collect());
    assert_eq!(results.len(), 1000);
}

pub(in crate::conformance) fn a_pool_that_met_panics_leaves_nothing(subject: &Subject) {
    let pool = subject.pool();
    assert!(pool.submit(7, fear_7).join().is_err());
    assert!(pool.map(0..100, fear_7).run().is_err());
}

pub(in crate::conformance) fn many_pools_one_after_another_leave_nothing(subject: &Subject) {
    for n in 0..30 {
        assert_eq!(unwrap(subject.pool().submit(n, identity).join()), n);
    }
}

pub(in crate::conformance) fn many_pools_at_once_leave_nothing(subject: &Subject) {
    let pools: Vec<_> = (0..10).map(|_| subject.pool()).collect();
    let handles: Vec<_> = pools.iter().map(|it| it.submit(1, identity)).collect();
    let sum: u64 = handles.into_iter().map(|it| unwrap(it.join())).sum();
    assert_eq!(sum, 10);
}

pub(in crate::conformance) fn every_handle_resolves_when_its_pool_is_dropped(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..500).map(|n| pool.submit(n, identity)).collect();
    drop(pool);
    for (n, handle) in (0..).zip(handles) {
        match handle.join() {
            Ok(value) => assert_eq!(value, n),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
}

pub(in crate::conformance) fn an_iterator_may_be_left_at_any_moment(subject: &Subject) {
    let pool = subject.pool();
    for num_taken in [0, 1, 2, 10, 500] {
        let mut map = unwrap(pool.map(0.., identity).ordered());
        for n in 0..num_taken {
            assert_eq!(unwrap(map.next().expect("an endless map")), n);
        }
        drop(map);
        let mut map = unwrap(pool.map(0.., identity).as_completed());
        assert_eq!(
            map.by_ref().take(num_taken as usize).count() as u64,
            num_taken
        );
    }
    assert_eq!(unwrap(pool.submit(1, identity).join()), 1);
}

pub(in crate::conformance) fn a_map_that_was_never_started_runs_nothing(subject: &Subject) {
    let pool = subject.pool();
    #[expect(unused_must_use, reason = "that is the point")]
    {
        pool.map(0..10, |_: u64| -> u64 { panic!("it ran") });
    }
    assert_eq!(unwrap(pool.submit(1, identity).join()), 1);
}
