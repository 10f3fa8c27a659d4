//! [`RayonPool`]: Rayon's threads as an [`Executor`].

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use taskfarm_core::{BuildError, Executor, ExecutorId, InProcess, Job, Shutdown};

use crate::RayonPoolBuilder;
use crate::queue::Queue;
use crate::threads::Threads;

/// An executor that runs jobs on threads of Rayon.
///
/// [`new`](Self::new) starts threads of its own, [`wrap`](Self::wrap) uses a pool that the
/// program has, and [`global`](Self::global) the one behind Rayon's free functions.
///
/// # Dropping
///
/// Dropping the pool refuses new work, finishes what was accepted
/// ([`Shutdown::Drain`]) and waits for it, and for the threads if they are its own; shared
/// threads live on. To end sooner, call [`shutdown`](Executor::shutdown) before. A pool that
/// is dropped on one of its own threads does not wait, since that would be for itself.
///
/// # Examples
///
/// ```
/// use taskfarm_core::InProcessExt;
/// use taskfarm_rayon::RayonPool;
///
/// let pool = RayonPool::new(2)?;
/// let doubled: Vec<i32> = pool.map([1, 2, 3], |n| n * 2).collect()?;
/// assert_eq!(doubled, [2, 4, 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RayonPool {
    id: ExecutorId,
    /// `None` once the pool is being dropped.
    inner: Option<Inner>,
}

struct Inner {
    threads: Threads,
    queue: Arc<Queue>,
}

impl RayonPool {
    /// A pool with `num_workers` threads of its own, otherwise as by default.
    ///
    /// # Errors
    ///
    /// If `num_workers` is zero, or the threads cannot be started.
    ///
    /// ```
    /// use taskfarm_rayon::RayonPool;
    ///
    /// let error = RayonPool::new(0).unwrap_err();
    /// assert!(error.to_string().contains("num_workers"));
    /// ```
    pub fn new(num_workers: usize) -> Result<Self, BuildError> {
        Self::builder().num_workers(num_workers).build()
    }

    /// A builder, to choose the name and the stack size too.
    ///
    /// ```
    /// use taskfarm_rayon::RayonPool;
    ///
    /// let pool = RayonPool::builder().name("hash").build()?; // A thread for each CPU.
    /// # Ok::<(), taskfarm_core::BuildError>(())
    /// ```
    pub fn builder() -> RayonPoolBuilder {
        RayonPoolBuilder::new()
    }

    /// An executor on the threads of a pool that already exists.
    ///
    /// Several may share one pool. Each has its own queue: shutting one down does not touch
    /// the others, nor Rayon.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use taskfarm_core::InProcessExt;
    /// use taskfarm_rayon::RayonPool;
    ///
    /// let threads = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(2).build()?);
    /// let pool = RayonPool::wrap(threads.clone());
    /// assert_eq!(pool.submit(21, |n| n * 2).join()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wrap(threads: Arc<rayon::ThreadPool>) -> Self {
        Self::on(Threads::Shared(threads), "rayon-shared")
    }

    /// An executor on the pool that Rayon's free functions use: the global one, or inside
    /// of another pool that one.
    ///
    /// ```
    /// use taskfarm_core::InProcessExt;
    /// use taskfarm_rayon::RayonPool;
    ///
    /// let lengths: Vec<usize> = RayonPool::global().map(["a", "bc"], str::len).collect()?;
    /// assert_eq!(lengths, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// As Rayon's free functions do, if the global pool cannot be started.
    pub fn global() -> Self {
        // Here rather than at the first job, where nobody expects it.
        rayon::current_num_threads();
        Self::on(Threads::Global, "rayon-global")
    }

    pub(crate) fn on(threads: Threads, name: impl Into<String>) -> Self {
        Self {
            id: ExecutorId::with_worker_test(name, threads.worker_test()),
            inner: Some(Inner {
                threads,
                queue: Queue::new(),
            }),
        }
    }

    fn inner(&self) -> &Inner {
        self.inner.as_ref().expect("only `drop` takes it")
    }

    /// The Rayon pool behind this one; `None` for [`global`](Self::global), which Rayon has
    /// no value for.
    ///
    /// Work that it gets through Rayon is not subject to [`shutdown`](Executor::shutdown).
    pub fn as_rayon(&self) -> Option<&rayon::ThreadPool> {
        self.inner().threads.as_rayon().map(|pool| &**pool)
    }

    /// Runs `body` on one of the threads, so that Rayon's parallel iterators, `join` and
    /// `scope` inside of it use this pool. See [`rayon::ThreadPool::install`].
    ///
    /// ```
    /// use rayon::prelude::*;
    /// use taskfarm_rayon::RayonPool;
    ///
    /// let pool = RayonPool::new(2)?;
    /// let sum: u64 = pool.install(|| (1..=100_u64).into_par_iter().sum());
    /// assert_eq!(sum, 5050);
    /// # Ok::<(), taskfarm_core::BuildError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `body` does.
    pub fn install<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        self.inner().threads.install(body)
    }
}

impl Executor for RayonPool {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let Inner { threads, queue } = self.inner();
        queue.push(job)?;
        let queue = Arc::clone(queue);
        threads.spawn(move || queue.run_one());
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.inner().threads.num_threads()).unwrap_or(NonZeroUsize::MIN)
    }

    fn shutdown(&self, how: Shutdown) {
        if how == Shutdown::Abort {
            self.id.abort();
        }
        self.inner().queue.close(how);
    }
}

impl Drop for RayonPool {
    fn drop(&mut self) {
        let Some(Inner { threads, queue }) = self.inner.take() else {
            return;
        };
        queue.close(Shutdown::Drain);
        let is_inside = threads.worker_test();
        if is_inside() {
            return;
        }
        queue.join();
        threads.join();
    }
}

impl fmt::Debug for RayonPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RayonPool")
            .field("name", &self.id.name())
            .field("num_workers", &self.parallelism())
            .finish()
    }
}
