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
    /// The encoded bytes of the items that it has, waiting ones included.
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
    /// Its index in the input of its map; 0 for a submitted task.
    pub index: usize,
    /// Since when: exact for items with a time limit, and for others no later than the
    /// item's start (when the worker began this chunk of the map): reading the clock for each
    /// would cost as much as a small item.
    pub since: Instant,
}
