//! Jobs that leave the process: what to run, the encoded items, and a reply to complete.
//!
//! A backend whose workers are elsewhere calls [`Job::into_remote`](crate::Job::into_remote)
//! on each job it gets, moves the bytes, and completes the [`Reply`]. On the other side it
//! calls [`Function::call`] with a [`Port`] that hands out items and collects outcomes.
//! What the bytes mean is this crate's business alone: items are encoded on the thread
//! that submits, results are decoded on the thread that waits, and a backend never runs
//! user code.

mod bundle;
mod chunk;
mod codec;
mod collected;
mod function;
mod hooks;
mod job;
mod port;
mod run;
mod shipper;
mod sink;
mod task;

pub use bundle::Bundle;
pub use function::{Function, InitPointer, Remotable};
pub use job::{Indices, Loss, RemoteJob, Reply, Setup, WaitHook};
pub use port::{KeptState, Port};
pub use run::{Alarm, Cursor, Filled, Items, Log, Mark, Marks, Run};
pub use sink::{Sink, Written};

#[doc(hidden)]
pub use crate::panic::enter_worker;

pub(crate) use job::RemoteBody;
pub(crate) use shipper::Shipper;
pub(crate) use task::RemoteTask;
