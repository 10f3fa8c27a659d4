//! A little of everything on one pool, small enough for Miri.

use std::sync::atomic::{AtomicUsize, Ordering};

use taskfarm_core::InProcessExt;
use taskfarm_threads::ThreadPool;

#[test]
fn a_pool_does_a_little_of_everything() {
    let pool = ThreadPool::new(3).unwrap();
    let texts = || (0..8).map(|n| n.to_string()).collect::<Vec<_>>();

    let all: Vec<_> = pool.map(texts(), |text| text + "!").collect().unwrap();
    assert_eq!(all[7], "7!");

    let results = pool.map((0..).map(|n| n * 2), |n| n).ordered().unwrap();
    let first: Vec<_> = results.take(3).map(Result::unwrap).collect();
    assert_eq!(first, [0, 2, 4]);

    let sum = AtomicUsize::new(0);
    let pool = &pool;
    pool.scope(|s| {
        for n in [1, 2, 3] {
            drop(s.submit(&sum, move |sum| {
                let inner: Vec<_> = pool.map(vec![n; 4], |n| n).collect().unwrap();
                sum.fetch_add(inner.iter().sum(), Ordering::Relaxed);
            }));
        }
    });
    assert_eq!(sum.into_inner(), 24);

    let handles = texts()
        .into_iter()
        .map(|text| pool.submit(text, |text| text + "?"));
    let handles: Vec<_> = handles.collect();
    for (n, handle) in handles.into_iter().enumerate() {
        match n % 2 {
            0 => assert_eq!(handle.join().unwrap(), format!("{n}?")),
            _ => drop(handle),
        }
    }
}
