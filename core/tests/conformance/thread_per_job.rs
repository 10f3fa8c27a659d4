//! [`ThreadPerJob`]: a plain executor on real threads, for this crate's own tests.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use taskfarm_core::{BuildError, Executor, ExecutorId, InProcess, Job, Shutdown, num_workers};

/// Runs each job in a thread of its own, so many at a time.
pub(crate) struct ThreadPerJob {
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

impl ThreadPerJob {
    pub(crate) fn new(requested: usize) -> Result<Self, BuildError> {
        Ok(Self {
            id: ExecutorId::new("thread-per-job"),
            num_workers: num_workers(Some(requested))?,
            shared: Arc::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().expect("nothing panics under the lock")
}

/// Runs the job, and then starts the thread of the next one.
fn work(shared: Arc<Mutex<State>>, job: Job) {
    job.run();
    let next = {
        let mut state = lock(&shared);
        let next = state.waiting.pop_front();
        state.num_running -= usize::from(next.is_none());
        next
    };
    if let Some(job) = next {
        thread::spawn(move || work(shared, job));
    }
}

impl Executor for ThreadPerJob {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.is_shut_down {
            return Err(job);
        }
        if state.num_running == self.num_workers.get() {
            state.waiting.push_back(job);
            return Ok(());
        }
        state.num_running += 1;
        drop(state);
        let shared = self.shared.clone();
        thread::spawn(move || work(shared, job));
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn shutdown(&self, how: Shutdown) {
        let mut state = self.lock();
        state.is_shut_down = true;
        if how == Shutdown::Drain {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Job::cancel);
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
