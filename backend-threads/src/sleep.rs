#![doc = include_str!("sleep.md")]

use std::io;
use std::iter;
use std::time::Instant;

use crossbeam_utils::CachePadded;
use taskfarm_core::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use taskfarm_core::sync::thread::JoinHandle;
use taskfarm_core::sync::{Condvar, Mutex};

/// The most workers that a pool can have: they are counted in 16 bits.
pub(crate) const MAX_WORKERS: usize = u16::MAX as usize;

/// Who searches, who sleeps, who is absent; and how one becomes the other.
pub(crate) struct Sleep {
    /// [`Counts`]: read by everybody who queues a job.
    counts: CachePadded<AtomicU32>,
    /// Threads that take work. Changed under the lock of the roster, read anywhere.
    num_threads: AtomicUsize,
    roster: Mutex<Roster>,
    /// What worker `id` sleeps on, together with the roster's lock.
    beds: Box<[Condvar]>,
    /// Notified when the last thread has gone home.
    all_home: Condvar,
}

/// The resting workers by name, and the threads there are.
struct Roster {
    /// Ids of sleeping workers. The last to fall asleep is the first to be woken: its
    /// cache is the warmest.
    asleep: Vec<usize>,
    /// Ids of absent workers; the next to start is the last.
    absent: Vec<usize>,
    /// Threads that were started and not yet joined.
    threads: Vec<JoinHandle<()>>,
}

/// How many workers search and how many rest, in one word, so that one load tells both.
#[derive(Clone, Copy)]
struct Counts(u32);

/// One searching worker.
const SEARCHER: u32 = 1;
/// One resting worker.
const RESTER: u32 = 1 << 16;
/// What a worker adds that lies down: one searcher less, one more at rest.
const LIE_DOWN: u32 = RESTER - SEARCHER;

impl Counts {
    fn searching(self) -> usize {
        (self.0 % RESTER) as usize
    }

    fn resting(self) -> usize {
        (self.0 / RESTER) as usize
    }
}

/// What a worker does after [`Sleep::rest`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It searches; it is already counted as searching.
    Search,
    /// Its thread ends; it is already counted as absent.
    GoHome,
}

impl Sleep {
    /// `num_workers` workers, all absent.
    pub(crate) fn new(num_workers: usize) -> Self {
        let all = u32::try_from(num_workers).expect("the builder checks the number of workers");
        Self {
            counts: CachePadded::new(AtomicU32::new(all * RESTER)),
            num_threads: AtomicUsize::new(0),
            roster: Mutex::new(Roster {
                asleep: Vec::with_capacity(num_workers),
                absent: (0..num_workers).rev().collect(),
                threads: Vec::new(),
            }),
            beds: iter::repeat_with(Condvar::new).take(num_workers).collect(),
            all_home: Condvar::new(),
        }
    }

    /// How many threads take work.
    pub(crate) fn num_threads(&self) -> usize {
        self.num_threads.load(Ordering::Acquire)
    }

    /// A busy worker begins to search.
    pub(crate) fn start_searching(&self) {
        // Relaxed: seeing it late only wakes a worker too many.
        self.counts.fetch_add(SEARCHER, Ordering::Relaxed);
    }

    /// A searching worker has found a job. Says whether it should wake another: `more_than`
    /// tells whether more jobs than a number are queued.
    pub(crate) fn stop_searching(&self, more_than: impl FnOnce(usize) -> bool) -> bool {
        self.counts.fetch_sub(SEARCHER, Ordering::Relaxed);
        self.needs_help(more_than)
    }

    /// Whether somebody who has just queued a job should wake a worker: `more_than` tells
    /// whether more jobs than a number are queued.
    pub(crate) fn needs_help(&self, more_than: impl FnOnce(usize) -> bool) -> bool {
        // Between our push (or our end of searching) and the load of the counts. Pairs
        // with the fence in `rest`, and with this one on other threads.
        fence(Ordering::SeqCst);
        let counts = Counts(self.counts.load(Ordering::Relaxed));
        counts.resting() > 0 && more_than(counts.searching())
    }

    /// A searching worker that found nothing sleeps until it is woken, or goes home if the
    /// pool is closed; unless `has_work`.
    pub(crate) fn rest(
        &self,
        id: usize,
        has_work: impl FnOnce() -> bool,
        is_closed: impl FnOnce() -> bool,
    ) -> Then {
        let mut roster = self.roster.lock();
        self.counts.fetch_add(LIE_DOWN, Ordering::Relaxed);
        // Between our change of the counts and our last look at the queues. Pairs with the
        // fence in `needs_help`.
        fence(Ordering::SeqCst);
        if has_work() {
            self.counts.fetch_sub(LIE_DOWN, Ordering::Relaxed);
            return Then::Search;
        }
        if is_closed() {
            roster.absent.push(id);
            self.leave();
            return Then::GoHome;
        }
        roster.asleep.push(id);
        while roster.asleep.contains(&id) {
            self.beds[id].wait(&mut roster);
        }
        Then::Search
    }

    /// One thread less takes work. The caller holds the lock of the roster.
    fn leave(&self) {
        if self.num_threads.fetch_sub(1, Ordering::Release) == 1 {
            self.all_home.notify_all();
        }
    }

    /// Wakes a sleeping worker, or calls one that is absent by starting its thread. Does
    /// nothing if nobody rests.
    ///
    /// # Errors
    ///
    /// If the thread could not be started. The absent workers are then given up, unless
    /// there is no thread at all. For a moment this counted as a search, so the caller
    /// must ask again whether somebody is needed.
    pub(crate) fn wake_one(
        &self,
        start: impl FnOnce(usize) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<()> {
        let mut roster = self.roster.lock();
        let Some(id) = roster.asleep.pop() else {
            return self.call_one(&mut roster, start);
        };
        // On the sleeper's behalf, so that the next one to look does not wake another for
        // the same job.
        self.counts.fetch_sub(LIE_DOWN, Ordering::Relaxed);
        // Woken under the lock, it would only wait for the lock.
        drop(roster);
        self.beds[id].notify_one();
        Ok(())
    }

    /// Starts a thread if there is none.
    pub(crate) fn call_first(
        &self,
        start: impl FnOnce(usize) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<()> {
        let mut roster = self.roster.lock();
        if self.num_threads() > 0 {
            return Ok(());
        }
        self.call_one(&mut roster, start)
    }

    /// Starts the thread of an absent worker, if there is one.
    ///
    /// The lock is held meanwhile, so nobody sees a thread that may yet fail to start. A
    /// pool starts each of its threads once; it is not worth a state of its own.
    fn call_one(
        &self,
        roster: &mut Roster,
        start: impl FnOnce(usize) -> io::Result<JoinHandle<()>>,
    ) -> io::Result<()> {
        let Some(id) = roster.absent.pop() else {
            return Ok(());
        };
        // Before the thread starts, because it starts as a searcher.
        self.counts.fetch_sub(LIE_DOWN, Ordering::Relaxed);
        match start(id) {
            Ok(thread) => {
                roster.threads.push(thread);
                self.num_threads.fetch_add(1, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                roster.absent.push(id);
                self.counts.fetch_add(LIE_DOWN, Ordering::Relaxed);
                if self.num_threads() > 0 {
                    self.give_up_absent(roster);
                }
                Err(error)
            }
        }
    }

    /// Goes on with the threads that there are.
    fn give_up_absent(&self, roster: &mut Roster) {
        for _ in roster.absent.drain(..) {
            self.counts.fetch_sub(RESTER, Ordering::Relaxed);
        }
    }

    /// Wakes every sleeping worker, to see that the pool is closed.
    pub(crate) fn wake_all(&self) {
        let mut roster = self.roster.lock();
        for id in roster.asleep.drain(..) {
            self.counts.fetch_sub(LIE_DOWN, Ordering::Relaxed);
            self.beds[id].notify_one();
        }
    }

    /// Waits until no thread takes work any more, or until `deadline`; says which.
    pub(crate) fn wait_all_home(&self, deadline: Option<Instant>) -> bool {
        let mut roster = self.roster.lock();
        while self.num_threads() > 0 {
            match deadline {
                None => self.all_home.wait(&mut roster),
                Some(deadline) if Instant::now() >= deadline => return false,
                Some(deadline) => {
                    self.all_home.wait_until(&mut roster, deadline);
                }
            }
        }
        true
    }

    /// A thread that has to be joined, if there is one.
    pub(crate) fn next_thread(&self) -> Option<JoinHandle<()>> {
        self.roster.lock().threads.pop()
    }
}
