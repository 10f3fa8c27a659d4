//! An executor of your own, 2: jobs on tokio's blocking threads.
//! `cargo test --example executor_tokio` runs the conformance kit over it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;
use taskfarm::prelude::*;
use taskfarm::{BuildError, ExecutorId, InProcess, Job, Shutdown, num_workers};
use tokio::runtime::{Builder, Handle, Runtime};

struct TokioPool {
    id: ExecutorId,
    num_workers: NonZeroUsize,
    /// Jobs wait here and not in tokio, which could not give them back.
    waiting: Arc<Mutex<Waiting>>,
    handle: Handle,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_shut_down: bool,
}

impl TokioPool {
    fn new(requested: usize) -> Result<Self, BuildError> {
        let num_workers = num_workers(Some(requested))?;
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(num_workers.get())
            .build()
            .map_err(|error| BuildError::new(error.to_string()))?;
        Ok(Self {
            id: ExecutorId::new("tokio"),
            num_workers,
            waiting: Arc::default(),
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Executor for TokioPool {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut waiting = self.waiting.lock();
        if waiting.is_shut_down {
            return Err(job);
        }
        waiting.jobs.push_back(job);
        let shared = self.waiting.clone();
        self.handle.spawn_blocking(move || {
            let job = shared.lock().jobs.pop_front();
            job.into_iter().for_each(Job::run);
        });
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn shutdown(&self, how: Shutdown) {
        let mut waiting = self.waiting.lock();
        waiting.is_shut_down = true;
        let queued = match how {
            Shutdown::Drain => VecDeque::new(),
            _ => std::mem::take(&mut waiting.jobs),
        };
        drop(waiting);
        queued.into_iter().for_each(Job::cancel);
        if how == Shutdown::Abort {
            self.id.abort();
        }
    }
}

impl Drop for TokioPool {
    fn drop(&mut self) {
        self.shutdown(Shutdown::CancelQueued);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // A task may hold the last reference to the pool.
        }
    }
}

fn main() {
    let pool = TokioPool::new(4).expect("a pool of four");
    println!("{:?}", pool.map(1..=9, |n| n * n).collect::<Vec<u64>>());
}

#[cfg(test)]
taskfarm_core::conformance!(taskfarm_core::conformance::Subject::new(TokioPool::new));
