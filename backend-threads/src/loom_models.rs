//! Models of the sleep protocol and of shutdown, for loom.
//!
//! ```text
//! RUSTFLAGS="--cfg taskfarm_loom" LOOM_MAX_PREEMPTIONS=2 \
//!     cargo test -p taskfarm-threads --release --lib loom
//! ```
//!
//! A lost wake-up shows as a deadlock, which loom reports: the pool is dropped only after
//! its jobs have run, so nothing else would wake the worker.

use std::sync::Arc;

use taskfarm_core::Shutdown;
use taskfarm_core::sync::atomic::{AtomicBool, Ordering, fence};
use taskfarm_core::sync::{Condvar, Mutex, thread};

use crate::crew::{Crew, ThreadOptions, Work};
use crate::queue::Queues;

type Pool = Arc<Crew<Probe>>;

/// A job that tells a tally how it ended.
struct Probe {
    tally: Arc<Tally>,
    body: Box<dyn FnOnce() + Send>,
}

/// How jobs ended, and a way to wait for it.
#[derive(Default)]
struct Tally {
    ended: Mutex<Ended>,
    changed: Condvar,
}

#[derive(Default)]
struct Ended {
    run: usize,
    cancelled: usize,
    refused: usize,
}

impl Work for Probe {
    fn run(self) {
        (self.body)();
        self.tally.note(|ended| ended.run += 1);
    }

    fn cancel(self) {
        self.tally.note(|ended| ended.cancelled += 1);
    }
}

impl Tally {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn note(&self, change: impl FnOnce(&mut Ended)) {
        change(&mut self.ended.lock());
        self.changed.notify_all();
    }

    fn wait_for_runs(&self, runs: usize) {
        let mut ended = self.ended.lock();
        while ended.run < runs {
            self.changed.wait(&mut ended);
        }
    }
}

fn pool(num_workers: usize) -> Pool {
    let options = ThreadOptions {
        name: "model".to_owned(),
        stack_size: None,
        on_start: None,
        on_stop: None,
    };
    Crew::new(num_workers, options)
}

/// Spawns a job with this body; a refusal is noted too.
fn spawn(pool: &Pool, tally: &Arc<Tally>, body: impl FnOnce() + Send + 'static) {
    let job = Probe {
        tally: Arc::clone(tally),
        body: Box::new(body),
    };
    if pool.spawn(job).is_err() {
        tally.note(|ended| ended.refused += 1);
    }
}

fn nothing() {}

/// Spawns an empty job from a thread of its own.
fn spawn_elsewhere(pool: &Pool, tally: &Arc<Tally>) -> thread::JoinHandle<()> {
    let (pool, tally) = (Arc::clone(pool), Arc::clone(tally));
    thread::spawn(move || spawn(&pool, &tally, nothing))
}

fn drain(pool: &Pool) {
    pool.close(Shutdown::Drain);
    pool.join();
}

/// The second job meets the only worker starting, running, searching, lying down, asleep.
#[test]
fn loom_a_worker_that_lies_down_is_woken() {
    loom::model(|| {
        let (pool, tally) = (pool(1), Tally::new());
        spawn(&pool, &tally, nothing);
        spawn(&pool, &tally, nothing);
        tally.wait_for_runs(2);
        drain(&pool);
    });
}

/// The first worker may search when the second job is queued, and so make the spawner
/// trust in it. But then it finds the first job, which ends only after the second.
#[test]
fn loom_a_searcher_that_found_work_is_replaced() {
    loom::model(|| {
        let (pool, tally) = (pool(2), Tally::new());
        let second_ran = Tally::new();
        let wait = {
            let second_ran = Arc::clone(&second_ran);
            move || second_ran.wait_for_runs(1)
        };
        spawn(&pool, &tally, wait);
        spawn(&pool, &second_ran, nothing);
        tally.wait_for_runs(1);
        drain(&pool);
    });
}

/// A job spawns another into its worker's own deque and waits for it, so a second worker
/// has to come and steal it.
#[test]
fn loom_a_job_in_a_deque_is_stolen() {
    loom::model(|| {
        let (pool, tally) = (pool(2), Tally::new());
        let spawn_and_wait = {
            let pool = Arc::clone(&pool);
            move || {
                let inner = Tally::new();
                spawn(&pool, &inner, nothing);
                inner.wait_for_runs(1);
            }
        };
        spawn(&pool, &tally, spawn_and_wait);
        tally.wait_for_runs(1);
        drain(&pool);
    });
}

/// The same, but the only searcher may take an outside job that waits as well: it must see
/// the deque of the other worker when it stops searching. Three workers are a large world,
/// so one preemption has to do; it is enough to catch a last searcher that does not look.
#[test]
fn loom_a_job_in_a_deque_is_seen_by_the_last_searcher() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(1);
    model.check(|| {
        let (pool, tally, inner) = (pool(3), Tally::new(), Tally::new());
        let spawn_and_wait = {
            let (pool, inner) = (Arc::clone(&pool), Arc::clone(&inner));
            move || {
                spawn(&pool, &inner, nothing);
                inner.wait_for_runs(1);
            }
        };
        spawn(&pool, &tally, spawn_and_wait);
        spawn(&pool, &tally, move || inner.wait_for_runs(1));
        tally.wait_for_runs(2);
        drain(&pool);
    });
}

/// Each of two spawners may rely on the other's wake-up.
#[test]
fn loom_two_spawners_wake_one_worker() {
    loom::model(|| {
        let (pool, tally) = (pool(1), Tally::new());
        let other = spawn_elsewhere(&pool, &tally);
        spawn(&pool, &tally, nothing);
        tally.wait_for_runs(2);
        other.join().unwrap();
        drain(&pool);
    });
}

/// A job that is spawned while the pool is drained is run or handed back, once.
#[test]
fn loom_spawn_against_drain() {
    loom::model(|| {
        let (pool, tally) = (pool(1), Tally::new());
        spawn(&pool, &tally, nothing);
        let other = spawn_elsewhere(&pool, &tally);
        pool.close(Shutdown::Drain);
        other.join().unwrap();
        pool.join();
        let ended = tally.ended.lock();
        assert_eq!((ended.run + ended.refused, ended.cancelled), (2, 0));
        assert!(
            ended.run >= 1,
            "the first job was accepted before the shutdown"
        );
    });
}

/// A job that is spawned while the pool is told to cancel is run, cancelled or handed back,
/// once; and so is the one that was queued before.
#[test]
fn loom_spawn_against_cancel() {
    loom::model(|| {
        let (pool, tally) = (pool(1), Tally::new());
        spawn(&pool, &tally, nothing);
        let other = spawn_elsewhere(&pool, &tally);
        pool.close(Shutdown::CancelQueued);
        other.join().unwrap();
        pool.join();
        let ended = tally.ended.lock();
        assert_eq!(ended.run + ended.cancelled + ended.refused, 2);
    });
}

/// Whoever waits for the threads without joining them wakes when the last goes home, also
/// where a late job has one started anew.
#[test]
fn loom_waiting_until_all_are_home() {
    loom::model(|| {
        let (pool, tally) = (pool(1), Tally::new());
        let other = spawn_elsewhere(&pool, &tally);
        pool.close(Shutdown::Drain);
        assert!(pool.join_until(None));
        other.join().unwrap();
        pool.join();
        let ended = tally.ended.lock();
        assert_eq!(ended.run + ended.refused, 1);
    });
}

/// Whether a push and a look at the queue can miss each other's flags, when each side has
/// `between` between its store and its load.
fn stores_pass_each_other(between: fn()) -> bool {
    let both_missed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&both_missed);
    loom::model(move || {
        let queues = Arc::new(Queues::new(1));
        let flag = Arc::new(AtomicBool::new(false));
        let looker = {
            let (queues, flag) = (Arc::clone(&queues), Arc::clone(&flag));
            thread::spawn(move || {
                flag.store(true, Ordering::Release);
                between();
                queues.is_empty()
            })
        };
        queues.inject(());
        between();
        let missed_flag = !flag.load(Ordering::Acquire);
        if looker.join().unwrap() && missed_flag {
            seen.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    both_missed.load(std::sync::atomic::Ordering::Relaxed)
}

/// The models above would prove little over a queue that orders more than the real one.
#[test]
fn loom_stand_in_is_weak() {
    assert!(stores_pass_each_other(|| ()));
    assert!(!stores_pass_each_other(|| fence(Ordering::SeqCst)));
}
