//! [`Backend`]: an executor by name, for command lines and benchmarks.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::{BuildError, Executor, InProcess, InlineExecutor, num_workers};

/// The executors that this crate knows, to be chosen at run time.
///
/// A program that always uses the same pool names its type instead.
///
/// # Examples
///
/// ```
/// use taskfarm::prelude::*;
///
/// let backend: Backend = "serial".parse()?;
/// let executor = backend.build(None)?;
/// let lengths: Vec<usize> = executor.map(["a", "bc"], str::len).collect()?;
/// assert_eq!(lengths, [1, 2]);
///
/// let error = "gpu".parse::<Backend>().unwrap_err();
/// assert!(error.to_string().contains("serial"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// [`InlineExecutor`]: one item after the other on the caller's thread. Named `serial`;
    /// `inline` is understood too.
    Serial,
    /// `ThreadPool`, with the feature `threads`. Named `threads`.
    Threads,
    /// `RayonPool` with its own threads, with the feature `rayon`. Named `rayon`.
    Rayon,
    /// `ProcessPool`, with the feature `process`. Named `process`. Its workers run function
    /// pointers only: see `build_any`.
    Process,
}

impl Backend {
    const ALL: [Self; 4] = [Self::Serial, Self::Threads, Self::Rayon, Self::Process];

    /// The backends that this program was built with.
    ///
    /// ```
    /// use taskfarm::Backend;
    ///
    /// assert_eq!(Backend::available().next(), Some(Backend::Serial));
    /// ```
    pub fn available() -> impl Iterator<Item = Self> {
        let is_here = |backend: &Self| backend.missing_feature().is_none();
        Self::ALL.into_iter().filter(is_here)
    }

    /// The name that [`FromStr`] understands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Threads => "threads",
            Self::Rayon => "rayon",
            Self::Process => "process",
        }
    }

    /// Builds the executor, with so many workers or by default one for each CPU. `Serial`
    /// has one worker, whatever is asked.
    ///
    /// # Errors
    ///
    /// If the program was built without the backend (the message says how to switch it on);
    /// for `Process`, whose workers cannot run any closure; or if the pool cannot be built, for
    /// example with zero workers.
    pub fn build(
        self,
        workers: Option<usize>,
    ) -> Result<Box<dyn Executor<Reach = InProcess>>, BackendError> {
        let workers = num_workers(workers).map_err(BackendError::from_pool)?.get();
        match self {
            Self::Serial => Ok(Box::new(InlineExecutor::new())),
            #[cfg(feature = "threads")]
            Self::Threads => boxed(crate::ThreadPool::new(workers)),
            #[cfg(feature = "rayon")]
            Self::Rayon => boxed(crate::RayonPool::new(workers)),
            // Each of them, with all features off.
            _ => {
                let _ = workers;
                Err(BackendError(Kind::Unavailable(self)))
            }
        }
    }

    /// The same for all backends, worker processes too: maps and tasks on the pool take
    /// function pointers, and closures that capture nothing, over values that serde can
    /// encode. On threads nothing is encoded.
    ///
    /// ```
    /// use taskfarm::prelude::*;
    ///
    /// let pool = Backend::Process.build_any(Some(2))?;
    /// let squares: Vec<u64> = pool.map(0..4_u64, |n| n * n).collect()?;
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    #[cfg(feature = "process")]
    pub fn build_any(self, workers: Option<usize>) -> Result<crate::AnyPool, BackendError> {
        if self != Self::Process {
            return self.build(workers).map(crate::AnyPool::from);
        }
        let workers = num_workers(workers).map_err(BackendError::from_pool)?.get();
        let pool = crate::ProcessPool::new(workers).map_err(BackendError::from_pool)?;
        Ok(crate::AnyPool::from(pool))
    }

    /// The feature that the program was built without and that the backend needs.
    fn missing_feature(self) -> Option<&'static str> {
        let (is_on, feature) = match self {
            Self::Serial => return None,
            Self::Threads => (cfg!(feature = "threads"), "threads"),
            Self::Rayon => (cfg!(feature = "rayon"), "rayon"),
            Self::Process => (cfg!(feature = "process"), "process"),
        };
        (!is_on).then_some(feature)
    }
}

#[cfg(any(feature = "threads", feature = "rayon"))]
fn boxed<E>(
    pool: Result<E, BuildError>,
) -> Result<Box<dyn Executor<Reach = InProcess>>, BackendError>
where
    E: Executor<Reach = InProcess> + 'static,
{
    match pool {
        Ok(pool) => Ok(Box::new(pool)),
        Err(error) => Err(BackendError::from_pool(error)),
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        if name == "inline" {
            return Ok(Self::Serial);
        }
        let known = Self::ALL.into_iter().find(|backend| backend.name() == name);
        known.ok_or_else(|| BackendError(Kind::Unknown(name.to_owned())))
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a [`Backend`] could not be parsed or built.
#[derive(Clone, PartialEq, Eq)]
pub struct BackendError(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Unknown(String),
    Unavailable(Backend),
    Pool(BuildError),
}

impl BackendError {
    fn from_pool(error: BuildError) -> Self {
        Self(Kind::Pool(error))
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unknown(name) => {
                write!(f, "unknown backend {name:?}: use ")?;
                for (position, backend) in Backend::ALL.into_iter().enumerate() {
                    let separator = if position > 0 { ", " } else { "" };
                    write!(f, "{separator}{backend}")?;
                    if let Some(feature) = backend.missing_feature() {
                        write!(f, " (needs the feature {feature:?} of the crate taskfarm)")?;
                    }
                }
                Ok(())
            }
            Kind::Unavailable(backend) => match backend.missing_feature() {
                Some(feature) => write!(
                    f,
                    "the program was built without the backend {backend}: switch on the feature \
                     {feature:?} of the crate taskfarm (cargo add taskfarm --features {feature})"
                ),
                None => write!(
                    f,
                    "the backend {backend} does not run in this process and takes function \
                     pointers only: build it with Backend::build_any"
                ),
            },
            Kind::Pool(error) => error.fmt(f),
        }
    }
}

/// The message: what a `main` that returns this error prints.
impl fmt::Debug for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for BackendError {}
