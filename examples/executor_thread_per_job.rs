//! An executor of your own, 1: a new thread for each job, so many at a time.
//! `cargo test --example executor_thread_per_job` runs the conformance kit over it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use taskfarm::prelude::*;
use taskfarm::{BuildError, ExecutorId, InProcess, Job, Shutdown, num_workers};

struct ThreadPerJob {
    id: ExecutorId,
    num_workers: NonZeroUsize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    num_running: usize,
    waiting: VecDeque<Job>,
    is_shut_down: bool,
}

impl ThreadPerJob {
    fn new(requested: usize) -> Result<Self, BuildError> {
        Ok(Self {
            id: ExecutorId::new("thread-per-job"),
            num_workers: num_workers(Some(requested))?,
            shared: Arc::default(),
        })
    }
}

/// Runs the job in a new thread, which ends by starting the thread of the next one.
fn start(shared: Arc<Mutex<Shared>>, job: Job) {
    thread::spawn(move || {
        job.run(); // Never unwinds: the panic of a task is the outcome of its item.
        let mut state = shared.lock();
        match state.waiting.pop_front() {
            Some(next) => start(shared.clone(), next),
            None => state.num_running -= 1,
        }
    });
}

impl Executor for ThreadPerJob {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut state = self.shared.lock();
        if state.is_shut_down {
            return Err(job);
        }
        if state.num_running == self.num_workers.get() {
            state.waiting.push_back(job);
            return Ok(());
        }
        state.num_running += 1;
        start(self.shared.clone(), job);
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn shutdown(&self, how: Shutdown) {
        let mut state = self.shared.lock();
        state.is_shut_down = true;
        let queued = match how {
            Shutdown::Drain => VecDeque::new(),
            _ => std::mem::take(&mut state.waiting),
        };
        drop(state); // The end of a job may call user code.
        queued.into_iter().for_each(Job::cancel);
        if how == Shutdown::Abort {
            self.id.abort();
        }
    }
}

impl Drop for ThreadPerJob {
    fn drop(&mut self) {
        self.shutdown(Shutdown::CancelQueued);
    }
}

fn main() {
    let pool = ThreadPerJob::new(4).expect("a pool of four");
    println!("{:?}", pool.map(1..=9, |n| n * n).collect::<Vec<u64>>());
}

#[cfg(test)]
taskfarm_core::conformance!(taskfarm_core::conformance::Subject::new(ThreadPerJob::new));
