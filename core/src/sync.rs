//! The one door to locks, atomics, cells and threads.
//!
//! Normally these are the real ones. Under `--cfg taskfarm_loom` they are the model
//! checker's, behind the same names and signatures, so that the code that uses them
//! does not know. Backends of this workspace go through this door too; it is not
//! public API.

#[cfg(taskfarm_loom)]
mod model;
#[cfg(not(taskfarm_loom))]
mod real;

#[cfg(taskfarm_loom)]
pub use model::*;
#[cfg(not(taskfarm_loom))]
pub use real::*;
