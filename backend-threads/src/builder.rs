//! [`ThreadPoolBuilder`]: the options of a pool.

use taskfarm_core::{BuildError, check_thread_options, num_workers};

use crate::ThreadPool;
use crate::crew::{Hook, ThreadOptions};
use crate::sleep::MAX_WORKERS;

/// Options of a [`ThreadPool`], from [`ThreadPool::builder`].
///
/// ```
/// use taskfarm_threads::ThreadPool;
///
/// let pool = ThreadPool::builder()
///     .num_workers(4)
///     .name("resize")
///     .stack_size(8 << 20)
///     .on_thread_start(|index| println!("resize-{index} begins"))
///     .build()?;
/// # Ok::<(), taskfarm_core::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct ThreadPoolBuilder {
    num_workers: Option<usize>,
    threads: ThreadOptions,
}

impl ThreadPoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            num_workers: None,
            threads: ThreadOptions {
                name: "taskfarm".to_owned(),
                stack_size: None,
                on_start: None,
                on_stop: None,
            },
        }
    }

    /// How many threads there are at most, and so how many jobs run at the same time.
    ///
    /// Default: [`num_workers(None)`](num_workers), one for each CPU that this process may
    /// use.
    pub fn num_workers(mut self, num_workers: usize) -> Self {
        self.num_workers = Some(num_workers);
        self
    }

    /// The name of the pool in messages; its threads are called `name-0`, `name-1` and so
    /// on. Linux shows the first 15 bytes of that. Default: `taskfarm`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.threads.name = name.into();
        self
    }

    /// How many bytes of stack a thread has. Default: what `std` gives to threads.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.threads.stack_size = Some(bytes);
        self
    }

    /// Called on each thread when it starts, before its first job, with the index of its
    /// worker. A panic in it is logged, and the thread goes on.
    ///
    /// Threads start when there is work for them: with one task there is one.
    pub fn on_thread_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.threads.on_start = Some(Box::new(hook) as Hook);
        self
    }

    /// Called on each thread when it ends, after its last job, with the index of its
    /// worker. A panic in it is logged.
    pub fn on_thread_stop(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.threads.on_stop = Some(Box::new(hook) as Hook);
        self
    }

    /// Builds the pool. No thread is started yet.
    ///
    /// # Errors
    ///
    /// If an option is out of range; the message names it and says what to do.
    pub fn build(self) -> Result<ThreadPool, BuildError> {
        let num_workers = num_workers(self.num_workers)?;
        if num_workers.get() > MAX_WORKERS {
            return Err(BuildError::new(format!(
                "num_workers is {num_workers}: ask for at most {MAX_WORKERS}"
            )));
        }
        check_thread_options(&self.threads.name, self.threads.stack_size)?;
        Ok(ThreadPool::from_parts(num_workers, self.threads))
    }
}

impl std::fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("num_workers", &self.num_workers)
            .field("name", &self.threads.name)
            .field("stack_size", &self.threads.stack_size)
            .finish_non_exhaustive()
    }
}
