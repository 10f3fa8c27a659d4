//! [`WorkerInfo`]: what a worker is doing at this moment.

use std::time::Instant;

/// What a worker is doing at this moment; see [`ProcessPool::workers`](crate::ProcessPool::workers).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its process id.
    pub pid: u32,
    /// Where it is in its life.
    pub state: WorkerState,
    /// The item that it runs, if it runs one.
    pub item: Option<RunningItem>,
    /// The items that it has ended.
    pub items_done: u64,
    /// The encoded bytes of the jobs that it has, waiting ones included.
    pub bytes_in_flight: usize,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// The process exists and is getting ready.
    Starting,
    /// It waits for work.
    Idle,
    /// It has work.
    Busy,
    /// It was told to leave.
    Leaving,
    /// It was killed, and is about to be replaced if there is work.
    Dying,
}

/// The item that a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningItem {
    /// A number for the job that the item belongs to: a submitted task, or a part of a map.
    pub job: u64,
    /// The position of the item in its job.
    pub position: usize,
    /// Since when: exact for items with a time limit, and for others no later than the
    /// item's start (when the worker began this part of the job).
    pub since: Instant,
}
