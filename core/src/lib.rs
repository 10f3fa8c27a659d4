//! The executor contract of taskfarm.

mod cancel;
mod capabilities;
mod error;
mod executor;
mod frame;
mod job;
mod observer;
mod panic;
#[cfg(feature = "remote")]
pub mod remote;
#[doc(hidden)]
pub mod sync;
mod work;
mod workers;

pub use cancel::{CancelOutcome, CancelReason, CancellationToken};
pub use capabilities::{Capabilities, TimeLimits};
pub use error::{
    MapError, ProcessEnd, SetupError, SetupErrorKind, TaskError, TaskErrorKind, WorkerLost,
};
pub use executor::{Executor, ExecutorId, InProcess, Portable, SameBinary, Shutdown};
pub use job::Job;
pub use observer::{Observer, Progress, Report, Tally};
pub use panic::Panic;
pub use work::Work;
pub use workers::{BuildError, NUM_WORKERS_VAR, num_workers};
