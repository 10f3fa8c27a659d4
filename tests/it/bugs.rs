//! Bugs that were fixed, each with a test that names it.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::sleep;
use std::time::Duration;

use taskfarm::prelude::*;
use taskfarm::{Observer, Report};

const LONG: Duration = Duration::from_secs(20);

/// Runs `test` on a thread of its own, and fails if it hangs.
fn in_time<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let result = test();
        let _ = sender.send(());
        result
    });
    match receiver.recv_timeout(LONG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
    }
}

/// Blocks until the token of the running task is set.
fn until_cancelled() {
    assert!(
        CancellationToken::current().wait_timeout(LONG),
        "nobody cancelled this"
    );
}

#[test]
fn a_scope_whose_body_panics_outlives_the_tasks_that_use_it() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        let (started, has_started) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let used = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| {
                let used = &used;
                drop(s.submit((), move |()| {
                    started.send(()).unwrap();
                    // Until the body's frame is being unwound, or long after.
                    let _ = may_go_on.recv_timeout(Duration::from_millis(200));
                    used.fetch_add(1, Ordering::Relaxed);
                    // It runs, or is cancelled because the body has panicked by now.
                    let nested = s.submit((), |()| 5).join();
                    assert!(nested.map_or_else(|error| error.is_cancelled(), |five| five == 5));
                    used.fetch_add(1, Ordering::Relaxed);
                }));
                has_started.recv().unwrap();
                panic_any("the body");
            })
        }));
        drop(go_on);
        assert!(result.is_err());
        assert_eq!(
            used.load(Ordering::Relaxed),
            2,
            "the task ended before the scope"
        );
    });
}

/// Runs an inner map in the first of two items, of which the second fails meanwhile.
fn under_a_failing_map<R: Send + 'static>(
    inner: impl Fn(&ThreadPool) -> R + Send + Sync + 'static,
) -> R {
    in_time(move || {
        let pool = ThreadPool::new(3).unwrap();
        let result = Mutex::new(None);
        let (started, has_started) = mpsc::channel();
        let (started, has_started) = (Mutex::new(started), Mutex::new(has_started));
        let outer = pool.try_map(vec![0, 1], |n| {
            if n == 1 {
                has_started.lock().unwrap().recv().unwrap();
                return Err("the second");
            }
            started.lock().unwrap().send(()).unwrap();
            *result.lock().unwrap() = Some(inner(&pool));
            Ok(())
        });
        assert_eq!(
            outer
                .collect::<Vec<_>>()
                .unwrap_err()
                .first()
                .unwrap()
                .index(),
            1
        );
        result.into_inner().unwrap().unwrap()
    })
}

#[test]
fn an_inner_map_does_not_take_the_failure_of_the_outer_one_for_its_own() {
    let items = || (0..1000).filter(|_| true);
    let wait = |_| until_cancelled();
    let streamed =
        under_a_failing_map(move |pool| pool.map(items(), wait).for_each(drop).err().unwrap());
    assert!(streamed.first().unwrap().is_cancelled(), "{streamed}");
    let run = under_a_failing_map(move |pool| pool.map(items(), wait).run().err().unwrap());
    assert!(run.first().unwrap().is_cancelled(), "{run}");
    let collected =
        under_a_failing_map(move |pool| pool.map(items(), wait).collect::<Vec<_>>().err().unwrap());
    assert!(collected.first().unwrap().is_cancelled(), "{collected}");
}

#[test]
fn a_slow_clone_does_not_smuggle_an_item_past_the_deadline() {
    struct Slow;
    impl Clone for Slow {
        fn clone(&self) -> Self {
            sleep(Duration::from_millis(200));
            Self
        }
    }
    let outcomes = in_time(|| {
        let pool = ThreadPool::new(1).unwrap();
        let map = pool.map(vec![Slow], |_| until_cancelled());
        let map = map.retries(1).deadline(Duration::from_millis(50));
        map.on_error(ErrorPolicy::Collect).outcomes().unwrap()
    });
    assert!(outcomes[0].as_ref().unwrap_err().is_cancelled());
}

#[test]
fn an_item_that_waits_for_another_attempt_ends_with_the_map() {
    in_time(|| {
        let pool = ThreadPool::new(1).unwrap();
        let (release, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        // Ignores its token, so the only worker is lost until the map has ended.
        let map = pool.map(vec![0], move |_| wait.lock().unwrap().recv().is_err());
        let map = map.timeout(Duration::from_millis(20)).retries(1);
        let map = map.deadline(Duration::from_millis(60));
        let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
        assert!(outcomes[0].is_err());
        drop(release);
    });
}

#[test]
fn a_deadline_ends_a_map_whose_input_blocks() {
    for policy in [
        ErrorPolicy::Collect,
        ErrorPolicy::FailFast,
        ErrorPolicy::Skip,
    ] {
        in_time(move || {
            let pool = ThreadPool::new(2).unwrap();
            let (sender, receiver) = mpsc::channel::<u32>();
            sender.send(7).unwrap();
            let map = pool.map(receiver, |n| n).on_error(policy);
            let outcomes = map.deadline(Duration::from_millis(50)).outcomes().unwrap();
            assert_eq!(*outcomes[0].as_ref().unwrap(), 7);
            drop(sender);
        });
    }
}

#[test]
fn a_worker_keeps_its_state_while_the_consumer_is_slow() {
    for num_workers in [1, 2] {
        let pool = ThreadPool::new(num_workers).unwrap();
        let (made, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (making, ending) = (made.clone(), ended.clone());
        let results = pool
            .init(move || making.fetch_add(1, Ordering::Relaxed))
            .on_exit(move |_| assert!(ending.fetch_add(1, Ordering::Relaxed) < 100))
            .map(0..300, |_, n| n)
            .in_flight(4)
            .ordered()
            .unwrap();
        for result in results {
            result.unwrap();
            std::thread::yield_now();
        }
        let made = made.load(Ordering::Relaxed);
        assert!(
            (1..=num_workers + 1).contains(&made),
            "{made} states of {num_workers} workers"
        );
        drop(pool);
        assert_eq!(ended.load(Ordering::Relaxed), made);
    }
}

#[test]
fn a_handle_can_be_awaited_inside_of_a_task_of_a_pool_with_one_worker() {
    use std::task::{Context, Poll, Waker};
    let answer = in_time(|| {
        let pool = Arc::new(ThreadPool::new(1).unwrap());
        let inner = pool.clone();
        let handle = pool.submit((), move |()| {
            let mut handle = Box::pin(inner.submit(20, |n| n + 1));
            let mut cx = Context::from_waker(Waker::noop());
            match Future::poll(handle.as_mut(), &mut cx) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => panic!("nobody else can run it"),
            }
        });
        handle.join().unwrap()
    });
    assert_eq!(answer, 21);
}

#[test]
fn observers_hear_nothing_after_the_end() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<&'static str>>>);
    impl Observer for Log {
        fn on_failure(&self, _: usize, _: &str) {
            self.0.lock().unwrap().push("failure");
        }
        fn on_finish(&self, _: &Report) {
            self.0.lock().unwrap().push("finish");
        }
    }
    let log = Log::default();
    let pool = ThreadPool::new(1).unwrap();
    let (started, has_started) = mpsc::channel();
    let map = pool.try_map(vec![0], move |_| {
        started.send(()).unwrap();
        until_cancelled();
        Err::<(), _>("too late")
    });
    let results = map.observe(log.clone()).ordered().unwrap();
    has_started.recv_timeout(LONG).unwrap();
    drop(results);
    drop(pool);
    // The failure may have come before the end, and so be told of; or after it, and not.
    assert_eq!(log.0.lock().unwrap().last(), Some(&"finish"));
}

#[test]
fn items_before_a_panic_of_the_input_run_whatever_the_chunk() {
    let input = || (0..10).inspect(|n| assert!(*n < 5, "the input"));
    for chunk_size in [1, 10] {
        let serial = InlineExecutor::new();
        let map = serial.try_map(input(), |n| if n == 3 { Err("three") } else { Ok(n) });
        let error = map.chunk_size(chunk_size).collect::<Vec<_>>().unwrap_err();
        assert_eq!(error.first().unwrap().index(), 3, "{error}");
        let map = serial
            .map(input().filter(|_| true), |n| n)
            .chunk_size(chunk_size);
        let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
    }
}

#[test]
fn a_panic_that_a_task_caught_does_not_lend_its_place_to_the_next_one() {
    let serial = InlineExecutor::new();
    let first = serial.submit((), |()| catch_unwind(|| panic!("caught")).is_err());
    assert!(first.join().unwrap());
    let second = serial.submit((), |()| resume_unwind(Box::new("elsewhere")));
    match second.join().unwrap_err().kind() {
        TaskErrorKind::Panicked(panic) => assert_eq!(panic.location(), None),
        kind => panic!("{kind}"),
    }
}

#[test]
fn making_the_state_does_not_count_against_the_first_item() {
    let pool = ThreadPool::new(1).unwrap();
    let results: Vec<i32> = pool
        .init(|| sleep(Duration::from_millis(300)))
        .map(vec![1], |(), n| n)
        .timeout(Duration::from_millis(150))
        .collect()
        .unwrap();
    assert_eq!(results, [1]);
}

#[test]
fn iterators_wait_no_longer_than_they_are_told() {
    let pool = ThreadPool::new(1).unwrap();
    let (release, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let map = pool.map(vec![5], move |n| {
        let _ = wait.lock().unwrap().recv();
        n
    });
    let mut results = map.ordered().unwrap();
    assert!(results.next_timeout(Duration::from_millis(5)).is_none());
    drop(release);
    assert_eq!(results.next_timeout(LONG).unwrap().unwrap(), 5);
    assert!(results.next_timeout(LONG).is_none());
}
