//! [`Observer`] and [`Progress`]: what can be seen of a map while it runs.
//!
//! Workers do not call observers for items that end well. They count, each in a cache
//! line of its own, and whoever wants to know reads the sums ([`Progress::tally`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// Watches a map.
///
/// All methods do nothing by default. They are called on the caller's thread or on a
/// worker, never two at once for one event, and a panic in them is caught and logged: an
/// observer cannot harm the map. Slow observers of failures slow the worker that failed.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use taskfarm_core::{InProcessExt, InlineExecutor, Observer, Report};
///
/// struct Print;
/// impl Observer for Print {
///     fn on_finish(&self, report: &Report) {
///         println!("{} items in {:?}", report.tally().total(), report.elapsed());
///     }
/// }
///
/// let doubled: Vec<i32> = InlineExecutor::new().map(0..10, |n| n * 2).observe(Print).collect()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send + Sync {
    /// The map is about to start. `progress` may be kept and read from any thread, also
    /// after the map has ended.
    fn on_start(&self, progress: &Arc<Progress>) {
        let _ = progress;
    }

    /// The item at `index` failed for good, as `message` says.
    fn on_failure(&self, index: usize, message: &str) {
        let _ = (index, message);
    }

    /// Every item is accounted for; called exactly once for each
    /// [`on_start`](Self::on_start).
    fn on_finish(&self, report: &Report) {
        let _ = report;
    }
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn on_start(&self, progress: &Arc<Progress>) {
        (**self).on_start(progress);
    }

    fn on_failure(&self, index: usize, message: &str) {
        (**self).on_failure(index, message);
    }

    fn on_finish(&self, report: &Report) {
        (**self).on_finish(report);
    }
}

/// The live counters of one map. Reading them costs the workers nothing.
#[derive(Debug)]
pub struct Progress {
    total: Option<usize>,
    started: Instant,
    ok: Box<[CachePadded<AtomicU64>]>,
    failed: AtomicU64,
    panicked: AtomicU64,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    lost: AtomicU64,
    retried: AtomicU64,
}

impl Progress {
    pub(crate) fn new(total: Option<usize>, lanes: usize) -> Self {
        Self {
            total,
            started: Instant::now(),
            ok: (0..lanes.max(1)).map(|_| CachePadded::default()).collect(),
            failed: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        }
    }

    /// How many items the map will have, where the input knows.
    pub fn total(&self) -> Option<usize> {
        self.total
    }

    /// The time since the map started.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The items that have ended so far, by how they ended.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            ok: self.ok.iter().map(|lane| read(lane)).sum(),
            failed: read(&self.failed),
            panicked: read(&self.panicked),
            timed_out: read(&self.timed_out),
            cancelled: read(&self.cancelled),
            lost: read(&self.lost),
            retried: read(&self.retried),
        }
    }
}

/// How many items of a map ended in which way. Items, never chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Gave a result.
    pub ok: u64,
    /// Returned an error.
    pub failed: u64,
    /// Panicked.
    pub panicked: u64,
    /// Ran longer than their limit.
    pub timed_out: u64,
    /// Were pulled from the input, or known to be in it, and not started.
    pub cancelled: u64,
    /// Were lost with their worker, could not be encoded, or were dropped by the executor.
    pub lost: u64,
    /// Attempts that failed and were repeated. Not part of [`total`](Self::total).
    pub retried: u64,
}

impl Tally {
    /// All items that are accounted for.
    pub fn total(&self) -> u64 {
        self.ok + self.failures() + self.cancelled
    }

    /// Items that were started and did not give a result.
    pub fn failures(&self) -> u64 {
        self.failed + self.panicked + self.timed_out + self.lost
    }
}

/// How a map went, once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
}

impl Report {
    /// How many items ended in which way.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Wall time from the start of the map to its end.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}
