//! [`Queues`]: where jobs wait, and each worker's own end of it, [`Local`].
//!
//! One injector takes jobs from outside; each worker has a deque for jobs that its own
//! jobs spawn and for the batches that it moves from the injector; the other workers
//! steal from it.
//!
//! Deques are first in, first out. Last in, first out would keep a recursion's data warm
//! in the cache, but jobs here are whole tasks and runners of maps: the oldest should run
//! first, a batch moved from the injector must not be turned round, and a task that
//! spawns tasks without end must not bury those it spawned before.
//!
//! crossbeam-deque has no loom support, so models get a stand-in with the same interface
//! that is as weakly ordered as the real thing.

#[cfg(taskfarm_loom)]
mod model;
#[cfg(not(taskfarm_loom))]
mod real;

#[cfg(taskfarm_loom)]
pub(crate) use model::{CURRENT, Local, Queues};
#[cfg(not(taskfarm_loom))]
pub(crate) use real::{CURRENT, Local, Queues};
