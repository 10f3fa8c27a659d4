//! [`Observer`] and [`Progress`]: what can be seen of a map while it runs.
//!
//! Workers do not call observers for items that end well. They count, each in a cache
//! line of its own, and whoever wants to know reads the sums ([`Progress::tally`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::TaskErrorKind;
use crate::panic::catch;

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

/// The observers of one map, behind a fence that keeps their panics in.
pub(crate) struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self(observers)
    }

    pub(crate) fn is_some(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn start(&self, progress: &Arc<Progress>) {
        self.each(|observer| observer.on_start(progress));
    }

    pub(crate) fn failure(&self, index: usize, message: &str) {
        self.each(|observer| observer.on_failure(index, message));
    }

    pub(crate) fn finish(&self, report: &Report) {
        self.each(|observer| observer.on_finish(report));
    }

    fn each(&self, tell: impl Fn(&dyn Observer)) {
        for observer in &self.0 {
            if let Err(panic) = catch(|| tell(&**observer)) {
                log::error!("an observer panicked: {panic}");
            }
        }
    }
}

/// The live counters of one map. Reading them costs the workers nothing.
#[derive(Debug)]
pub struct Progress {
    total: Option<usize>,
    started: Instant,
    /// How many items ended well, one counter for each worker.
    ok: Box<[CachePadded<AtomicU64>]>,
    failed: AtomicU64,
    panicked: AtomicU64,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    lost: AtomicU64,
    retried: AtomicU64,
    /// The final word: workers that were left behind may go on counting.
    report: OnceLock<Report>,
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
            report: OnceLock::new(),
        }
    }

    /// How many items the map will have, where the input knows.
    pub fn total(&self) -> Option<usize> {
        self.total
    }

    /// The time since the map started, or that it took.
    pub fn elapsed(&self) -> Duration {
        match self.report.get() {
            Some(report) => report.elapsed,
            None => self.started.elapsed(),
        }
    }

    /// The items that have ended so far, by how they ended.
    pub fn tally(&self) -> Tally {
        match self.report.get() {
            Some(report) => report.tally,
            None => self.count(),
        }
    }

    fn count(&self) -> Tally {
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

    /// `num` more items of this lane ended well. One thread at a time for each lane: a load
    /// and a store, not the far dearer increment.
    #[inline]
    pub(crate) fn count_ok(&self, lane: usize, num: u64) {
        let counter = &self.ok[lane];
        counter.store(counter.load(Ordering::Relaxed) + num, Ordering::Relaxed);
    }

    pub(crate) fn count_retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failure<E>(&self, kind: &TaskErrorKind<E>) {
        let counter = match kind {
            TaskErrorKind::Failed(_) => &self.failed,
            TaskErrorKind::Panicked(_) | TaskErrorKind::InputPanicked(_) => &self.panicked,
            TaskErrorKind::TimedOut(_) => &self.timed_out,
            TaskErrorKind::Cancelled(_) => &self.cancelled,
            TaskErrorKind::WorkerLost(_)
            | TaskErrorKind::NotEncodable(_)
            | TaskErrorKind::NotDecodable(_)
            | TaskErrorKind::Undeliverable(_)
            | TaskErrorKind::Dropped
            | TaskErrorKind::Refused => &self.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes the books: of `num_items`, those that are not accounted for were cancelled.
    pub(crate) fn close(&self, num_items: usize) -> Report {
        let mut tally = self.count();
        tally.cancelled += (num_items as u64).saturating_sub(tally.total());
        *self.report.get_or_init(|| Report {
            tally,
            elapsed: self.started.elapsed(),
        })
    }

    /// The final word, or how things stand.
    pub(crate) fn report(&self) -> Report {
        Report {
            tally: self.tally(),
            elapsed: self.elapsed(),
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
