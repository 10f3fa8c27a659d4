//! The work-stealing thread pool of taskfarm.
//!
//! [`ThreadPool`] is an [`Executor`](taskfarm_core::Executor) for work in this process. What
//! one does with it (`submit`, `map`, `scope`) comes from `taskfarm-core` and is the same on
//! every executor.
//!
//! ```
//! use taskfarm_core::Executor;
//! use taskfarm_threads::ThreadPool;
//!
//! let pool = ThreadPool::builder().num_workers(4).name("hash").build()?;
//! assert_eq!(pool.parallelism().get(), 4);
//! # Ok::<(), taskfarm_core::BuildError>(())
//! ```
//!
//! # Words
//!
//! - A **worker** is a place for one thread. Its thread starts when there is more work than
//!   awake workers, and ends with the pool.
//! - A **job** is what a worker runs at a time: a submitted task, or a share of a map.
//! - The **injector** is the queue for jobs from outside. Each worker also has a **deque**
//!   of its own, for jobs that its jobs spawn; idle workers **steal** from it.
//!
//! # The contract
//!
//! - No more than `num_workers` jobs run at the same time; and while a job waits, no worker
//!   rests.
//! - Jobs start roughly in the order in which they were spawned.
//! - An idle pool uses no CPU time: after a search of some microseconds its threads sleep.
//! - Each accepted job is run or cancelled, once, whatever happens to the pool. After
//!   [`shutdown`](taskfarm_core::Executor::shutdown) jobs are handed back.
//! - A panic ends neither a thread nor the pool.
//!
//! # When not to use it
//!
//! For tasks that may crash the program, that must be killed when they take too long, or
//! that are not safe to run twice in one process, use worker processes. In a program that
//! runs on Rayon anyway, its pool is at hand, and two pools share the CPUs badly.

#![forbid(unsafe_code)]

mod builder;
mod crew;
mod gate;
#[cfg(all(test, taskfarm_loom))]
mod loom_models;
mod pool;
mod queue;
mod sleep;
mod worker;

pub use builder::ThreadPoolBuilder;
pub use pool::ThreadPool;
