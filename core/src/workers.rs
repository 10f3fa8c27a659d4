//! What the builders of pools have in common: how many workers there are, which names and
//! stacks threads can have, and the error.

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

/// The least that std gives a thread; what is below is a mistake.
const MIN_STACK: usize = 16 << 10;
/// More than this is a mistake too: a negative number, or bits for bytes.
const MAX_STACK: u64 = 64 << 30;

/// Checks the options that builders of thread pools have: the name of the pool, which is part
/// of those of its threads, and the stack size.
///
/// # Errors
///
/// If no thread can be called so or have such a stack; the message names the option.
///
/// ```
/// use taskfarm_core::check_thread_options;
///
/// check_thread_options("resize", Some(8 << 20))?;
/// let error = check_thread_options("resize", Some(8)).unwrap_err();
/// assert!(error.to_string().starts_with("stack_size is 8 bytes: ask for at least"));
/// # Ok::<(), taskfarm_core::BuildError>(())
/// ```
pub fn check_thread_options(name: &str, stack_size: Option<usize>) -> Result<(), BuildError> {
    if name.contains('\0') {
        return Err(BuildError::new(format!(
            "name is {name:?}: leave out the NUL, threads cannot be called so"
        )));
    }
    let Some(bytes) = stack_size else {
        return Ok(());
    };
    let limit = match bytes {
        _ if bytes < MIN_STACK => format!("at least {MIN_STACK}"),
        _ if bytes as u64 > MAX_STACK => format!("at most {MAX_STACK}"),
        _ => return Ok(()),
    };
    Err(BuildError::new(format!(
        "stack_size is {bytes} bytes: ask for {limit}, or leave it out for the default of std"
    )))
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
