//! The pool works under the usual test harness: many threads, several pools, a static one.

use std::sync::OnceLock;

use taskfarm_core::SameBinaryExt;
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

#[test]
fn a_pool_of_its_own_works_beside_busy_threads() {
    let busy: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for n in 0..1000 {
                    std::hint::black_box(format!("{n} {:?}", std::env::var("PATH")));
                }
            })
        })
        .collect();
    let pool = ProcessPool::new(2).unwrap();
    let error = pool
        .submit(1, |n: i32| {
            if n == 1 {
                std::process::abort();
            }
            n
        })
        .join()
        .unwrap_err();
    assert!(error.to_string().contains("signal 6"), "{error}");
    assert_eq!(pool.submit(2, |n: i32| n).join().unwrap(), 2);
    for thread in busy {
        thread.join().unwrap();
    }
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
