//! [`Crew`]: what a pool and its workers share, and the way of a job through it.
//!
//! The crew is generic over the job, [`Work`], so that tests and models can send a counter
//! through the machinery in place of a [`Job`].
//!
//! # Shutdown
//!
//! 1. The gate closes: who looks at it from now on hands its job back.
//! 2. If it closes for `CancelQueued` or `Abort`, whoever closed it takes every queued job
//!    and cancels it; and a worker that takes one cancels it instead of running it.
//! 3. Every sleeping worker is woken.
//! 4. A worker that finds nothing goes home instead of to sleep. Its thread ends; it counts
//!    as absent, as a worker does whose thread has never started.
//! 5. Dropping the pool waits for the threads, except inside one of them.
//!
//! Races that were considered:
//!
//! - *A spawner passes the open gate, the gate closes, then the job is queued.* Queueing it
//!   is followed by the question whether a resting worker is needed, closed gate or not.
//!   Going home follows the same steps as going to sleep, so the argument of `sleep.md`
//!   holds: some worker still searches and finds the job, or the spawner sees that all rest
//!   and calls one, whose thread is started anew, drains and ends. An accepted job is run or
//!   cancelled, with no step in the fast path for it.
//! - *The same, and the thread cannot be started.* Then no worker is left to keep the
//!   promise, and the spawner cancels what is queued.
//! - *A worker falls asleep while the gate closes.* It looks at the gate under the lock of
//!   the roster, and step 3 takes that lock after step 1: it sees the closed gate, or it is
//!   on the list of sleepers and is woken.
//! - *A job is taken by a worker and by whoever cancels.* The queues give each job once.
//! - *Two threads shut down.* The gate only gets stricter, and the other steps may be done
//!   twice.
//! - *A job drops the pool.* Its thread cannot join itself, and another may wait for the
//!   job; so nobody is joined. The threads hold the crew, drain it, and end by themselves.

#[cfg(all(test, not(taskfarm_loom)))]
mod tests;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use taskfarm_core::sync::thread::{Builder, JoinHandle};
use taskfarm_core::{Job, Shutdown};

use crate::gate::Gate;
use crate::queue::{Local, Queues};
use crate::sleep::{Sleep, Then};
use crate::worker::{Seat, Worker};

/// What a crew works on.
pub(crate) trait Work: Send + 'static {
    fn run(self);
    fn cancel(self);
}

impl Work for Job {
    fn run(self) {
        Self::run(self);
    }

    fn cancel(self) {
        Self::cancel(self);
    }
}

/// Called with the index of a worker.
pub(crate) type Hook = Box<dyn Fn(usize) + Send + Sync>;

/// How the threads of a crew are made.
pub(crate) struct ThreadOptions {
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) on_start: Option<Hook>,
    pub(crate) on_stop: Option<Hook>,
}

/// The queues, the gate, and who sleeps.
pub(crate) struct Crew<J> {
    gate: Gate,
    options: ThreadOptions,
    queues: Queues<J>,
    sleep: Sleep,
}

impl<J: Work> Crew<J> {
    pub(crate) fn new(num_workers: usize, options: ThreadOptions) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::new(),
            options,
            queues: Queues::new(num_workers),
            sleep: Sleep::new(num_workers),
        })
    }

    pub(crate) fn num_threads(&self) -> usize {
        self.sleep.num_threads()
    }

    /// Queues a job, or hands it back if the gate is closed or no thread can be had.
    pub(crate) fn spawn(self: &Arc<Self>, job: J) -> Result<(), J> {
        if self.gate.is_closed() {
            return Err(job);
        }
        Seat::with_mine(self, |seat| match seat {
            Some(seat) => {
                seat.local.push(job);
                self.help_if_needed(Some(&seat.local));
                Ok(())
            }
            None => self.inject(job),
        })
    }

    fn inject(self: &Arc<Self>, job: J) -> Result<(), J> {
        if self.num_threads() == 0
            && let Err(error) = self.sleep.call_first(|id| self.start(id))
        {
            log::error!("{}: no thread could be started: {error}", self.name());
            return Err(job);
        }
        self.queues.inject(job);
        self.help_if_needed(None);
        Ok(())
    }

    /// Shuts down without waiting; see the top of this file.
    pub(crate) fn close(&self, how: Shutdown) {
        self.gate.close(how);
        if self.gate.is_cancelling() {
            self.cancel_queued();
        }
        self.sleep.wake_all();
    }

    fn cancel_queued(&self) {
        while let Some(job) = self.queues.take_any() {
            job.cancel();
        }
    }

    /// Waits until all threads of a closed crew have ended; inside one of them, does not.
    pub(crate) fn join(self: &Arc<Self>) {
        if Seat::with_mine(self, |seat| seat.is_some()) {
            return;
        }
        while let Some(thread) = self.sleep.next_thread() {
            if thread.join().is_err() {
                log::error!("{}: a thread panicked while it ended", self.name());
            }
        }
    }

    /// Waits until all threads of a closed crew are done, or gives up at the deadline and
    /// leaves them alone; says which.
    pub(crate) fn join_until(&self, deadline: Option<Instant>) -> bool {
        let done = self.sleep.wait_all_home(deadline);
        if !done {
            while self.sleep.next_thread().is_some() {}
        }
        done
    }

    fn name(&self) -> &str {
        &self.options.name
    }

    fn start(self: &Arc<Self>, id: usize) -> io::Result<JoinHandle<()>> {
        let mut builder = Builder::new().name(format!("{}-{id}", self.name()));
        if let Some(bytes) = self.options.stack_size {
            builder = builder.stack_size(bytes);
        }
        let worker = Worker::new(Arc::clone(self), id);
        builder.spawn(move || worker.work())
    }
}

/// What workers ask of their crew.
impl<J: Work> Crew<J> {
    pub(crate) fn queues(&self) -> &Queues<J> {
        &self.queues
    }

    pub(crate) fn started(&self, id: usize) {
        self.call_hook("on_thread_start", self.options.on_start.as_ref(), id);
    }

    pub(crate) fn stopped(&self, id: usize) {
        self.call_hook("on_thread_stop", self.options.on_stop.as_ref(), id);
    }

    fn call_hook(&self, option: &str, hook: Option<&Hook>, id: usize) {
        let Some(hook) = hook else { return };
        if catch_unwind(AssertUnwindSafe(|| hook(id))).is_err() {
            log::error!("{}: {option} panicked for worker {id}", self.name());
        }
    }

    /// Runs a job that was queued, or cancels it, as the gate says.
    pub(crate) fn run(&self, job: J) {
        if self.gate.is_cancelling() {
            job.cancel();
            return;
        }
        // By contract a job does not unwind. If one does, the worker goes on.
        if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
            log::error!("{}: a job unwound, against its contract", self.name());
        }
    }

    /// To be called after jobs became visible in the injector or in `local`.
    pub(crate) fn help_if_needed(self: &Arc<Self>, local: Option<&Local<J>>) {
        let more_than = |number| self.has_more_than(number, local);
        if self.sleep.needs_help(more_than) {
            self.wake_one();
        }
    }

    pub(crate) fn start_searching(&self) {
        self.sleep.start_searching();
    }

    pub(crate) fn stop_searching(self: &Arc<Self>, local: &Local<J>) {
        let more_than = |number| self.has_more_than(number, Some(local));
        if self.sleep.stop_searching(more_than) {
            self.wake_one();
        }
    }

    pub(crate) fn rest(&self, id: usize) -> Then {
        let has_work = || !self.queues.is_empty();
        self.sleep.rest(id, has_work, || self.gate.is_closed())
    }

    /// Whether more jobs than `number` are queued, as far as can be seen cheaply; for zero,
    /// exactly.
    fn has_more_than(&self, number: usize, local: Option<&Local<J>>) -> bool {
        let near = self.queues.num_injected() + local.map_or(0, Local::len);
        near > number || (number == 0 && !self.queues.is_empty())
    }

    fn wake_one(self: &Arc<Self>) {
        while let Err(error) = self.sleep.wake_one(|id| self.start(id)) {
            let left = self.num_threads();
            log::warn!("{}: goes on with {left} threads: {error}", self.name());
            if left == 0 {
                self.cancel_queued();
                return;
            }
            if !self
                .sleep
                .needs_help(|number| self.has_more_than(number, None))
            {
                return;
            }
        }
    }
}
