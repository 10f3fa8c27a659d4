//! NEST-1: waiting inside of tasks. All of it with one worker, and with several.

use std::sync::Mutex;

use super::{Pool, Subject};
use crate::conformance::gate::Gate;
use crate::{Executor as _, InProcessExt as _, When, as_completed, wait};

/// With one worker, and with the default number.
fn each(subject: &Subject, check: impl Fn(&Pool)) {
    check(&subject.pool_of(1));
    check(&subject.pool());
}

pub(in crate::conformance) fn a_task_may_join_a_task(subject: &Subject) {
    each(subject, |pool| {
        let inner = pool.clone();
        let task = pool.submit(1, move |n| inner.submit(n + 1, |n| n + 1).join().unwrap());
        assert_eq!(task.join().unwrap(), 3);
    });
}

fn depth(pool: Pool, left: u64) -> u64 {
    match left {
        0 => 0,
        _ => {
            let inner = pool.clone();
            let task = pool.submit(left - 1, move |left| depth(inner, left));
            task.join().unwrap() + 1
        }
    }
}

pub(in crate::conformance) fn tasks_may_be_nested_deeply(subject: &Subject) {
    each(subject, |pool| {
        let inner = pool.clone();
        let task = pool.submit(50, move |left| depth(inner, left));
        assert_eq!(task.join().unwrap(), 50);
    });
}

fn fibonacci(pool: &Pool, n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let inner = pool.clone();
    let one = pool.submit(n - 1, move |n| fibonacci(&inner, n));
    let other = fibonacci(pool, n - 2);
    one.join().unwrap() + other
}

pub(in crate::conformance) fn tasks_may_fork_and_join(subject: &Subject) {
    each(subject, |pool| {
        let inner = pool.clone();
        let task = pool.submit(12, move |n| fibonacci(&inner, n));
        assert_eq!(task.join().unwrap(), 144);
    });
}

pub(in crate::conformance) fn a_task_may_join_a_task_that_somebody_else_submitted(
    subject: &Subject,
) {
    let pool = subject.pool_of(1);
    let gate = Gate::new();
    let pass = gate.pass();
    let (sender, receiver) = std::sync::mpsc::channel();
    let receiver = Mutex::new(receiver);
    let first = pool.submit((), move |()| {
        pass.wait();
        let second: crate::Handle<'static, u64> = receiver.lock().unwrap().recv().unwrap();
        second.join().unwrap()
    });
    sender.send(pool.submit(6, |n| n)).unwrap();
    gate.open();
    assert_eq!(first.join().unwrap(), 6);
}

pub(in crate::conformance) fn a_task_may_map(subject: &Subject) {
    each(subject, |pool| {
        let inner = pool.clone();
        let task = pool.submit((), move |()| {
            let vector: Vec<u64> = inner.map(vec![1, 2, 3], |n| n).collect().unwrap();
            let range: Vec<u64> = inner.map(0..100, |n| n).collect().unwrap();
            let mut sum = 0;
            inner.map(0..100, |n| n).for_each(|n| sum += n).unwrap();
            let report = inner.map(0..100, drop::<u64>).run().unwrap();
            (vector.len(), range.len(), sum, report.tally().ok)
        });
        assert_eq!(task.join().unwrap(), (3, 100, 4950, 100));
    });
}

pub(in crate::conformance) fn a_task_may_read_an_iterator(subject: &Subject) {
    each(subject, |pool| {
        let inner = pool.clone();
        let task = pool.submit((), move |()| {
            let ordered = inner.map(0..600, |n: u64| n).ordered().unwrap();
            let ordered: u64 = ordered.map(Result::unwrap).sum();
            let any = inner.map(0..600, |n: u64| n).in_flight(3);
            let any = any.as_completed().unwrap();
            let any: u64 = any.map(|(_, outcome)| outcome.unwrap()).sum();
            (ordered, any)
        });
        assert_eq!(task.join().unwrap(), (179_700, 179_700));
    });
}

pub(in crate::conformance) fn maps_may_be_nested(subject: &Subject) {
    each(subject, |pool| {
        let sums: Vec<u64> = pool
            .map(0..30, |n| {
                let map = pool.map(0..n, |k| {
                    let map = pool.map((0..k).collect::<Vec<u64>>(), |l| l);
                    map.collect::<Vec<_>>().unwrap().len() as u64
                });
                map.collect::<Vec<_>>().unwrap().into_iter().sum()
            })
            .collect()
            .unwrap();
        assert_eq!(sums[29], 29 * 28 / 2);
    });
}

pub(in crate::conformance) fn every_worker_may_wait_at_once(subject: &Subject) {
    let pool = subject.pool();
    let num = pool.parallelism().get() as u64 * 8;
    let submit = |n| {
        let inner = pool.clone();
        pool.submit(n, move |n| {
            let handles: Vec<_> = (0..20).map(|k| inner.submit(k, |k| k)).collect();
            let sum: u64 = handles.into_iter().map(|it| it.join().unwrap()).sum();
            sum + n
        })
    };
    let handles: Vec<_> = (0..num).map(submit).collect();
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.join().unwrap(), 190 + n);
    }
}

pub(in crate::conformance) fn a_scope_inside_a_map_may_map(subject: &Subject) {
    each(subject, |pool| {
        let results: Vec<u64> = pool
            .map((0..10).collect::<Vec<u64>>(), |n| {
                pool.scope(|s| {
                    let task = s.submit(n, |n| {
                        let map = pool.map(0..n, |k| k);
                        map.collect::<Vec<u64>>().unwrap().into_iter().sum::<u64>()
                    });
                    s.submit((), |()| ()).join().unwrap();
                    task.join().unwrap()
                })
            })
            .collect()
            .unwrap();
        assert_eq!(results[9], 36);
    });
}

pub(in crate::conformance) fn a_scope_may_be_left_with_tasks_that_wait(subject: &Subject) {
    each(subject, |pool| {
        let inner = pool.clone();
        let sum = std::sync::atomic::AtomicU64::new(0);
        pool.scope(|s| {
            for n in 0..20 {
                let (inner, sum) = (&inner, &sum);
                drop(s.submit(n, move |n| {
                    let value = inner.submit(n, |n| n).join().unwrap();
                    sum.fetch_add(value, std::sync::atomic::Ordering::SeqCst);
                }));
            }
        });
        assert_eq!(sum.into_inner(), 190);
    });
}

pub(in crate::conformance) fn the_input_of_a_map_may_be_another_map(subject: &Subject) {
    each(subject, |pool| {
        for bound in [1, 3, 1000] {
            let first = pool.map(0..500, |n: u64| n + 1).in_flight(bound);
            let first = first.ordered().unwrap().map(Result::unwrap);
            let second = pool.map(first, |n| n * 2).in_flight(bound);
            let mut sum = 0;
            second.for_each(|n| sum += n).unwrap();
            assert_eq!(sum, 500 * 501, "with a bound of {bound}");
        }
    });
}

pub(in crate::conformance) fn the_input_of_a_map_may_use_the_pool(subject: &Subject) {
    each(subject, |pool| {
        let input = (0..50_u64).map(|n| pool.submit(n, |n| n + 1).join().unwrap());
        let results: Vec<u64> = pool.map(input, |n| n).collect().unwrap();
        assert_eq!(results, (1..51).collect::<Vec<_>>());
    });
}

pub(in crate::conformance) fn a_consumer_may_use_the_pool(subject: &Subject) {
    each(subject, |pool| {
        let mut sum = 0;
        pool.map(0..200, |n: u64| n)
            .in_flight(2)
            .for_each(|n| sum += pool.submit(n, |n| n).join().unwrap())
            .unwrap();
        assert_eq!(sum, 199 * 100);
    });
}

pub(in crate::conformance) fn a_task_may_wait_for_several(subject: &Subject) {
    each(subject, |pool| {
        let inner = pool.clone();
        let task = pool.submit((), move |()| {
            let handles: Vec<_> = (0..20).map(|n| inner.submit(n, |n| n)).collect();
            assert!(!wait(&handles, When::First, None).is_empty());
            assert_eq!(wait(&handles, When::All, None).len(), 20);
            let again = (0..20).map(|n| inner.submit(n, |n: u64| n));
            let sum = as_completed(again).map(|(_, it)| it.unwrap()).sum::<u64>();
            handles
                .into_iter()
                .fold(sum, |sum, it| sum + it.join().unwrap())
        });
        assert_eq!(task.join().unwrap(), 380);
    });
}

pub(in crate::conformance) fn a_lock_may_be_held_over_a_nested_map(subject: &Subject) {
    each(subject, |pool| {
        // A waiter that ran any other job would meet the lock that it holds.
        let lock = Mutex::new(0_u64);
        let map = pool.map((0..40).collect::<Vec<u64>>(), |n| {
            let mut sum = lock.lock().unwrap();
            let inner: Vec<u64> = pool.map(0..20, |k| k).collect().unwrap();
            *sum += inner.len() as u64 + n;
        });
        map.collect::<Vec<_>>().unwrap();
        assert_eq!(*lock.lock().unwrap(), 800 + 780);
    });
}

pub(in crate::conformance) fn limited_maps_may_be_nested(subject: &Subject) {
    let limit = std::time::Duration::from_secs(600);
    each(subject, |pool| {
        let (outer, inner) = (pool.clone(), pool.clone());
        let map = outer.map(0..10, move |n: u64| {
            let map = inner.map(0..n, |k| k).timeout(limit);
            map.collect::<Vec<_>>().unwrap().len() as u64
        });
        let lengths: Vec<u64> = map.timeout(limit).collect().unwrap();
        assert_eq!(lengths, (0..10).collect::<Vec<_>>());
    });
}

pub(in crate::conformance) fn two_pools_may_be_nested(subject: &Subject) {
    let (one, other) = (subject.pool_of(1), subject.pool_of(1));
    let map = one.map((0..20).collect::<Vec<u64>>(), |n| {
        let map = other.map(0..n, |k| k);
        map.collect::<Vec<_>>().unwrap().len() as u64
    });
    let lengths: Vec<u64> = map.collect().unwrap();
    assert_eq!(lengths, (0..20).collect::<Vec<_>>());
}
