//! The executor contract of taskfarm.

mod bell;
mod cancel;
mod capabilities;
#[cfg(feature = "conformance")]
pub mod conformance;
mod control;
mod crew;
mod error;
mod events;
mod executor;
mod flow;
mod frame;
mod handle;
mod in_process;
mod inline;
mod job;
mod lease;
mod map;
mod observer;
mod options;
mod pace;
mod panic;
#[cfg(feature = "remote")]
pub mod remote;
mod scope;
mod slots;
mod stream;
#[doc(hidden)]
pub mod sync;
mod task;
mod wait;
mod work;
mod workers;

pub use cancel::{CancelOutcome, CancelReason, CancellationToken};
pub use capabilities::{Capabilities, TimeLimits};
pub use crew::{Crew, StateCrew};
pub use error::{
    MapError, ProcessEnd, SetupError, SetupErrorKind, TaskError, TaskErrorKind, WorkerLost,
};
pub use executor::{Executor, ExecutorId, InProcess, Portable, SameBinary, Shutdown};
pub use handle::Handle;
pub use in_process::InProcessExt;
pub use inline::InlineExecutor;
pub use job::Job;
pub use map::Map;
pub use observer::{Observer, Progress, Report, Tally};
pub use options::ErrorPolicy;
pub use panic::Panic;
pub use scope::Scope;
pub use stream::{AsCompleted, Ordered};
pub use wait::{AsCompletedHandles, When, as_completed, wait};
pub use work::Work;
pub use workers::{BuildError, NUM_WORKERS_VAR, num_workers};
