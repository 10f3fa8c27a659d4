//! What differs from platform to platform, and all `unsafe` that talks to the kernel.
//!
//! Everything above this module is safe code over the types that it exports. A port to
//! another system writes the same names in a second module.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "taskfarm-process needs Linux for now (pidfd, memfd, `/proc/self/exe`). \
     Use `taskfarm-threads` or `taskfarm-rayon` here: the calls are the same."
);

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "taskfarm-process needs a 64-bit system for now (positions and bundles count in 64 bits). \
     Use `taskfarm-threads` or `taskfarm-rayon` here: the calls are the same."
);

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
