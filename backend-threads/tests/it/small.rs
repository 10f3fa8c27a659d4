//! A little of everything on one pool, small enough for Miri.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

/// Sets its flag when it is dropped.
struct SetsOnDrop<'a>(&'a AtomicBool);

impl Drop for SetsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// A queued task is dropped when the body panics. Only then does the running one use the
/// scope, which is still there although it takes no tasks any more.
#[test]
fn a_task_uses_its_scope_after_the_body_panicked_and_closed_it() {
    let pool = ThreadPool::new(1).unwrap();
    let texts: Vec<_> = (0..4).map(|n| n.to_string()).collect();
    let (has_started, is_closed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (num_used, num_refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let body = || {
        pool.scope(|s| {
            drop(s.submit(&texts, |texts| {
                has_started.store(true, Ordering::Release);
                wait_for(&is_closed);
                for text in texts {
                    let handle = s.submit(text, String::len);
                    if handle.join().unwrap_err().is_cancelled() {
                        num_refused.fetch_add(1, Ordering::Relaxed);
                    }
                    num_used.fetch_add(1, Ordering::Relaxed);
                }
            }));
            wait_for(&has_started);
            drop(s.submit(SetsOnDrop(&is_closed), drop));
            resume_unwind(Box::new("meant"));
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(body)).is_err());
    assert_eq!((num_used.into_inner(), num_refused.into_inner()), (4, 4));
}
