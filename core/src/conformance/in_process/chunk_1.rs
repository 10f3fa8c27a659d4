//! CHUNK-1: one item never pays for another of its chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Subject;
use crate::conformance::gate::Gate;
use crate::{CancellationToken, ErrorPolicy, InProcessExt as _};

pub(in crate::conformance) fn a_failure_ends_its_own_chunk_too(subject: &Subject) {
    let pool = subject.pool_of(1);
    for chunk_size in [1, 10, 1000] {
        let num_started = Arc::new(AtomicUsize::new(0));
        let started = num_started.clone();
        let fail = move |n: usize| {
            started.fetch_add(1, Ordering::SeqCst);
            if n == 4 { Err("four") } else { Ok(()) }
        };
        let items: Vec<usize> = (0..100).collect();
        let map = pool.try_map(items, fail.clone()).chunk_size(chunk_size);
        map.collect::<Vec<_>>().unwrap_err();
        let map = pool.try_map(0..100, fail.clone()).chunk_size(chunk_size);
        map.run().unwrap_err();
        let map = pool.try_map(0..100, fail).chunk_size(chunk_size);
        let _ = map.outcomes().unwrap();
        let seen = num_started.load(Ordering::SeqCst);
        assert_eq!(seen, 15, "started by three maps in chunks of {chunk_size}");
    }
}

pub(in crate::conformance) fn a_cancelled_chunk_ends_after_the_running_item(subject: &Subject) {
    let pool = subject.pool_of(1);
    for chunk_size in [1, 10, 1000] {
        let token = CancellationToken::new();
        let within = token.clone();
        let map = pool.map(0..100, move |n| {
            if n == 4 {
                within.cancel();
            }
        });
        let map = map.chunk_size(chunk_size).on_error(ErrorPolicy::Collect);
        let outcomes = map.cancel_token(&token).outcomes().unwrap();
        let num_ok = outcomes.iter().filter(|it| it.is_ok()).count();
        assert_eq!(
            (num_ok, outcomes.len()),
            (5, 100),
            "in chunks of {chunk_size}"
        );
    }
}

pub(in crate::conformance) fn a_timed_out_item_costs_its_chunk_nothing(subject: &Subject) {
    let pool = subject.pool_of(2);
    for chunk_size in [1, 10, 1000] {
        let gate = Gate::new();
        let pass = gate.pass();
        let map = pool.map(0..20, move |n| {
            if n == 4 {
                pass.wait();
            }
        });
        let map = map.chunk_size(chunk_size).on_error(ErrorPolicy::Collect);
        let outcomes = map.timeout(Duration::from_millis(500)).outcomes().unwrap();
        gate.open();
        let failed: Vec<usize> = (0..20).filter(|&at| outcomes[at].is_err()).collect();
        assert_eq!(failed, [4], "in chunks of {chunk_size}");
    }
}
