//! An executor of your own, 3: jobs on the threads of smol's `blocking`, which the whole
//! process shares; so many at a time.
//! `cargo test --example executor_smol` runs the conformance kit over it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;
use taskfarm::prelude::*;
use taskfarm::{BuildError, ExecutorId, InProcess, Job, Shutdown, num_workers};

struct SmolPool {
    id: ExecutorId,
    num_workers: NonZeroUsize,
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    num_running: usize,
    waiting: VecDeque<Job>,
    is_shut_down: bool,
}

impl SmolPool {
    fn new(requested: usize) -> Result<Self, BuildError> {
        Ok(Self {
            id: ExecutorId::new("smol"),
            num_workers: num_workers(Some(requested))?,
            shared: Arc::default(),
        })
    }
}

fn next(shared: &Mutex<State>) -> Option<Job> {
    let mut state = shared.lock();
    let job = state.waiting.pop_front();
    state.num_running -= usize::from(job.is_none());
    job
}

impl Executor for SmolPool {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut state = self.shared.lock();
        if state.is_shut_down {
            return Err(job);
        }
        state.waiting.push_back(job);
        if state.num_running < self.num_workers.get() {
            state.num_running += 1;
            let shared = self.shared.clone();
            let run_all = move || std::iter::from_fn(|| next(&shared)).for_each(Job::run);
            blocking::unblock(run_all).detach();
        }
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
        drop(state);
        queued.into_iter().for_each(Job::cancel);
        if how == Shutdown::Abort {
            self.id.abort();
        }
    }
}

impl Drop for SmolPool {
    fn drop(&mut self) {
        self.shutdown(Shutdown::CancelQueued);
    }
}

fn main() {
    let pool = SmolPool::new(4).expect("a pool of four");
    println!("{:?}", pool.map(1..=9, |n| n * n).collect::<Vec<u64>>());
}

#[cfg(test)]
taskfarm_core::conformance!(
    taskfarm_core::conformance::Subject::new(SmolPool::new).shares_threads("blocking-")
);
