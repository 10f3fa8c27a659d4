//! [`ThreadPool`]: the crew as an [`Executor`].

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use taskfarm_core::{BuildError, Executor, ExecutorId, InProcess, Job, Shutdown};

use crate::ThreadPoolBuilder;
use crate::crew::{Crew, ThreadOptions};

/// A pool of threads that share their work by stealing.
///
/// Share it by reference, or in an `Arc`. Its threads start when there is work for them,
/// up to the number of workers, and cost no CPU time while there is none.
///
/// # Dropping
///
/// Dropping the pool refuses new work, finishes what was accepted
/// ([`Shutdown::Drain`]) and waits for the threads to end. To end sooner, call
/// [`shutdown`](Executor::shutdown) before; to wait no longer than some time, use
/// [`shutdown_timeout`](Self::shutdown_timeout). A pool that is dropped inside one of its
/// own jobs does not wait, since that would be for itself: the threads finish what was
/// accepted, then end.
///
/// # Examples
///
/// ```
/// use taskfarm_core::Executor;
/// use taskfarm_threads::ThreadPool;
///
/// let pool = ThreadPool::new(2)?;
/// assert_eq!(pool.parallelism().get(), 2);
/// assert_eq!(pool.num_threads(), 0); // They start with the first work.
/// # Ok::<(), taskfarm_core::BuildError>(())
/// ```
pub struct ThreadPool {
    id: ExecutorId,
    num_workers: NonZeroUsize,
    crew: Arc<Crew<Job>>,
}

impl ThreadPool {
    /// A pool of `num_workers` workers, otherwise as by default.
    ///
    /// # Errors
    ///
    /// If `num_workers` is zero.
    ///
    /// ```
    /// use taskfarm_threads::ThreadPool;
    ///
    /// let error = ThreadPool::new(0).unwrap_err();
    /// assert!(error.to_string().contains("num_workers"));
    /// ```
    pub fn new(num_workers: usize) -> Result<Self, BuildError> {
        Self::builder().num_workers(num_workers).build()
    }

    /// A builder, to choose names, stack size and hooks too.
    ///
    /// ```
    /// use taskfarm_threads::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().name("hash").build()?; // A worker for each CPU.
    /// # Ok::<(), taskfarm_core::BuildError>(())
    /// ```
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }

    pub(crate) fn from_parts(num_workers: NonZeroUsize, threads: ThreadOptions) -> Self {
        Self {
            id: ExecutorId::new(threads.name.clone()),
            num_workers,
            crew: Crew::new(num_workers.get(), threads),
        }
    }

    /// How many threads the pool has now.
    ///
    /// None until the first work, then as many as were needed at once so far, up to the
    /// number of workers.
    pub fn num_threads(&self) -> usize {
        self.crew.num_threads()
    }

    /// Shuts down, waits for the jobs that still run, and says whether all ended within
    /// `timeout`.
    ///
    /// If they did not, their threads are left to themselves and end after their jobs; this
    /// returns `false` and nothing waits for them any more.
    ///
    /// ```
    /// use std::time::Duration;
    /// use taskfarm_core::Shutdown;
    /// use taskfarm_threads::ThreadPool;
    ///
    /// let pool = ThreadPool::new(2)?;
    /// assert!(pool.shutdown_timeout(Shutdown::CancelQueued, Duration::from_secs(1)));
    /// # Ok::<(), taskfarm_core::BuildError>(())
    /// ```
    pub fn shutdown_timeout(self, how: Shutdown, timeout: Duration) -> bool {
        self.shutdown(how);
        // Too far to be represented is for ever.
        self.crew.join_until(Instant::now().checked_add(timeout))
    }
}

impl Executor for ThreadPool {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        self.crew.spawn(job)
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn shutdown(&self, how: Shutdown) {
        if how == Shutdown::Abort {
            self.id.abort();
        }
        self.crew.close(how);
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.crew.close(Shutdown::Drain);
        self.crew.join();
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("name", &self.id.name())
            .field("num_workers", &self.num_workers)
            .field("num_threads", &self.num_threads())
            .finish()
    }
}
