//! Time limits: items that run too long are reported and left behind.
//!
//! A thread cannot be killed. What can be done is to set the item's token, report the
//! item as timed out at once, and discard the result that comes late. Whoever takes the
//! running item out of its lane, the lane itself or the limits, reports its outcome; so
//! there is one outcome.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Again, Flow, RunningItem};
use crate::cancel::OnCancel;
#[cfg(feature = "remote")]
use crate::control::Control;
use crate::lease::Lent;
use crate::panic::drop_quietly;
use crate::sync::{Condvar, Mutex};
use crate::work::Work;
use crate::{CancelReason, CancellationToken, SetupError, TaskErrorKind};

/// How long the running items of a map that has ended early may go on, unless the user
/// says otherwise.
pub(crate) const DEFAULT_GRACE: Duration = Duration::from_millis(100);

impl<It, W> Flow<It, W>
where
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    /// Ends what has exceeded its limits by `now`; says when to look again.
    pub(super) fn enforce(&self, now: Instant) -> Option<Instant> {
        let started = now.checked_sub(self.control.progress().elapsed());
        let deadline = started
            .zip(self.options.deadline)
            .and_then(|(started, deadline)| started.checked_add(deadline));
        if deadline.is_some_and(|deadline| now >= deadline) {
            self.control.stop(CancelReason::Deadline);
        }
        let stopped = self.control.stopped();
        let mut next = deadline.filter(|_| stopped.is_none());
        for lane in 0..self.lanes.len() {
            let again = self.enforce_on(lane, now, stopped);
            next = earlier(next, again);
        }
        if stopped.is_none() {
            // An item that starts after this look has its whole time before it.
            let fresh = self
                .options
                .timeout
                .and_then(|limit| now.checked_add(limit));
            next = earlier(next, fresh);
        }
        next
    }

    fn enforce_on(
        &self,
        lane: usize,
        now: Instant,
        stopped: Option<CancelReason>,
    ) -> Option<Instant> {
        let mut slot = self.lanes[lane].running.lock();
        let running = slot.as_ref()?;
        let (until, kind) = match stopped {
            Some(CancelReason::Deadline) if self.options.deadline.is_some() => {
                let limit = self.options.deadline.unwrap_or_default();
                (now, TaskErrorKind::TimedOut(limit))
            }
            Some(reason) => {
                let since = self.control.stopped_since(now);
                let until = since.checked_add(self.options.grace)?;
                (until, TaskErrorKind::Cancelled(reason))
            }
            None => {
                let limit = self.options.timeout?;
                let until = running.started.checked_add(limit)?;
                (until, TaskErrorKind::TimedOut(limit))
            }
        };
        if now < until {
            return Some(until);
        }
        let running = slot.take()?;
        drop(slot);
        self.leave_behind(lane, running, kind);
        None
    }

    /// Reports an item that still runs, or has it tried again.
    fn leave_behind(
        &self,
        lane: usize,
        running: RunningItem<It::Item>,
        kind: TaskErrorKind<W::Error>,
    ) {
        running.token.cancel();
        match running.spare {
            Some(item) if !self.control.is_stopped() => {
                self.control.count_retry();
                self.again.lock().push_back(Again {
                    index: running.index,
                    attempt: running.attempt + 1,
                    item,
                });
                self.bell.ring();
            }
            spare => {
                drop_quietly(spare);
                let error = self.control.fail(running.index, running.attempt, kind);
                self.post(lane, running.index, Err(error));
            }
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The thread that enforces the limits of one map. Dropping it ends and joins it.
pub(crate) struct LimitsThread {
    alarm: Arc<Alarm>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Alarm {
    state: Mutex<AlarmState>,
    changed: Condvar,
}

#[derive(Default)]
struct AlarmState {
    is_over: bool,
    /// Something happened that may have brought a limit nearer.
    is_due: bool,
}

impl LimitsThread {
    /// Starts the thread. `token` is the map's, whose cancellation starts the grace period.
    pub(crate) fn start(
        work: Arc<dyn Lent>,
        token: &CancellationToken,
    ) -> Result<Self, SetupError> {
        Self::spawn(token, move |now| work.enforce_limits(now))
    }

    /// The thread for a map whose only limit here is its deadline.
    #[cfg(feature = "remote")]
    pub(crate) fn for_deadline(control: Arc<Control>, limit: Duration) -> Result<Self, SetupError> {
        let deadline = Instant::now().checked_add(limit);
        let token = control.token().clone();
        Self::spawn(&token, move |now| {
            if deadline.is_some_and(|deadline| now >= deadline) {
                control.stop(CancelReason::Deadline);
            }
            deadline.filter(|_| !control.is_stopped())
        })
    }

    fn spawn(
        token: &CancellationToken,
        enforce: impl Fn(Instant) -> Option<Instant> + Send + 'static,
    ) -> Result<Self, SetupError> {
        let alarm = Arc::new(Alarm::default());
        token.listen(Arc::downgrade(&alarm) as _);
        let shared = alarm.clone();
        let thread = std::thread::Builder::new()
            .name("taskfarm-limits".to_owned())
            .spawn(move || shared.run(enforce))
            .map_err(|error| {
                SetupError::unsupported(format!(
                    "no thread could be started to enforce the time limits: {error}"
                ))
            })?;
        Ok(Self {
            alarm,
            thread: Some(thread),
        })
    }
}

impl Alarm {
    fn run(&self, enforce: impl Fn(Instant) -> Option<Instant>) {
        loop {
            let next = enforce(Instant::now());
            let mut state = self.state.lock();
            while !state.is_over && !state.is_due {
                match next {
                    None => self.changed.wait(&mut state),
                    Some(next) => {
                        if self.changed.wait_until(&mut state, next).timed_out() {
                            break;
                        }
                    }
                }
            }
            if state.is_over {
                return;
            }
            state.is_due = false;
        }
    }
}

impl OnCancel for Alarm {
    fn on_cancel(&self, _: CancelReason) {
        self.state.lock().is_due = true;
        self.changed.notify_all();
    }
}

impl Drop for LimitsThread {
    fn drop(&mut self) {
        self.alarm.state.lock().is_over = true;
        self.alarm.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            log::error!("the thread that enforces a map's limits panicked");
        }
    }
}
