//! What is special about Rayon's threads. What all executors promise is tested by the
//! conformance kit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rayon::prelude::*;
use taskfarm_core::{Executor, InProcessExt, Shutdown, TaskErrorKind};
use taskfarm_rayon::RayonPool;

/// Runs `test` on a thread of its own, and fails if it takes too long.
fn within_deadline(test: impl FnOnce() + Send + 'static) {
    let (ended, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = ended.send(());
    });
    match wait.recv_timeout(Duration::from_secs(20)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        _ => thread.join().expect("the test passes"),
    }
}

fn shared(num_threads: usize) -> Arc<rayon::ThreadPool> {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(num_threads);
    Arc::new(builder.build().expect("threads can be started"))
}

/// One pool of each kind, with one thread where that can be chosen.
fn pools() -> Vec<RayonPool> {
    vec![
        RayonPool::new(1).unwrap(),
        RayonPool::wrap(shared(1)),
        RayonPool::global(),
    ]
}

/// Keeps a thread of the pool busy until the sender is dropped.
fn block(pool: &RayonPool) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (started, is_started) = mpsc::channel();
    pool.submit((), move |()| {
        started.send(()).unwrap();
        let _ = released.recv();
    })
    .on_done(|_| ());
    is_started.recv().unwrap();
    release
}

#[test]
fn maps_run_on_each_kind_of_pool() {
    within_deadline(|| {
        for pool in pools() {
            let doubled: Vec<u32> = pool.map(0..1000_u32, |n| n * 2).collect().unwrap();
            assert!(doubled.into_iter().eq((0..1000).map(|n| n * 2)), "{pool:?}");
        }
    });
}

#[test]
fn a_parallel_iterator_may_wait_for_a_map_on_its_own_only_thread() {
    within_deadline(|| {
        for pool in pools() {
            let sums: Vec<u32> = pool.install(|| {
                let rows = (0..8_u32).into_par_iter();
                rows.map(|row| {
                    let cells: Vec<u32> = pool.map(0..100, |cell| row * cell).collect().unwrap();
                    cells.into_iter().sum()
                })
                .collect()
            });
            assert_eq!(sums[7], 7 * 4950, "{pool:?}");
        }
    });
}

#[test]
fn a_parallel_iterator_may_join_a_handle_that_waits_behind_it() {
    within_deadline(|| {
        for pool in pools() {
            let sum = pool.install(|| {
                let handles: Vec<_> = (0..10).map(|n| pool.submit(n, |n| n + 1)).collect();
                handles
                    .into_iter()
                    .map(|handle| handle.join().unwrap())
                    .sum::<i32>()
            });
            assert_eq!(sum, 55, "{pool:?}");
        }
    });
}

#[test]
fn shutdown_cancels_queued_jobs_though_every_thread_is_busy() {
    within_deadline(|| {
        let pool = RayonPool::new(1).unwrap();
        let release = block(&pool);
        let queued = pool.submit((), |()| ());
        pool.shutdown(Shutdown::CancelQueued);
        assert!(queued.join().unwrap_err().is_cancelled());
        let refused = pool.submit((), |()| ()).join().unwrap_err();
        assert!(matches!(refused.kind(), TaskErrorKind::Refused));
        drop(release);
    });
}

#[test]
fn drain_runs_what_was_accepted() {
    within_deadline(|| {
        let pool = RayonPool::new(1).unwrap();
        let release = block(&pool);
        let queued = pool.submit((), |()| 7);
        pool.shutdown(Shutdown::Drain);
        drop(release);
        assert_eq!(queued.join().unwrap(), 7);
    });
}

#[test]
fn dropping_waits_for_accepted_work_on_each_kind_of_pool() {
    within_deadline(|| {
        for pool in pools() {
            let ran = Arc::new(AtomicUsize::new(0));
            for _ in 0..100 {
                let ran = ran.clone();
                pool.submit((), move |()| ran.fetch_add(1, Ordering::Relaxed))
                    .on_done(|_| ());
            }
            drop(pool);
            assert_eq!(ran.load(Ordering::Relaxed), 100);
        }
    });
}

#[test]
fn dropping_joins_own_threads() {
    /// Leaves a mark when its thread's locals are destroyed, which is the end of a thread.
    struct Mark(Arc<AtomicUsize>);
    impl Drop for Mark {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(20));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static MARK: std::cell::RefCell<Option<Mark>> = const { std::cell::RefCell::new(None) };
    }
    within_deadline(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        let pool = RayonPool::new(3).unwrap();
        let threads = pool.as_rayon().unwrap();
        threads.broadcast(|_| MARK.set(Some(Mark(ended.clone()))));
        drop(pool);
        assert_eq!(ended.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_pool_may_be_dropped_in_its_own_job() {
    within_deadline(|| {
        for pool in pools() {
            let pool = Arc::new(pool);
            let (sender, receiver) = mpsc::channel();
            let inside = pool.clone();
            pool.submit((), move |()| {
                // By now this is the last reference.
                while Arc::strong_count(&inside) > 1 {
                    std::thread::yield_now();
                }
                let later = inside.submit((), |()| 5);
                drop(inside);
                sender.send(later).unwrap();
            })
            .on_done(|_| ());
            drop(pool);
            assert_eq!(receiver.recv().unwrap().join().unwrap(), 5);
        }
    });
}

#[test]
fn shared_threads_outlive_the_pool_and_its_shutdown() {
    within_deadline(|| {
        let threads = shared(2);
        let (first, second) = (
            RayonPool::wrap(threads.clone()),
            RayonPool::wrap(threads.clone()),
        );
        first.shutdown(Shutdown::Abort);
        assert_eq!(second.submit(1, |n| n + 1).join().unwrap(), 2);
        drop((first, second));
        assert_eq!(threads.install(|| 3), 3);
    });
}

#[test]
fn the_builder_names_what_is_wrong() {
    let message = |builder: taskfarm_rayon::RayonPoolBuilder| {
        let error = builder.build().expect_err("the option makes no sense");
        error.to_string()
    };
    let builder = RayonPool::builder;
    assert!(message(builder().num_workers(0)).contains("num_workers is 0"));
    assert!(message(builder().num_workers(usize::MAX)).contains("at most"));
    assert!(message(builder().name("a\0b")).contains("name"));
    assert!(message(builder().stack_size(1)).contains("stack_size is 1"));
    assert!(message(builder().stack_size(usize::MAX)).contains("stack_size"));
}

#[test]
fn threads_have_the_name_and_number_that_were_asked_for() {
    let pool = RayonPool::builder()
        .num_workers(3)
        .name("hash")
        .build()
        .unwrap();
    assert_eq!(pool.parallelism().get(), 3);
    let names = pool.as_rayon().unwrap().broadcast(|_| {
        let thread = std::thread::current();
        thread.name().unwrap().to_owned()
    });
    assert_eq!(names, ["hash-0", "hash-1", "hash-2"]);
}
