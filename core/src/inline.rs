//! [`InlineExecutor`]: runs everything on the caller's thread.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Capabilities, Executor, ExecutorId, InProcess, Job, Shutdown, TimeLimits};

/// Runs each job at once, on the thread that submits it.
///
/// The reference that other executors are tested against, and a way to debug without
/// threads. It cannot limit time: nobody is left to look at the clock.
///
/// ```
/// use taskfarm_core::{InProcessExt, InlineExecutor};
///
/// let doubled: Vec<i32> = InlineExecutor::new().map([1, 2, 3], |n| n * 2).collect()?;
/// assert_eq!(doubled, [2, 4, 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct InlineExecutor {
    id: ExecutorId,
    is_shut_down: AtomicBool,
}

impl InlineExecutor {
    /// An executor that takes jobs.
    pub fn new() -> Self {
        Self {
            id: ExecutorId::new("inline"),
            is_shut_down: AtomicBool::new(false),
        }
    }
}

impl Default for InlineExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor for InlineExecutor {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        if self.is_shut_down.load(Ordering::Acquire) {
            return Err(job);
        }
        job.run();
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process().with_time_limits(TimeLimits::None)
    }

    fn shutdown(&self, how: Shutdown) {
        self.is_shut_down.store(true, Ordering::Release);
        if how == Shutdown::Abort {
            self.id.abort();
        }
    }
}
