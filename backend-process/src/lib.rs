//! Worker processes for taskfarm.
//!
//! This crate is empty: it reserves the name and the place. The facade gains its
//! `process` feature with the first version that runs tasks.
