//! A plain pool of threads over one queue, written against taskfarm-core 0.1 and frozen.
//!
//! It uses everything of the trait that an executor in one process can use, and every type
//! that such an executor meets.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use taskfarm_core::{
    BuildError, Capabilities, Executor, ExecutorId, InProcess, Job, Shutdown, TimeLimits,
    num_workers,
};

/// A pool of threads over one queue.
pub struct QueuePool {
    id: ExecutorId,
    num_workers: NonZeroUsize,
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    is_shut_down: bool,
}

impl QueuePool {
    /// A pool with so many threads.
    ///
    /// # Errors
    ///
    /// If the number is zero, or a thread cannot be started.
    pub fn new(requested: usize) -> Result<Self, BuildError> {
        let mut pool = Self {
            id: ExecutorId::new("queue-pool"),
            num_workers: num_workers(Some(requested))?,
            queue: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..pool.num_workers.get() {
            let queue = pool.queue.clone();
            let thread = thread::Builder::new()
                .name(pool.id.name().to_owned())
                .spawn(move || queue.work())
                .map_err(|error| BuildError::new(format!("no thread: {error}")))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job.run();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            if state.is_shut_down {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Executor for QueuePool {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut state = self.queue.lock();
        if state.is_shut_down {
            return Err(job);
        }
        state.waiting.push_back(job);
        drop(state);
        self.queue.changed.notify_one();
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process()
            .with_time_limits(TimeLimits::Cooperative)
            .with_crash_isolation(false)
    }

    fn shutdown(&self, how: Shutdown) {
        let mut state = self.queue.lock();
        state.is_shut_down = true;
        let cancelled = match how {
            Shutdown::Drain => VecDeque::new(),
            _ => std::mem::take(&mut state.waiting),
        };
        drop(state);
        self.queue.changed.notify_all();
        cancelled.into_iter().for_each(Job::cancel);
        if how == Shutdown::Abort {
            self.id.abort();
        }
    }
}

impl Drop for QueuePool {
    fn drop(&mut self) {
        self.shutdown(Shutdown::CancelQueued);
        let own = thread::current().id();
        for thread in self.threads.drain(..) {
            // The last reference to the pool may go inside one of its own tasks.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }
}
