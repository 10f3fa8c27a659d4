//! [`Task`]: one submitted call, shared by the job that runs it and the handle that waits.
//!
//! # States
//!
//! | state | bits | entered by | left by |
//! |---|---|---|---|
//! | queued | none | [`Task::new`] | whoever claims it: a worker, a helping waiter, a cancel, a shutdown |
//! | claimed | `CLAIMED` | [`Head::claim`], once | the claimer, when it has stored the result |
//! | done | `CLAIMED`, `DONE` | [`Head::finish`], once | the handle that takes the result |
//! | taken | all three | [`Head::take`], once | nobody |
//!
//! `WATCHED` may be set in any state before done and says that the list of watchers is not
//! empty; `FAILED` comes with `DONE`.
//!
//! # Who may touch the slot
//!
//! 1. Queued: nobody.
//! 2. Claimed: only the thread whose `claim` returned `true`.
//! 3. Done: only the thread whose `take` returned `true`, and later `Drop`.
//!
//! # Why no waiter sleeps for ever
//!
//! A watcher is pushed under the lock, and then `WATCHED` is set. The finisher sets `DONE`,
//! and if it saw `WATCHED`, takes the lock and tells everybody on the list. Both are
//! read-modify-writes of one atomic, so one comes first: if `WATCHED` does, the finisher
//! sees it and tells; if `DONE` does, the watcher sees that and tells itself, still under
//! the lock.

#[cfg(all(test, not(taskfarm_loom)))]
mod tests;

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Instant;

use crate::cancel::CancelOutcome;
use crate::executor::token_on;
use crate::frame::{self, Running};
use crate::job::{Body, GaveUp};
use crate::panic::{Panic, catch, drop_quietly};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Condvar, Mutex, UnsafeCell};
use crate::{CancelReason, CancellationToken, TaskError, TaskErrorKind};

const CLAIMED: u8 = 1;
const DONE: u8 = 1 << 1;
const TAKEN: u8 = 1 << 2;
const WATCHED: u8 = 1 << 3;
const FAILED: u8 = 1 << 4;

/// What every task has, whatever its types.
pub(crate) struct Head {
    state: AtomicU8,
    executor: u64,
    side: Mutex<Side>,
}

/// What most tasks never use.
#[derive(Default)]
struct Side {
    watchers: Vec<Watcher>,
    token: Option<CancellationToken>,
    cancel: Option<CancelReason>,
}

/// Whoever wants to know that a task is done.
pub(crate) enum Watcher {
    /// Somebody who waits for this task, and the number that the task has there. Weak: a
    /// wait whose time ran out leaves nothing behind.
    Waiter(Weak<dyn Waiter>, usize),
    /// An async task.
    Waker(Waker),
    /// A call to make.
    Callback(Box<dyn FnOnce() + Send>),
    /// A call to make on a thread of its own.
    ThreadOfItsOwn(Box<dyn FnOnce() + Send>),
}

/// Somebody who waits for tasks.
pub(crate) trait Waiter: Send + Sync {
    /// The task with this number is done.
    fn task_is_done(&self, number: usize);
}

impl Watcher {
    fn is_alive(&self) -> bool {
        match self {
            Self::Waiter(waiter, _) => waiter.strong_count() > 0,
            Self::Waker(_) | Self::Callback(_) | Self::ThreadOfItsOwn(_) => true,
        }
    }

    fn tell(self) {
        match self {
            Self::Waiter(waiter, number) => {
                if let Some(waiter) = waiter.upgrade() {
                    waiter.task_is_done(number);
                }
            }
            Self::Waker(waker) => {
                if let Err(panic) = catch(|| waker.wake()) {
                    log::error!("a waker panicked: {panic}");
                }
            }
            Self::ThreadOfItsOwn(call) => {
                let builder = std::thread::Builder::new().name("taskfarm-done".to_owned());
                if let Err(error) = builder.spawn(|| Self::Callback(call).tell()) {
                    log::error!(
                        "no thread could be started for a callback, which is lost: {error}"
                    );
                }
            }
            Self::Callback(call) => {
                if let Err(panic) = catch(call) {
                    log::error!("a callback of a finished task panicked: {panic}");
                }
            }
        }
    }
}

impl Head {
    pub(crate) fn new(executor: u64) -> Self {
        Self {
            state: AtomicU8::new(0),
            executor,
            side: Mutex::new(Side::default()),
        }
    }

    pub(crate) fn executor(&self) -> u64 {
        self.executor
    }

    /// Takes the task for the caller, who must finish it. Once.
    pub(crate) fn claim(&self) -> bool {
        self.state.fetch_or(CLAIMED, Ordering::AcqRel) & CLAIMED == 0
    }

    /// Publishes the result that the claimer has stored, and tells the watchers.
    pub(crate) fn finish(&self, failed: bool) {
        let bits = if failed { DONE | FAILED } else { DONE };
        let before = self.state.fetch_or(bits, Ordering::AcqRel);
        debug_assert!(before & (CLAIMED | DONE) == CLAIMED);
        if before & WATCHED != 0 {
            let watchers = std::mem::take(&mut self.side.lock().watchers);
            watchers.into_iter().for_each(Watcher::tell);
        }
    }

    /// Takes the result for the caller. Once, after the task is done.
    pub(crate) fn take(&self) -> bool {
        self.is_done() && self.state.fetch_or(TAKEN, Ordering::AcqRel) & TAKEN == 0
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLAIMED != 0
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.load(Ordering::Acquire) & FAILED != 0
    }

    /// Has `watcher` told when the task is done, at once if it already is.
    pub(crate) fn watch(&self, watcher: Watcher) {
        let mut side = self.side.lock();
        if matches!(watcher, Watcher::Waker(_)) {
            // There is one handle, and only the last waker that it was polled with counts.
            side.watchers
                .retain(|old| !matches!(old, Watcher::Waker(_)));
        }
        // Nor must a thread that waits again and again for a short time.
        if side.watchers.len() == side.watchers.capacity() {
            side.watchers.retain(Watcher::is_alive);
        }
        side.watchers.push(watcher);
        let before = self.state.fetch_or(WATCHED, Ordering::AcqRel);
        let late = (before & DONE != 0).then(|| side.watchers.pop());
        drop(side);
        if let Some(Some(watcher)) = late {
            watcher.tell();
        }
    }

    /// Sets the token of the running task, now or when it asks for one.
    fn ask_to_stop(&self, reason: CancelReason) {
        let token = {
            let mut side = self.side.lock();
            side.cancel.get_or_insert(reason);
            side.token.clone()
        };
        if let Some(token) = token {
            token.cancel_because(reason);
        }
    }
}

impl Running for Head {
    fn token(&self) -> CancellationToken {
        let (token, cancel) = {
            let mut side = self.side.lock();
            let token = side.token.get_or_insert_with(|| token_on(self.executor));
            (token.clone(), side.cancel)
        };
        if let Some(reason) = cancel {
            token.cancel_because(reason);
        }
        token
    }
}

/// What a handle can do with its task, whatever runs it.
pub(crate) trait Joint<R, E>: Send + Sync {
    fn head(&self) -> &Head;

    /// Runs the task on this thread if it has not started anywhere. Whether it is done now.
    fn help(&self) -> bool;

    /// The result; `None` before it is done or after it was taken.
    fn take(&self) -> Option<Result<R, TaskError<E>>>;

    fn cancel(&self, reason: CancelReason) -> CancelOutcome;

    /// Whether the thread that ends the task belongs to the backend and must not run
    /// callbacks of the user.
    fn ends_on_backend(&self) -> bool {
        false
    }

    /// Waits as the backend can, if it has a way of its own. May return at any time, but
    /// does so soon after the task is done and soon after the deadline.
    fn wait(&self, _deadline: Option<Instant>) {}
}

/// A call of `f`, to be run once, with room for its result.
pub(crate) struct Task<F, R, E> {
    head: Head,
    slot: UnsafeCell<Slot<F, R, E>>,
}

enum Slot<F, R, E> {
    Waiting(F),
    Empty,
    Done(Result<R, TaskError<E>>),
}

// SAFETY: the slot is touched by one thread at a time (the rules at the top of the file),
// which only moves the values in it.
unsafe impl<F: Send, R: Send, E: Send> Sync for Task<F, R, E> {}

impl<F, R, E> Task<F, R, E>
where
    F: FnOnce() -> Result<R, E> + Send,
    R: Send,
    E: Send,
{
    pub(crate) fn new(executor: u64, f: F) -> Self {
        Self {
            head: Head::new(executor),
            slot: UnsafeCell::new(Slot::Waiting(f)),
        }
    }

    /// Moves the slot's content out. The caller has the right to, by the rules above.
    fn replace(&self, new: Slot<F, R, E>) -> Slot<F, R, E> {
        self.slot.with_mut(|slot| {
            // SAFETY: called only by the claimer before it finishes, or by the taker.
            unsafe { std::mem::replace(&mut *slot, new) }
        })
    }

    /// Runs a task that the caller has claimed.
    fn run_claimed(&self) {
        let Slot::Waiting(f) = self.replace(Slot::Empty) else {
            unreachable!("a claimed task has not run")
        };
        let caught = frame::enter(self.head.executor, &self.head, || catch(f));
        self.finish(cause(caught));
    }

    /// Ends a task that the caller has claimed without running it.
    fn end_claimed(&self, kind: TaskErrorKind<E>) {
        let unused = self.replace(Slot::Empty);
        drop_quietly(unused);
        self.finish(Err(kind));
    }

    fn finish(&self, result: Result<R, TaskErrorKind<E>>) {
        let failed = result.is_err();
        self.replace(Slot::Done(
            result.map_err(|kind| TaskError::new(0, 1, kind)),
        ));
        self.head.finish(failed);
    }
}

impl<F, R, E> Body for Task<F, R, E>
where
    F: FnOnce() -> Result<R, E> + Send,
    R: Send,
    E: Send,
{
    fn run(self: Arc<Self>) {
        if self.head.claim() {
            self.run_claimed();
        }
    }

    fn give_up(self: Arc<Self>, why: GaveUp) {
        if self.head.claim() {
            self.end_claimed(why.into_kind());
        }
    }
}

impl<F, R, E> Joint<R, E> for Task<F, R, E>
where
    F: FnOnce() -> Result<R, E> + Send,
    R: Send,
    E: Send,
{
    fn head(&self) -> &Head {
        &self.head
    }

    fn help(&self) -> bool {
        if self.head.claim() {
            self.run_claimed();
        }
        self.head.is_done()
    }

    fn take(&self) -> Option<Result<R, TaskError<E>>> {
        if !self.head.take() {
            return None;
        }
        match self.replace(Slot::Empty) {
            Slot::Done(result) => Some(result),
            Slot::Waiting(_) | Slot::Empty => unreachable!("a done task holds its result"),
        }
    }

    fn cancel(&self, reason: CancelReason) -> CancelOutcome {
        if self.head.claim() {
            self.end_claimed(TaskErrorKind::Cancelled(reason));
            return CancelOutcome::NotStarted;
        }
        if self.head.is_done() {
            return CancelOutcome::TooLate;
        }
        self.head.ask_to_stop(reason);
        CancelOutcome::Asked
    }
}

/// Something that one thread waits for and others set, once.
#[derive(Default)]
pub(crate) struct Signal {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Waiter for Signal {
    fn task_is_done(&self, _: usize) {
        self.set();
    }
}

impl Signal {
    pub(crate) fn set(&self) {
        *self.set.lock() = true;
        self.changed.notify_all();
    }

    /// Waits until it is set, or the deadline passes; whether it is set.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut set = self.set.lock();
        while !*set {
            match deadline {
                None => self.changed.wait(&mut set),
                Some(deadline) => {
                    if self.changed.wait_until(&mut set, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        *set
    }
}

impl GaveUp {
    /// How an item ends whose job was given up.
    pub(crate) fn into_kind<E>(self) -> TaskErrorKind<E> {
        match self {
            Self::Refused => TaskErrorKind::Refused,
            Self::ShutDown => TaskErrorKind::Cancelled(CancelReason::ShutDown),
            Self::Abandoned => TaskErrorKind::Cancelled(CancelReason::Abandoned),
            Self::Dropped => TaskErrorKind::Dropped,
        }
    }
}

/// A caught panic or the function's own error, as an item's cause.
pub(crate) fn cause<R, E>(caught: Result<Result<R, E>, Panic>) -> Result<R, TaskErrorKind<E>> {
    match caught {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(TaskErrorKind::Failed(error)),
        Err(panic) => Err(TaskErrorKind::Panicked(panic)),
    }
}
