//! What most programs need: `use taskfarm::prelude::*;`
//!
//! The extension traits, the pools, and the few types that calls name.

#[cfg(feature = "rayon")]
#[doc(no_inline)]
pub use crate::RayonPool;
#[cfg(feature = "threads")]
#[doc(no_inline)]
pub use crate::ThreadPool;
#[cfg(feature = "process")]
#[doc(no_inline)]
pub use crate::{AnyPool, ProcessPool, SameBinary, SameBinaryExt};
#[doc(no_inline)]
pub use crate::{
    Backend, CancellationToken, ErrorPolicy, Executor, Handle, InProcess, InProcessExt,
    InlineExecutor, Shutdown, TaskError, TaskErrorKind, When,
};
#[cfg(feature = "progress")]
#[doc(no_inline)]
pub use crate::{MapProgressExt, ProgressBar};
