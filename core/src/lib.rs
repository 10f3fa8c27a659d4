//! The executor contract of taskfarm: one function over many inputs, on whatever should do
//! the work.
//!
//! This crate is for those who write an [`Executor`]; those who use one depend on the facade
//! `taskfarm`, which re-exports what they need. Order, errors, chunks, limits, cancellation,
//! back-pressure and progress are written here once, so they mean the same everywhere. A
//! backend runs jobs, and nothing else.
//!
//! # Words
//!
//! - An **executor** has **workers**, each of which runs one **job** at a time.
//! - A **task** is one call of a function. It is submitted alone, and a [`Handle`] gives its
//!   result; or it is the call on one **item** of a map.
//! - A [`Map`] is one function over many items, with options. It becomes one or a few jobs
//!   for each worker, not one for each item.
//! - A **chunk** is a run of items that a worker claims at once. It shows nowhere but in the
//!   speed.
//! - The **outcome** of an item is its result or a [`TaskError`]: which item, which attempt,
//!   what happened.
//! - An [`ErrorPolicy`] says what failures do to the rest of the map.
//! - The **reach** of an executor says what may become a job there: any closure
//!   ([`InProcess`]), or only what another process of this binary can run
//!   ([`SameBinary`]).
//!
//! # Example
//!
//! ```
//! use taskfarm_core::{ErrorPolicy, InProcessExt, InlineExecutor};
//!
//! let executor = InlineExecutor::new();
//! let outcomes = executor
//!     .try_map(["8", "nine", "10"], |text| text.parse::<u8>())
//!     .on_error(ErrorPolicy::Collect)
//!     .outcomes()?;
//! assert_eq!(*outcomes[0].as_ref().unwrap(), 8);
//! let error = outcomes[1].as_ref().unwrap_err();
//! assert_eq!(error.to_string(), "item 1 failed: invalid digit found in string");
//! # Ok::<(), taskfarm_core::SetupError>(())
//! ```
//!
//! # The contract
//!
//! | rule | what holds on every executor |
//! |---|---|
//! | ORD-1 | `collect` and `ordered` keep the input's order; `as_completed` yields each item soon after it ends, whatever the chunk |
//! | ONCE-1 | each item has one outcome; without retries it starts at most once |
//! | LAZY-1 | items pulled and not delivered stay within a bound; endless inputs work |
//! | LAZY-2 | the input iterator is never entered by two threads at once; a panic in it is an error of the map |
//! | CHUNK-1 | results, errors, limits, progress and cancellation are per item, whatever the chunk |
//! | ERR-1 | once a fail-fast map knows a failure, no item starts. It returns when the running items have ended: at once with a time limit or as an iterator, which leave behind what ignores its token |
//! | ERR-2 | of the failures known then, fail-fast reports the lowest index |
//! | ERR-3 | `outcomes` has one entry for each item; `Skip` gives the successes in order, and logs each failure |
//! | PAN-1 | a panic is its item's outcome, with message and place; the worker goes on |
//! | CAN-1 | `cancel` says truthfully what it did: [`CancelOutcome`] |
//! | TIME-1 | a time limit counts from the item's own start |
//! | TIME-2 | every wait has a form with a timeout, which leaves the task alone |
//! | NEST-1 | submitting and waiting inside a task never deadlocks, with one worker too |
//! | DROP-1 | dropping an executor ends its work as it documents, and leaves nothing behind |
//! | SHUT-1 | after a shutdown new work is refused, and every handle resolves |
//! | ZERO-1 | no items, one item, more workers than items, chunks larger than the input; zero workers are an error |
//! | OBS-1 | observers hear of every item once; a panic in them harms nothing |
//! | RES-1 | nothing of a failed call shows in the next one |
//! | REM-1 to 4 | (worker processes) one crash costs one item; what cannot be encoded is its item's error; no worker outlives its parent; nothing that tasks do to their own process disturbs the protocol |
//!
//! A time limit cannot stop a thread. An item that exceeds it ends as
//! [`TimedOut`](TaskErrorKind::TimedOut) at once, and its late result is discarded; but its
//! worker is busy until the function returns. Functions that may run long should look at
//! their [`CancellationToken::current`]; functions that may hang belong into a process.
//!
//! # When not to use it
//!
//! - For data-parallel algorithms (`join`, sorting, reductions over slices) use Rayon.
//! - For waiting on many sockets use an async runtime; a worker that waits is a thread.

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
#[cfg(all(test, taskfarm_loom))]
mod loom_models;
mod map;
mod observer;
mod options;
mod pace;
mod panic;
#[cfg(feature = "remote")]
pub mod remote;
#[cfg(feature = "remote")]
mod same_binary;
mod scope;
mod slots;
mod source;
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
#[cfg(feature = "remote")]
pub use same_binary::{SameBinaryExt, Wire};
pub use scope::Scope;
pub use stream::{AsCompleted, Ordered};
pub use wait::{AsCompletedHandles, When, as_completed, wait};
pub use work::Work;
pub use workers::{BuildError, NUM_WORKERS_VAR, check_thread_options, num_workers};
