//! The work-stealing thread pool of taskfarm.
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
