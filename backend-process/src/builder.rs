//! [`Builder`]: the options of a pool.

use std::time::Duration;

use taskfarm_core::{BuildError, num_workers};

use crate::ProcessPool;
use crate::entry;
use crate::image;
use crate::sys;

/// Pools within tasks within pools: how deep.
const MAX_DEPTH: u32 = 10;

/// How worker processes come to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartMethod {
    /// The program is executed once more, stops before `main`, and from then on forks
    /// workers on request: small, clean, and quick to replace.
    #[default]
    Zygote,
    /// The program is executed once more for each worker. Slower to start and replace;
    /// no process between pool and workers.
    Exec,
    /// This process is forked when the pool is built, so that workers inherit what its
    /// statics hold at that moment. Only while the process has one thread: in any other,
    /// a lock that some thread holds would stay locked in the workers for ever. Workers
    /// are forked from that first fork, replacements too.
    Fork,
}

/// Where the standard output and error of workers go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerOutput {
    /// Where those of this process go.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
}

/// The options of a [`ProcessPool`], from [`ProcessPool::builder`].
///
/// ```
/// use std::time::Duration;
/// use taskfarm_process::{ProcessPool, WorkerOutput};
///
/// let pool = ProcessPool::builder()
///     .num_workers(2)
///     .max_tasks_per_worker(1000)
///     .memory_limit(1 << 30)
///     .exit_timeout(Duration::from_secs(1))
///     .worker_output(WorkerOutput::Null)
///     .build()?;
/// # drop(pool);
/// # Ok::<(), taskfarm_process::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    pub(crate) num_workers: Option<usize>,
    pub(crate) start: StartMethod,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) start_timeout: Duration,
    pub(crate) init_timeout: Duration,
    pub(crate) exit_timeout: Duration,
    pub(crate) output: WorkerOutput,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            num_workers: None,
            start: StartMethod::default(),
            max_tasks: None,
            memory_limit: None,
            start_timeout: Duration::from_secs(5),
            init_timeout: Duration::from_secs(60),
            exit_timeout: Duration::from_secs(5),
            output: WorkerOutput::default(),
        }
    }

    /// How many workers at most. Default: as [`num_workers`] says.
    pub fn num_workers(mut self, number: usize) -> Self {
        self.num_workers = Some(number);
        self
    }

    /// How workers come to be. Default: [`StartMethod::Zygote`].
    pub fn start(mut self, method: StartMethod) -> Self {
        self.start = method;
        self
    }

    /// After how many items a worker leaves and is replaced, for functions that leak.
    /// Default: never.
    pub fn max_tasks_per_worker(mut self, number: u64) -> Self {
        self.max_tasks = Some(number);
        self
    }

    /// How many bytes of data (heap and private mappings) a worker may have; what it asks
    /// for beyond fails, which ends most programs. Default: as many as this process.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// How long a fresh process may take to say hello. Default: 5 seconds.
    ///
    /// A pool whose first process does not answer in time cannot run anything: the items end
    /// as undeliverable, with the reason. Later ones are killed and tried again.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How long a worker may take to make its state for a map whose items have a time limit:
    /// the initialiser does not count against the limit of the item that needs it first.
    /// Default: 60 seconds.
    ///
    /// After this and the item's own limit the worker is killed, and the item ends as timed
    /// out. A map without a time limit waits for its initialisers as it does for its items.
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.init_timeout = timeout;
        self
    }

    /// How long exit hooks may take before their worker is killed: those of a worker that
    /// leaves, and those of a map that is over while the worker was sent other work, which
    /// then runs elsewhere. Default: 5 seconds.
    ///
    /// The same goes for a worker that does not begin what it was sent for another reason,
    /// such as a `SIGSTOP`.
    pub fn exit_timeout(mut self, timeout: Duration) -> Self {
        self.exit_timeout = timeout;
        self
    }

    /// Where the output of tasks goes. Default: [`WorkerOutput::Inherit`].
    pub fn worker_output(mut self, output: WorkerOutput) -> Self {
        self.output = output;
        self
    }

    /// Opens the pool. Except with [`StartMethod::Fork`], processes are started when there
    /// is something to do.
    ///
    /// # Errors
    ///
    /// If an option makes no sense, or this process cannot have workers: the message says
    /// what to do.
    pub fn build(self) -> Result<ProcessPool, BuildError> {
        let num_workers = num_workers(self.num_workers)?;
        self.check()?;
        check_process()?;
        if self.start == StartMethod::Fork {
            check_threads()?;
        }
        ProcessPool::open(self, num_workers)
    }

    fn check(&self) -> Result<(), BuildError> {
        let complaint = if self.max_tasks == Some(0) {
            "max_tasks_per_worker is 0: ask for at least 1, or leave it out"
        } else if self.memory_limit.is_some_and(|bytes| bytes < 1 << 20) {
            "memory_limit is below 1 MiB, in which no worker can start: it counts bytes"
        } else if self.start_timeout.is_zero() {
            "start_timeout is zero: no process can answer in no time"
        } else if self.num_workers.is_some_and(|number| number > MAX_WORKERS) {
            "num_workers is above 4096: each worker is a process, so ask for about one per CPU"
        } else {
            return Ok(());
        };
        Err(BuildError::new(complaint))
    }
}

const MAX_WORKERS: usize = 4096;

/// Whether this process may be forked.
fn check_threads() -> Result<(), BuildError> {
    match sys::num_threads() {
        Ok(1) => Ok(()),
        Ok(_) => Err(BuildError::new(
            "start is Fork, but this process has more than one thread: build the pool \
             before any thread is started, or use StartMethod::Zygote",
        )),
        Err(error) => Err(BuildError::new(format!(
            "start is Fork, but /proc/self/task does not say whether this process has one \
             thread: {error}"
        ))),
    }
}

/// Whether this process may have workers.
fn check_process() -> Result<(), BuildError> {
    if entry::is_stray_child() {
        return Err(BuildError::new(
            "this process was started as a worker, but its `main` does not begin with \
             `taskfarm_process::init()`; call it there, or enable the feature `entry`",
        ));
    }
    if entry::depth() >= MAX_DEPTH {
        return Err(BuildError::new(
            "a task of a task of a task (and so on, 10 deep) opens a process pool: this looks \
             like endless recursion",
        ));
    }
    if !image::is_in_executable() {
        return Err(BuildError::new(
            "taskfarm-process is part of a shared library here, but worker processes run only \
             the main executable; use a thread pool in plugins",
        ));
    }
    if sys::is_privileged() {
        return Err(BuildError::new(
            "this program runs with more rights than its user (setuid or capabilities), so it \
             does not start copies of itself",
        ));
    }
    Ok(())
}
