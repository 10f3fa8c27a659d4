//! Bugs that were found by models, sanitizers or reading, each by its name.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use taskfarm_core::{
    CancellationToken, ErrorPolicy, Executor, ExecutorId, InProcess, InProcessExt, InlineExecutor,
    Job, Observer, Shutdown, TaskErrorKind,
};

/// So long may a test take that would hang with its bug.
const DEADLINE: Duration = Duration::from_secs(if cfg!(miri) { 600 } else { 30 });

/// A thread for each job, and two of them at a time.
struct TwoThreads(ExecutorId);

impl TwoThreads {
    fn new() -> Self {
        Self(ExecutorId::new("two-threads"))
    }
}

impl Executor for TwoThreads {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.0
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        std::thread::spawn(|| job.run());
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::new(2).expect("not zero")
    }
}

/// Runs `test`, and panics if it has not ended by the deadline.
fn within_the_deadline(test: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        // The receiver is gone only after the deadline.
        let _ = sender.send(());
    });
    match receiver.recv_timeout(DEADLINE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => thread.join().expect("the test passes"),
    }
}

/// Waits for a flag that another thread sets; says whether it was set in time.
fn wait_for(flag: &AtomicBool) -> bool {
    let deadline = Instant::now() + DEADLINE / 2;
    while !flag.load(Ordering::Acquire) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// An error that cannot be printed.
#[derive(Debug)]
struct Unprintable;

impl fmt::Display for Unprintable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("it cannot be printed")
    }
}

struct Nobody;
impl Observer for Nobody {}

/// The panic left the lane, whose lease then waited for it for ever.
#[test]
fn an_error_that_panics_when_printed_is_a_failure_like_any_other() {
    within_the_deadline(|| {
        let odd = |n| if n % 2 == 1 { Err(Unprintable) } else { Ok(n) };
        let pool = TwoThreads::new();
        let map = pool.try_map(0..10, odd).observe(Nobody);
        let even: Vec<i32> = map.on_error(ErrorPolicy::Skip).collect().unwrap();
        assert_eq!(even, [0, 2, 4, 6, 8]);
        let map = pool.try_map(vec![1], odd).observe(Nobody);
        let error = map.collect::<Vec<_>>().unwrap_err();
        assert_eq!(error.failures().len(), 1);
    });
}

/// A value whose destructor panics.
struct Explosive;

impl Drop for Explosive {
    fn drop(&mut self) {
        panic!("it explodes");
    }
}

/// The panic left the scope's lease, which then waited for the worker for ever.
#[test]
fn a_detached_result_that_panics_when_dropped_does_not_hang_its_scope() {
    within_the_deadline(|| {
        let pool = TwoThreads::new();
        let is_detached = AtomicBool::new(false);
        let sum = pool.scope(|s| {
            drop(s.submit(&is_detached, |is_detached| {
                wait_for(is_detached);
                Explosive
            }));
            is_detached.store(true, Ordering::Release);
            s.submit(2, |n| n + 2).join()
        });
        assert_eq!(sum.unwrap(), 4);
    });
}

/// The errors of attempts that are repeated were dropped outside of every fence. Then the
/// payload of the panic was leaked, which the leak check of Miri and AddressSanitizer sees.
#[test]
fn an_error_that_panics_when_dropped_does_not_hang_a_map_with_retries() {
    struct Bomb(Explosive);
    impl fmt::Display for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a bomb")
        }
    }
    within_the_deadline(|| {
        let has_failed = AtomicBool::new(false);
        let pool = TwoThreads::new();
        let fails_once = |n| match has_failed.swap(true, Ordering::AcqRel) {
            true => Ok(n),
            false => Err(Bomb(Explosive)),
        };
        let map = pool.try_map(0..4, fails_once).retries(1);
        let Ok(all) = map.collect::<Vec<i32>>() else {
            panic!("the second attempt succeeds")
        };
        assert_eq!(all, [0, 1, 2, 3]);
    });
}

/// The worker that was left behind with the first attempt was taken for one that would
/// come back for the second, although the other was free.
#[test]
fn a_retry_runs_beside_an_attempt_that_was_left_behind() {
    within_the_deadline(|| {
        let second_ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&second_ran);
        let is_first = AtomicBool::new(true);
        let pool = TwoThreads::new();
        let stubborn = move |n: i32| {
            if is_first.swap(false, Ordering::AcqRel) {
                wait_for(&flag);
            } else {
                flag.store(true, Ordering::Release);
            }
            n
        };
        let map = pool.map([7], stubborn).in_flight(1).retries(1);
        let map = map.timeout(Duration::from_millis(20));
        let started = Instant::now();
        let mut results = map.ordered().unwrap();
        // Under load the second attempt may itself exceed the limit, after it ran.
        match results.next() {
            Some(Ok(7)) => {}
            Some(Err(error)) => assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_))),
            other => panic!("{other:?}"),
        }
        assert!(second_ran.load(Ordering::Acquire));
        assert!(started.elapsed() < DEADLINE / 2, "it waited for the first");
    });
}

/// A busy worker was taken for one that would come for the room in the window, although
/// the other was free.
#[test]
fn a_long_item_in_a_small_window_does_not_idle_the_other_worker() {
    within_the_deadline(|| {
        let last_ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&last_ran);
        let pool = TwoThreads::new();
        let first_waits_for_the_last = move |n: i32| match n {
            0 => wait_for(&flag),
            5 => {
                flag.store(true, Ordering::Release);
                true
            }
            _ => true,
        };
        let map = pool.map(0..6, first_waits_for_the_last).in_flight(2);
        let mut num_results = 0;
        for (index, in_time) in map.as_completed().unwrap() {
            assert!(in_time.unwrap(), "item {index} waited in vain");
            num_results += 1;
        }
        assert_eq!(num_results, 6);
    });
}

/// The map said that all was well, if the items that were cancelled had been pulled before.
#[test]
fn a_cancelled_map_that_skips_failures_is_not_a_success() {
    within_the_deadline(|| {
        let pool = InlineExecutor::new();
        let token = CancellationToken::new();
        let cancels = |n| {
            if n == 2 {
                token.cancel();
            }
            n
        };
        let map = || {
            let map = pool.map(0..10, cancels).on_error(ErrorPolicy::Skip);
            map.cancel_token(&token).chunk_size(10)
        };
        let error = map().collect::<Vec<_>>().unwrap_err();
        assert!(error.first().unwrap().is_cancelled(), "{error}");
        assert!(map().run().unwrap_err().first().unwrap().is_cancelled());
    });
}

/// So did the iterators.
#[test]
fn a_cancelled_stream_that_skips_failures_says_so_once() {
    within_the_deadline(|| {
        let pool = InlineExecutor::new();
        let token = CancellationToken::new();
        let inside = token.clone();
        let cancels = move |n| {
            if n == 2 {
                inside.cancel();
            }
            n
        };
        let map = pool.map(0..10, cancels).on_error(ErrorPolicy::Skip);
        let map = map.cancel_token(&token).chunk_size(10);
        let results: Vec<_> = map.ordered().unwrap().collect();
        let failures: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
        assert_eq!(failures.len(), 1, "{results:?}");
        assert!(failures[0].as_ref().unwrap_err().is_cancelled());
    });
}

/// A map without items had one that was refused.
#[test]
fn an_empty_map_has_no_outcomes_after_shutdown_either() {
    let pool = InlineExecutor::new();
    pool.shutdown(Shutdown::Drain);
    let map = || pool.map(Vec::<i32>::new(), |n| n);
    let outcomes = map().outcomes().unwrap();
    assert!(outcomes.is_empty(), "{outcomes:?}");
    assert_eq!(map().ordered().unwrap().count(), 0);
}

/// Not a bug of the past: what `collect` promises of a claim that is under way.
#[test]
fn a_map_that_is_stopped_starts_no_further_item_of_a_claim() {
    let pool = InlineExecutor::new();
    let token = CancellationToken::new();
    let num_started = AtomicUsize::new(0);
    let map = pool.map((0..10).collect::<Vec<_>>(), |n| {
        num_started.fetch_add(1, Ordering::Relaxed);
        if n == 2 {
            token.cancel();
        }
    });
    let map = map.cancel_token(&token).chunk_size(10);
    assert!(map.collect::<Vec<_>>().is_err());
    assert_eq!(num_started.into_inner(), 3);
}
