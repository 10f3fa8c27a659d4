//! [`Queue`]: the jobs that a pool has accepted and no thread has begun.
//!
//! A job could travel inside the closure that Rayon gets. Then nobody could find it again to
//! cancel it before a thread comes round to it, which may be long. So jobs wait here, and
//! Rayon gets closures that each take one. There are never fewer closures than jobs.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use taskfarm_core::{Job, Shutdown};

pub(crate) struct Queue {
    state: Mutex<State>,
    /// Told when the last reference to this queue goes.
    gone: Arc<Gone>,
}

struct State {
    jobs: VecDeque<Job>,
    is_open: bool,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                is_open: true,
            }),
            gone: Arc::default(),
        })
    }

    /// Accepts a job, or hands it back after [`close`](Self::close).
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock();
        if !state.is_open {
            return Err(job);
        }
        state.jobs.push_back(job);
        Ok(())
    }

    /// Runs the oldest job, unless all have been cancelled.
    pub(crate) fn run_one(&self) {
        let job = self.state.lock().jobs.pop_front();
        if let Some(job) = job {
            job.run();
        }
    }

    /// Accepts no more jobs, and cancels those that are here unless they are to be drained.
    pub(crate) fn close(&self, how: Shutdown) {
        let jobs = {
            let mut state = self.state.lock();
            state.is_open = false;
            match how {
                Shutdown::Drain => VecDeque::new(),
                _ => std::mem::take(&mut state.jobs),
            }
        };
        // Outside of the lock: it may call back whoever waits for them.
        jobs.into_iter().for_each(Job::cancel);
    }

    /// Gives up this reference, and waits until every other has gone: until each closure
    /// that Rayon got has run.
    pub(crate) fn join(self: Arc<Self>) {
        let gone = Arc::clone(&self.gone);
        drop(self);
        gone.wait();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.gone.set();
    }
}

/// Whether the queue is gone. Outlives it.
#[derive(Default)]
struct Gone {
    is_gone: Mutex<bool>,
    changed: Condvar,
}

impl Gone {
    fn set(&self) {
        *self.is_gone.lock() = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let mut is_gone = self.is_gone.lock();
        while !*is_gone {
            self.changed.wait(&mut is_gone);
        }
    }
}
