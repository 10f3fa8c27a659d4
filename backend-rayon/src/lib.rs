//! [Rayon](rayon) as an executor of taskfarm.
//!
//! A [`RayonPool`] runs taskfarm's tasks and maps on Rayon's threads: on threads of its own,
//! on a pool that the program already has, or on Rayon's global one. Order, errors,
//! back-pressure and cancellation are taskfarm's; what Rayon itself offers stays within
//! reach through [`RayonPool::as_rayon`] and [`RayonPool::install`].
//!
//! # When to use it, and when not
//!
//! Use it in a program that uses Rayon anyway: one set of threads then does both kinds of
//! work, and no more threads compute than there are CPUs. Use `taskfarm-threads` otherwise:
//! it starts its threads on demand, is faster at single tasks, and does not have the next
//! section.
//!
//! # What Rayon does while it waits
//!
//! A thread that waits inside Rayon (in `join`, `scope` or a parallel iterator) runs
//! *other* jobs meanwhile, of whatever kind ([rayon#592]). So if a task uses Rayon's own
//! parallelism, another task may run on top of it, in the middle of it. Two things follow:
//!
//! - A lock that a task holds while it uses Rayon's parallelism may be asked for by the task
//!   on top, on the same thread: a deadlock, or a panic of a `RefCell`.
//! - A task on top that waits for the handle of the task below waits for ever.
//!
//! Waiting for taskfarm's own handles, maps and scopes does not do this: a thread that
//! waits for them runs only what it waits for, and sleeps otherwise. So tasks that nest
//! through taskfarm alone are safe here too, with one thread too.
//!
//! # Examples
//!
//! ```
//! use rayon::prelude::*;
//! use taskfarm_core::InProcessExt;
//! use taskfarm_rayon::RayonPool;
//!
//! let pool = RayonPool::new(2)?;
//! let lengths: Vec<usize> = pool.map(["a", "bcd"], str::len).collect()?;
//! assert_eq!(lengths, [1, 3]);
//!
//! // The same threads, Rayon's way.
//! let sum: usize = pool.install(|| lengths.par_iter().sum());
//! assert_eq!(sum, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [rayon#592]: https://github.com/rayon-rs/rayon/issues/592
#![forbid(unsafe_code)]

mod builder;
mod pool;
mod queue;
mod threads;

pub use builder::RayonPoolBuilder;
pub use pool::RayonPool;
