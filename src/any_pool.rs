//! [`AnyPool`]: whatever pool was chosen at run time.

use std::fmt;
use std::num::NonZeroUsize;

use crate::{
    Capabilities, Executor, ExecutorId, InProcess, Job, ProcessPool, SameBinary, Shutdown,
};

/// A pool that was chosen at run time, worker processes included. Made by
/// [`Backend::build_any`](crate::Backend::build_any).
///
/// What runs on it must be fit for another process: a function pointer, over values that
/// serde can encode. If the pool has threads, nothing is encoded, and nothing is slower than
/// on the pool itself.
pub struct AnyPool(Pool);

enum Pool {
    Local(Box<dyn Executor<Reach = InProcess>>),
    Process(ProcessPool),
}

impl AnyPool {
    /// The process pool, if that is what it is.
    pub fn as_process(&self) -> Option<&ProcessPool> {
        match &self.0 {
            Pool::Local(_) => None,
            Pool::Process(pool) => Some(pool),
        }
    }
}

impl From<Box<dyn Executor<Reach = InProcess>>> for AnyPool {
    fn from(pool: Box<dyn Executor<Reach = InProcess>>) -> Self {
        Self(Pool::Local(pool))
    }
}

impl From<ProcessPool> for AnyPool {
    fn from(pool: ProcessPool) -> Self {
        Self(Pool::Process(pool))
    }
}

impl Executor for AnyPool {
    type Reach = SameBinary;

    fn id(&self) -> &ExecutorId {
        match &self.0 {
            Pool::Local(pool) => pool.id(),
            Pool::Process(pool) => pool.id(),
        }
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        match &self.0 {
            Pool::Local(pool) => pool.spawn(job),
            Pool::Process(pool) => pool.spawn(job),
        }
    }

    fn parallelism(&self) -> NonZeroUsize {
        match &self.0 {
            Pool::Local(pool) => pool.parallelism(),
            Pool::Process(pool) => pool.parallelism(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        match &self.0 {
            Pool::Local(pool) => pool.capabilities(),
            Pool::Process(pool) => pool.capabilities(),
        }
    }

    fn in_process(&self) -> Option<&dyn Executor<Reach = InProcess>> {
        match &self.0 {
            Pool::Local(pool) => Some(&**pool),
            Pool::Process(_) => None,
        }
    }

    fn shutdown(&self, how: Shutdown) {
        match &self.0 {
            Pool::Local(pool) => pool.shutdown(how),
            Pool::Process(pool) => pool.shutdown(how),
        }
    }
}

impl fmt::Debug for AnyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyPool").field(self.id()).finish()
    }
}
