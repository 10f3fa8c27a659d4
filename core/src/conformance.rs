#![doc = include_str!("conformance/guide.md")]
//!
//! # How the kit is made
//!
//! There is one list of cases (`list.rs`). Each has a [`Rule`], a name that is a sentence,
//! and what it needs of an executor. The macro [`conformance!`](crate::conformance!) makes
//! a `#[test]` of each entry; [`run`] and [`main`] walk the same list at run time, the latter
//! for targets with `harness = false`.
//!
//! Cases that only look at results and at the caller's side of a map (folder `any/`) are
//! written with functions that capture nothing over values that can be encoded, and are
//! compiled once for each reach. So an executor whose workers are other processes runs
//! them unchanged. Cases that look into running tasks through shared memory (folder
//! `in_process/`) need closures; the others skip them and say so.
//!
//! Cases run one at a time, each with a deadline: in a thread of its own, or under [`main`] in
//! a process of its own. After each the kit looks for threads, child processes and
//! descriptors that were left behind, on Linux; put the kit into a test target of its own, so
//! that other tests do not look like leaks.

mod case;
mod gate;
mod in_process;
mod leaks;
mod list;
mod own_process;
mod rule;
mod run;
#[cfg(feature = "remote")]
mod same_binary;
mod subject;
mod watched;

pub use case::{Case, Class, Need, cases};
pub use own_process::main;
pub use rule::Rule;
pub use run::{Failure, Report, Verdict, check, run, run_case};
pub use subject::{Reach, Subject};
