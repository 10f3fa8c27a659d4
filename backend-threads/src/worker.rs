//! [`Worker`]: the life of one thread of the pool.
//!
//! A worker is busy, searching, resting or absent; `sleep.md` defines the words.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use taskfarm_core::sync::thread;

use crate::crew::{Crew, Work};
use crate::queue::{CURRENT, Local};
use crate::sleep::Then;

/// How often a searching worker looks round before it rests.
///
/// With one round workers fall asleep in the gaps of a flood of tiny jobs: 200,000 boxed
/// jobs from one spawner to two workers on two busy CPUs led to 4,200 blocking switches,
/// against 64 with two rounds, 14 with four and 6 with sixteen.
const SEARCH_ROUNDS: u32 = if cfg!(taskfarm_loom) { 1 } else { 4 };

/// After so many jobs in a row a worker looks into the injector first. Else jobs that
/// spawn jobs without end would keep everybody outside waiting. An odd number, so as not to
/// fall into step with a caller's own rhythm.
const INJECTOR_FIRST: u32 = 61;

/// A worker before and after its thread.
pub(crate) struct Worker<J> {
    crew: Arc<Crew<J>>,
    id: usize,
}

/// A worker's place in its thread: how a job that spawns finds the deque of its worker.
pub(crate) struct Seat<J> {
    /// The crew, as an address: it is only compared, and lives as long as its workers.
    crew: usize,
    id: usize,
    pub(crate) local: Local<J>,
    num_taken: Cell<u32>,
}

impl<J: Work> Seat<J> {
    /// Calls `f` with the seat of the worker that this thread is in `crew`, if it is one.
    pub(crate) fn with_mine<R>(crew: &Arc<Crew<J>>, f: impl FnOnce(Option<&Self>) -> R) -> R {
        // A thread that is ending, with its thread-locals gone, is a stranger like any other.
        let current = CURRENT.try_with(|current| current.borrow().clone());
        let current = current.ok().flatten();
        let seat = current
            .as_ref()
            .and_then(|seat| seat.downcast_ref::<Self>());
        f(seat.filter(|seat| seat.crew == address(crew)))
    }
}

fn address<J>(crew: &Arc<Crew<J>>) -> usize {
    Arc::as_ptr(crew).addr()
}

impl<J: Work> Worker<J> {
    pub(crate) fn new(crew: Arc<Crew<J>>, id: usize) -> Self {
        Self { crew, id }
    }

    /// Runs jobs until the crew is closed and has none left. The worker begins as a
    /// searcher; whoever started the thread has counted it as one.
    pub(crate) fn work(self) {
        let seat = Rc::new(Seat {
            crew: address(&self.crew),
            id: self.id,
            local: self.crew.queues().claim(self.id),
            num_taken: Cell::new(0),
        });
        CURRENT.with(|current| current.replace(Some(seat.clone())));
        self.crew.started(self.id);
        while let Some(job) = self.search(&seat) {
            self.crew.run(job);
            while let Some(job) = self.next(&seat) {
                self.crew.run(job);
            }
            self.crew.start_searching();
        }
        self.crew.stopped(self.id);
        CURRENT.with(|current| current.replace(None));
    }

    /// A busy worker's next job, if it has one at hand.
    ///
    /// A busy worker does not move jobs from the injector: only a searching one is counted
    /// as somebody who may hold jobs that nobody sees.
    fn next(&self, seat: &Seat<J>) -> Option<J> {
        let num_taken = seat.num_taken.get().wrapping_add(1);
        seat.num_taken.set(num_taken);
        if num_taken.is_multiple_of(INJECTOR_FIRST)
            && let Some(job) = self.crew.queues().take_injected()
        {
            return Some(job);
        }
        seat.local.pop()
    }

    /// A searching worker's next job; `None` when it is time to go home.
    fn search(&self, seat: &Seat<J>) -> Option<J> {
        loop {
            if let Some(job) = self.look_round(seat) {
                self.crew.stop_searching(&seat.local);
                return Some(job);
            }
            if self.crew.rest(seat.id) == Then::GoHome {
                return None;
            }
        }
    }

    fn look_round(&self, seat: &Seat<J>) -> Option<J> {
        let queues = self.crew.queues();
        for round in 0..SEARCH_ROUNDS {
            if round > 0 {
                // Not spinning: where fewer CPUs than threads are free, yielding lets the
                // spawner run. With 64 spin hints instead, the flood above led to 1,430
                // blocking switches instead of 14.
                thread::yield_now();
            }
            let job = queues
                .take_injected_batch(&seat.local)
                .or_else(|| queues.steal(seat.id, &seat.local));
            if job.is_some() {
                return job;
            }
        }
        None
    }
}
