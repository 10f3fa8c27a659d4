//! How many workers a pool has: the default, the check, and the error.

use std::env::VarError;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

/// The environment variable that overrides the default number of workers.
pub const NUM_WORKERS_VAR: &str = "TASKFARM_NUM_WORKERS";

/// The number of workers a pool should have.
///
/// `requested` is what the user asked the builder for. Without it the environment
/// variable `TASKFARM_NUM_WORKERS` counts, and without that the number of CPUs this
/// process may use (affinity mask and cgroup quota), which is looked up once.
///
/// # Errors
///
/// If the number is zero, or the variable is not a number.
///
/// ```
/// use taskfarm_core::num_workers;
///
/// assert_eq!(num_workers(Some(3))?.get(), 3);
/// assert!(num_workers(Some(0)).unwrap_err().to_string().contains("num_workers"));
/// # Ok::<(), taskfarm_core::BuildError>(())
/// ```
pub fn num_workers(requested: Option<usize>) -> Result<NonZeroUsize, BuildError> {
    if let Some(number) = requested {
        return NonZeroUsize::new(number).ok_or_else(|| {
            BuildError::new("num_workers is 0: ask for at least 1, or leave it out for one per CPU")
        });
    }
    match std::env::var(NUM_WORKERS_VAR) {
        Ok(text) => text.trim().parse().map_err(|_| {
            BuildError::new(format!(
                "{NUM_WORKERS_VAR} is {text:?}: set it to a whole number of at least 1, or unset it"
            ))
        }),
        Err(VarError::NotPresent) => Ok(num_cpus()),
        Err(VarError::NotUnicode(text)) => Err(BuildError::new(format!(
            "{NUM_WORKERS_VAR} is {text:?}: set it to a whole number of at least 1, or unset it"
        ))),
    }
}

fn num_cpus() -> NonZeroUsize {
    static CPUS: OnceLock<NonZeroUsize> = OnceLock::new();
    *CPUS.get_or_init(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// Why a pool could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    message: String,
}

impl BuildError {
    /// An error with a message that names the option and says what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BuildError {}
