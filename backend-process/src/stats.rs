//! [`Stats`]: what a pool has seen so far.

use std::time::Duration;

/// What a pool has seen since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Worker processes started, replacements included.
    pub started: u64,
    /// Worker processes that ended without being told to: they crashed, or the pool killed
    /// them for a time limit or a cancellation.
    pub replaced: u64,
    /// How long their places were empty, in sum: from when the pool heard that a worker had
    /// ended to the hello of the next one.
    pub replacing: Duration,
    /// Items that ended with an outcome: a result, an error or a panic.
    pub items: u64,
    /// Items that were lost because their worker ended while they ran.
    pub lost: u64,
    /// Items that ran longer than their limit.
    pub timed_out: u64,
}
