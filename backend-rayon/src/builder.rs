//! [`RayonPoolBuilder`]: the options of a pool with its own threads.

use taskfarm_core::{BuildError, check_thread_options, num_workers};

use crate::RayonPool;
use crate::threads::{ThreadOptions, Threads};

/// Options of a [`RayonPool`], from [`RayonPool::builder`].
///
/// ```
/// use taskfarm_rayon::RayonPool;
///
/// let pool = RayonPool::builder()
///     .num_workers(2)
///     .name("resize")
///     .stack_size(8 << 20)
///     .build()?;
/// # Ok::<(), taskfarm_core::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct RayonPoolBuilder {
    num_workers: Option<usize>,
    name: String,
    stack_size: Option<usize>,
}

impl RayonPoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            num_workers: None,
            name: "rayon".to_owned(),
            stack_size: None,
        }
    }

    /// How many threads there are, and so how many jobs run at the same time.
    ///
    /// Default: [`num_workers(None)`](num_workers), one for each CPU that this process may
    /// use. `RAYON_NUM_THREADS` does not count here.
    pub fn num_workers(mut self, num_workers: usize) -> Self {
        self.num_workers = Some(num_workers);
        self
    }

    /// The name of the pool in messages; its threads are called `name-0`, `name-1` and so
    /// on. Linux shows the first 15 bytes of that. Default: `rayon`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many bytes of stack a thread has. Default: what `std` gives to threads.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Builds the pool and starts its threads.
    ///
    /// # Errors
    ///
    /// If an option is out of range, or the threads cannot be started; the message names
    /// the option and says what to do.
    pub fn build(self) -> Result<RayonPool, BuildError> {
        let num_workers = num_workers(self.num_workers)?.get();
        let max = rayon::max_num_threads();
        if num_workers > max {
            return Err(BuildError::new(format!(
                "num_workers is {num_workers}: ask for at most {max}"
            )));
        }
        check_thread_options(&self.name, self.stack_size)?;
        let options = ThreadOptions {
            name: self.name,
            stack_size: self.stack_size,
        };
        match Threads::start(num_workers, &options) {
            Ok(threads) => Ok(RayonPool::on(threads, options.name)),
            Err(error) => Err(BuildError::new(format!(
                "num_workers is {num_workers}, and so many threads could not be started: {error}"
            ))),
        }
    }
}
