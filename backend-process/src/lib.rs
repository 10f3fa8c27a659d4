//! Worker processes for taskfarm.

mod builder;
mod control;
mod driver;
mod entry;
mod image;
mod info;
mod io_thread;
mod lane;
mod lanes;
mod message;
mod page;
mod pool;
mod record;
mod ring;
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
