//! All backends of the facade against each other, on the same inputs.

mod backend;
#[cfg(feature = "threads")]
mod bugs;
mod maps;
