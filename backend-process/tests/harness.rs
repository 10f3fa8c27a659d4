//! The pool works under the usual test harness: many threads, several pools, a static one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use taskfarm_core::{Handle, SameBinaryExt, TaskError};
use taskfarm_process::ProcessPool;

static POOL: OnceLock<ProcessPool> = OnceLock::new();

fn shared() -> &'static ProcessPool {
    POOL.get_or_init(|| ProcessPool::new(2).expect("a pool"))
}

#[test]
fn a_static_pool_serves_this_test() {
    let squares: Vec<u64> = shared().map(0..1000_u64, |n| n * n).collect().unwrap();
    assert_eq!(squares[999], 999 * 999);
}

#[test]
fn a_static_pool_serves_that_test_too() {
    let lengths: Vec<usize> = shared()
        .map(vec!["a".to_owned(), "bcd".to_owned()], |text| text.len())
        .collect()
        .unwrap();
    assert_eq!(lengths, [1, 3]);
}

/// The threads are in the environment, the allocator and standard output, whose locks a
/// careless `fork` would leave locked in a child, from before the pool opens until it is
/// dropped.
#[test]
fn a_pool_of_its_own_works_beside_busy_threads() {
    let over = AtomicBool::new(false);
    let rounds = [const { AtomicU64::new(0) }; 4];
    std::thread::scope(|scope| {
        for rounds in &rounds {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let text = format!("{:?}", std::env::var("PATH"));
                    std::hint::black_box(text);
                    drop(std::io::stdout().lock());
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let count = || {
            rounds
                .each_ref()
                .map(|rounds| rounds.load(Ordering::Relaxed))
        };
        while count().contains(&0) {
            std::thread::yield_now();
        }
        let pool = ProcessPool::new(2).unwrap();
        for n in 0..20 {
            let error = pool.submit(n, |_: i32| std::process::abort());
            let error: TaskError = Handle::<()>::join(error).unwrap_err();
            assert!(error.to_string().contains("signal 6"), "{error}");
            let task = pool.submit(n, |n: i32| std::env::var("PATH").map(|_| n).unwrap());
            assert_eq!(task.join().unwrap(), n);
        }
        assert_eq!(pool.stats().replaced, 20);
        let before = count();
        drop(pool);
        while count()
            .iter()
            .zip(before)
            .any(|(now, before)| *now == before)
        {
            // They run to the end, so they ran beside all of the above.
            std::thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn several_pools_are_used_by_several_threads() {
    let threads: Vec<_> = (0..4_u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let pool = ProcessPool::new(1).unwrap();
                let sums: Vec<u64> = pool.map(0..100, |n: u64| n + 1).collect().unwrap();
                sums.iter().sum::<u64>() + seed
            })
        })
        .collect();
    for (seed, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), 5050 + seed as u64);
    }
}
