//! [`Executor`]: what a backend implements, and nothing more.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use crate::{CancelReason, CancellationToken, Capabilities, Job};

/// Something that runs jobs: a thread pool, Rayon, worker processes, a cluster.
///
/// This is all that a backend implements. Order, errors, chunks, deadlines,
/// back-pressure, progress and nested waits are policy; they are written once, in this
/// crate, over these few methods. The trait is object-safe and needs no `unsafe`.
///
/// # The contract
///
/// - [`spawn`](Self::spawn) takes a job and calls [`Job::run`] on it once, soon, on a
///   worker; or it hands the job back. It never blocks for long and never runs user
///   code of another job.
/// - A job may be dropped unrun; its items then end as
///   [`Dropped`](crate::TaskErrorKind::Dropped). A job that is leaked hangs whoever waits
///   for it.
/// - `run` never unwinds.
///
/// # Examples
///
/// One new thread per job is a complete executor:
///
/// ```
/// use std::num::NonZeroUsize;
/// use taskfarm_core::{Executor, ExecutorId, InProcess, InProcessExt, Job};
///
/// struct ThreadPerJob(ExecutorId);
///
/// impl Executor for ThreadPerJob {
///     type Reach = InProcess;
///     fn id(&self) -> &ExecutorId {
///         &self.0
///     }
///     fn spawn(&self, job: Job) -> Result<(), Job> {
///         std::thread::spawn(|| job.run());
///         Ok(())
///     }
///     fn parallelism(&self) -> NonZeroUsize {
///         NonZeroUsize::new(4).unwrap()
///     }
/// }
///
/// let threads = ThreadPerJob(ExecutorId::new("thread-per-job"));
/// let squares: Vec<u64> = threads.map(1..=4, |n: u64| n * n).collect()?;
/// assert_eq!(squares, [1, 4, 9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Executor: Send + Sync {
    /// What may become a job here: [`InProcess`], [`SameBinary`], [`Portable`], or a
    /// marker of your own.
    type Reach;

    /// Who this executor is, made once by [`ExecutorId::new`] when the executor is built.
    fn id(&self) -> &ExecutorId;

    /// Queues `job` to be run once by a worker.
    ///
    /// # Errors
    ///
    /// Hands the job back if it will not be run, for example after a shutdown.
    fn spawn(&self, job: Job) -> Result<(), Job>;

    /// How many jobs run at the same time at most.
    fn parallelism(&self) -> NonZeroUsize;

    /// What this executor can do beyond running jobs. A policy that needs more is refused
    /// with a typed error.
    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process()
    }

    /// The same executor for work that stays in this process, if it runs all of its jobs
    /// here: maps of a wider reach then take the in-process road, and encode nothing.
    fn in_process(&self) -> Option<&dyn Executor<Reach = InProcess>> {
        None
    }

    /// Stops taking jobs. After it returns, [`spawn`](Self::spawn) hands every job back.
    ///
    /// It does not wait for running jobs, so a job may call it. An executor that has
    /// nothing to stop may leave this as it is.
    fn shutdown(&self, how: Shutdown) {
        let _ = how;
    }
}

/// What a shutdown does with jobs that were accepted before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Queued jobs still run.
    Drain,
    /// Queued jobs are [cancelled](Job::cancel); running ones end in peace.
    CancelQueued,
    /// Queued jobs are cancelled, and running ones are asked to stop (in a process:
    /// killed).
    Abort,
}

/// Reach of executors that run jobs in this process: any closure, borrowed data included.
#[derive(Clone, Copy, Debug)]
pub struct InProcess;

/// Reach of executors whose workers are processes started from this very binary: function
/// pointers, and inputs and outputs that can be encoded.
#[derive(Clone, Copy, Debug)]
pub struct SameBinary;

/// Reach of executors whose workers may be other programs: tasks that have a name.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// The identity of one executor: its name in messages, and how this crate knows that a
/// thread which waits is already one of that executor's workers.
///
/// Every job carries the key of its executor. A thread that waits from inside such a job
/// runs the work that it waits for itself, so nested waits cannot deadlock.
/// Cloning gives the same identity.
#[derive(Clone)]
pub struct ExecutorId(Arc<Identity>);

struct Identity {
    key: u64,
    name: String,
    abort: CancellationToken,
    is_worker: Option<WorkerTest>,
}

/// Whether the calling thread is a worker.
type WorkerTest = Box<dyn Fn() -> bool + Send + Sync>;

/// Part of the keys of executors that have a [`WorkerTest`]: only their waiters look it up.
const HAS_WORKER_TEST: u64 = 1 << 63;

/// The living identities by key: tasks carry the number, not a counted reference, because
/// a counter that every submit and every worker touches costs more than the task itself.
static IDENTITIES: LazyLock<Mutex<HashMap<u64, Weak<Identity>>>> = LazyLock::new(Mutex::default);

impl ExecutorId {
    /// A new identity, unlike every other, called `name` in messages.
    ///
    /// ```
    /// use taskfarm_core::ExecutorId;
    /// assert_ne!(ExecutorId::new("mine"), ExecutorId::new("mine"));
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self::from_parts(name.into(), None)
    }

    /// The same for an executor whose threads also run what did not come as a
    /// [`Job`]: `is_worker` says whether the calling thread is one of them.
    ///
    /// Without it, code that got onto such a thread by another way (a parallel iterator of
    /// Rayon, say) and waits for a map of this executor would block the very thread that
    /// has to run the map. `is_worker` is asked before a thread is put to sleep, so it
    /// should be quick; it must not panic.
    pub fn with_worker_test(
        name: impl Into<String>,
        is_worker: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::from_parts(name.into(), Some(Box::new(is_worker)))
    }

    fn from_parts(name: String, is_worker: Option<WorkerTest>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let flag = is_worker.as_ref().map_or(0, |_| HAS_WORKER_TEST);
        let identity = Arc::new(Identity {
            key: NEXT.fetch_add(1, Ordering::Relaxed) | flag,
            name,
            abort: CancellationToken::new(),
            is_worker,
        });
        IDENTITIES
            .lock()
            .insert(identity.key, Arc::downgrade(&identity));
        Self(identity)
    }

    /// The name given to [`new`](Self::new).
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Asks everything that runs on this executor to stop, now and in the future; for
    /// [`Shutdown::Abort`].
    pub fn abort(&self) {
        self.0.abort.cancel_because(CancelReason::ShutDown);
    }

    pub(crate) fn key(&self) -> u64 {
        self.0.key
    }

    pub(crate) fn abort_token(&self) -> &CancellationToken {
        &self.0.abort
    }
}

/// The executor with this key, while it lives.
fn identity(key: u64) -> Option<Arc<Identity>> {
    IDENTITIES.lock().get(&key).and_then(Weak::upgrade)
}

/// Whether the executor with this key says that the calling thread is one of its workers,
/// whatever it runs.
pub(crate) fn claims_thread(key: u64) -> bool {
    if key & HAS_WORKER_TEST == 0 {
        return false;
    }
    let identity = identity(key);
    let test = identity
        .as_ref()
        .and_then(|identity| identity.is_worker.as_ref());
    test.is_some_and(|is_worker| is_worker())
}

/// A token below the abort token of the executor with this key.
pub(crate) fn token_on(key: u64) -> CancellationToken {
    identity(key).map_or_else(CancellationToken::new, |identity| identity.abort.child())
}

impl Drop for Identity {
    fn drop(&mut self) {
        IDENTITIES.lock().remove(&self.key);
    }
}

impl PartialEq for ExecutorId {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ExecutorId {}

impl fmt::Debug for ExecutorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExecutorId({:?})", self.name())
    }
}

/// References and smart pointers to an executor are that executor.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<E: Executor + ?Sized> Executor for $pointer {
            type Reach = E::Reach;

            fn id(&self) -> &ExecutorId {
                (**self).id()
            }

            fn spawn(&self, job: Job) -> Result<(), Job> {
                (**self).spawn(job)
            }

            fn parallelism(&self) -> NonZeroUsize {
                (**self).parallelism()
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn in_process(&self) -> Option<&dyn Executor<Reach = InProcess>> {
                (**self).in_process()
            }

            fn shutdown(&self, how: Shutdown) {
                (**self).shutdown(how);
            }
        }
    )*};
}

forward!(&E, Box<E>, Arc<E>);
