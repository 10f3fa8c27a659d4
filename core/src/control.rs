//! [`Control`]: what all parts of one running map share, whatever runs it.
//!
//! It knows the error policy and decides when the map stops; it owns the token that
//! running items look at, counts how items end, and tells the observers.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::map::Ended;
use crate::observer::Observers;
use crate::options::Options;
use crate::panic::catch;
use crate::{
    CancelReason, CancellationToken, ErrorPolicy, Executor, Progress, Report, TaskError,
    TaskErrorKind,
};

/// The state of a map that is not about single items.
pub(crate) struct Control {
    policy: ErrorPolicy,
    /// Cancelled when the map stops early. Running items look at it.
    token: CancellationToken,
    progress: Arc<Progress>,
    observers: Observers,
    failures: AtomicU64,
    is_finished: AtomicBool,
    stopped_since: OnceLock<Instant>,
}

/// `StopAbove` is not judged before so many items have ended.
const ENOUGH_TO_JUDGE: u64 = 100;

impl Control {
    /// Starts a map of `total` items, if known, on `lanes` workers.
    pub(crate) fn new<E, I>(
        executor: &E,
        options: &mut Options<I>,
        total: Option<usize>,
        lanes: usize,
    ) -> Self
    where
        E: Executor + ?Sized,
    {
        let control = Self {
            policy: options.policy,
            token: executor.id().abort_token().child(),
            progress: Arc::new(Progress::new(total, lanes)),
            observers: Observers::new(std::mem::take(&mut options.observers)),
            failures: AtomicU64::new(0),
            is_finished: AtomicBool::new(false),
            stopped_since: OnceLock::new(),
        };
        // A map inside a task stops with the task.
        let above = [options.token.take(), crate::frame::current_token()];
        for above in above.into_iter().flatten() {
            above.adopt_map(&control.token);
        }
        control.observers.start(&control.progress);
        control
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Whether anybody looks at the counters while the map runs.
    pub(crate) fn is_observed(&self) -> bool {
        self.observers.is_some()
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether no item may start any more. One load.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Why the map stopped early, if it did.
    pub(crate) fn stopped(&self) -> Option<CancelReason> {
        self.token.reason()
    }

    /// When the map was first seen to have stopped: `now`, or at an earlier call.
    pub(crate) fn stopped_since(&self, now: Instant) -> Instant {
        *self.stopped_since.get_or_init(|| now)
    }

    pub(crate) fn stop(&self, reason: CancelReason) {
        self.token.cancel_because(reason);
    }

    /// The item at `index` is about to be tried again.
    pub(crate) fn count_retry(&self) {
        self.progress.count_retry();
    }

    /// Accounts for an item that has no result, for good: counts and logs it, tells the
    /// observers, and stops the map if the policy says so.
    pub(crate) fn fail<E: fmt::Display>(
        &self,
        index: usize,
        attempt: u32,
        kind: TaskErrorKind<E>,
    ) -> TaskError<E> {
        self.progress.count_failure(&kind);
        let is_cancelled = matches!(kind, TaskErrorKind::Cancelled(_));
        let ends_input = matches!(kind, TaskErrorKind::InputPanicked(_));
        let error = TaskError::new(index, attempt, kind);
        if is_cancelled {
            return error;
        }
        let num_failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_too_much(num_failures) {
            self.stop(CancelReason::OtherFailed);
        }
        self.tell_failure(index, &error, ends_input);
        error
    }

    /// Logs a failure if it is skipped, and tells the observers.
    fn tell_failure<E: fmt::Display>(&self, index: usize, error: &TaskError<E>, ends_input: bool) {
        if self.is_finished.load(Ordering::Acquire) {
            // Left behind: the books are closed.
            return;
        }
        let is_logged = self.policy == ErrorPolicy::Skip && !ends_input;
        if !is_logged && !self.observers.is_some() {
            return;
        }
        // Printing an error is user code, and so may be the logger. A panic that left here
        // would cost the item its outcome.
        let message = catch(|| error.to_string()).unwrap_or_else(|panic| {
            format!("item {index} failed, and its error panicked: {panic}")
        });
        if is_logged && let Err(panic) = catch(|| log::warn!("skipped: {message}")) {
            log::error!("the logger panicked: {panic}");
        }
        self.observers.failure(index, &message);
    }

    fn is_too_much(&self, num_failures: u64) -> bool {
        match self.policy {
            ErrorPolicy::FailFast => true,
            ErrorPolicy::Collect | ErrorPolicy::Skip => false,
            ErrorPolicy::StopAfter(limit) => num_failures >= limit as u64,
            ErrorPolicy::StopAbove(percent) => {
                let ended = self.progress.tally().total();
                ended >= ENOUGH_TO_JUDGE && num_failures as f64 * 100.0 > percent * ended as f64
            }
        }
    }

    /// Whether results other than the failures are still wanted from a stopped map.
    pub(crate) fn fails_fast(&self) -> bool {
        self.policy == ErrorPolicy::FailFast
    }

    /// Stops the map, unless it has ended: nobody wants its results any more.
    pub(crate) fn abandon(&self, num_pulled: usize) {
        if !self.is_finished.load(Ordering::Acquire) {
            self.stop(CancelReason::Abandoned);
            self.finish(num_pulled);
        }
    }

    /// Ends the map: of all items that were pulled or are known to be in the input, those
    /// that nobody accounted for count as cancelled. Only the first call counts.
    pub(crate) fn finish(&self, num_pulled: usize) {
        let num_items = num_pulled.max(self.progress.total().unwrap_or(0));
        if !self.is_finished.swap(true, Ordering::AcqRel) {
            let report = self.progress.close(num_items);
            self.observers.finish(&report);
        }
    }

    /// How the map went, and whether it ended early.
    pub(crate) fn ended(&self) -> Ended {
        Ended {
            report: self.report(),
            stopped: self.stopped(),
        }
    }

    /// How the map went. It must be finished.
    pub(crate) fn report(&self) -> Report {
        self.progress.report()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Whatever happened, observers hear of the end once.
        self.finish(0);
    }
}
