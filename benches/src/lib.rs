//! taskfarm's backends beside each other and beside their rivals.
//!
//! The library part is empty; `cargo bench -p taskfarm-benches` runs the benches.
