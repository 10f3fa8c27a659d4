//! Worker processes for taskfarm: the same `pool.map(items, |x| ..)`, in processes that may
//! crash.
//!
//! A segmentation fault, an `abort`, a call of `exit`, a stack overflow, an endless loop: on
//! threads each of them takes the program down or hangs it. Here it costs the one item that
//! ran, which ends as [`WorkerLost`](taskfarm_core::TaskErrorKind::WorkerLost) with the
//! signal or exit code; the worker is replaced, and everything else goes on.
//!
//! # Concepts
//!
//! - A [`ProcessPool`] is an [`Executor`](taskfarm_core::Executor) of reach
//!   [`SameBinary`](taskfarm_core::SameBinary): it runs `fn` pointers and closures that
//!   capture nothing, over inputs and outputs that serde can encode. What a closure would
//!   capture goes into the item, or into
//!   [`context`](taskfarm_core::SameBinaryExt::context), which is sent once per worker.
//! - Workers are copies of the running program that never reach `main`; nothing has to be
//!   called or declared for that. See [`StartMethod`] for the ways, and [`init`] for
//!   programs that want none of it to happen before `main`.
//! - A time limit or a cancellation kills the worker that runs the item, so it works on code
//!   that never looks at a token.
//!
//! # Example
//!
//! ```
//! use taskfarm_core::{ErrorPolicy, SameBinaryExt, TaskErrorKind};
//! use taskfarm_process::ProcessPool;
//!
//! let pool = ProcessPool::new(2)?;
//! let outcomes = pool
//!     .map(0..10_u32, |n| {
//!         if n == 7 {
//!             std::process::abort();
//!         }
//!         n * n
//!     })
//!     .on_error(ErrorPolicy::Collect)
//!     .outcomes()?;
//! for (n, outcome) in outcomes.iter().enumerate() {
//!     match outcome {
//!         Ok(square) => assert_eq!(*square as usize, n * n),
//!         Err(error) => {
//!             assert_eq!(error.index(), 7);
//!             assert!(matches!(error.kind(), TaskErrorKind::WorkerLost(_)));
//!         }
//!     }
//! }
//! assert_eq!(pool.stats().replaced, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When not to use it
//!
//! If the tasks cannot crash and the data is large or cannot be encoded, threads are faster
//! and take anything. In a plugin (a shared library in somebody else's program) there is no
//! program of yours to start copies of; building a pool there is an error.
//!
//! # How it works
//!
//! See [`protocol`].

#[cfg(doc)]
pub mod protocol {
    #![doc = include_str!("../PROTOCOL.md")]
}

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

mod builder;
mod control;
mod driver;
mod entry;
mod exit_code;
mod image;
mod info;
mod io_thread;
mod lane;
mod lanes;
mod message;
mod outcome_writer;
mod page;
mod patrol;
mod pool;
mod record;
mod ring;
mod seat;
mod start;
mod stats;
mod sys;
mod worker;
mod worker_lane;
mod zygote;

pub use builder::{Builder, StartMethod, WorkerOutput};
pub use entry::init;
pub use info::{RunningItem, WorkerInfo, WorkerState};
pub use pool::ProcessPool;
pub use stats::Stats;
pub use taskfarm_core::BuildError;
