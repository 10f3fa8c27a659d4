//! The executor contract of taskfarm.

mod cancel;
mod capabilities;
mod error;
mod executor;
mod frame;
mod job;
mod observer;
mod panic;
#[doc(hidden)]
pub mod sync;
mod workers;

pub use cancel::{CancelReason, CancellationToken};
pub use capabilities::{Capabilities, TimeLimits};
pub use error::{
    MapError, ProcessEnd, SetupError, SetupErrorKind, TaskError, TaskErrorKind, WorkerLost,
};
pub use executor::{Executor, ExecutorId, InProcess, Portable, SameBinary, Shutdown};
pub use job::Job;
pub use observer::{Observer, Progress, Report, Tally};
pub use panic::Panic;
pub use workers::{BuildError, NUM_WORKERS_VAR, num_workers};
