//! [`Lease`]: work that several jobs share, and that may borrow from the caller's stack.
//!
//! A map or a scope is one piece of work. It is lent to the executor as a number of
//! *tickets*, jobs that all hold the same lease; a worker that runs a ticket takes part in
//! the work until there is nothing left to take. The caller waits, and then *revokes* the
//! lease: tickets that are still queued find nothing any more, so nobody waits for them
//! (with one worker, the caller may be the very thread that would have to run them).
//!
//! # Why borrowed data is safe
//!
//! 1. The work is reachable only through `State::work` and through the clones that
//!    [`Lease::enter`] makes of it under the lock.
//! 2. A worker drops its clone before it takes itself off `State::active`, under the lock.
//! 3. [`lend`] takes `work` out of the state and then waits until `active` is zero, also
//!    when the caller's closure unwinds. From then on there is no way to the work but the
//!    caller's own reference.
//!
//! A job that an executor leaks holds only the lease. A worker that never returns hangs
//! the caller, which is safe.

use std::sync::Arc;
use std::time::Instant;

use crate::cancel::OnCancel;
use crate::frame;
use crate::job::{Body, GaveUp, Job};
use crate::panic::catch;
use crate::sync::{Condvar, Mutex};
use crate::{CancelReason, CancellationToken, Executor};

/// Work to take part in.
pub(crate) trait Lent: Send + Sync {
    /// Works on this thread until there is nothing left to take. Must not unwind.
    fn work(&self);

    /// Whether there is nothing left to take. Called under the lease's lock.
    fn is_exhausted(&self) -> bool;

    /// The token of whoever works.
    fn token(&self) -> &CancellationToken;

    /// A ticket has ended: it ran, or was given up. Called outside of all locks of the lease.
    fn ticket_ended(&self, lost: Option<GaveUp>) {
        let _ = lost;
    }

    /// Ends what has exceeded its limits by now, and says when to look again at the latest.
    fn enforce_limits(&self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }
}

/// Work on loan to an executor.
pub(crate) struct Lease {
    executor: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// `None` once revoked.
    work: Option<Arc<dyn Lent>>,
    /// Threads that are inside the work.
    active: usize,
    /// Jobs that have neither run nor been given up.
    tickets: usize,
    /// Why the last ticket was given up, if one was.
    lost: Option<GaveUp>,
}

/// Lends `work`, which may borrow, to the executor while `body` runs.
///
/// Returns, also by unwinding, only when no other thread can reach the work any more.
pub(crate) fn lend<'env, R>(
    executor: u64,
    work: Arc<dyn Lent + 'env>,
    body: impl FnOnce(&Arc<Lease>) -> R,
) -> R {
    struct Revoke<'a>(&'a Lease);
    impl Drop for Revoke<'_> {
        fn drop(&mut self) {
            self.0.revoke();
        }
    }

    // SAFETY: the work is not used after `Revoke` has run, by the argument at the top of
    // this file; `Revoke` runs before this function returns.
    let lease = Lease::new(executor, unsafe { forget_lifetime(work) });
    let _revoke = Revoke(&lease);
    body(&lease)
}

/// The same work, as if it borrowed nothing.
///
/// # Safety
///
/// It borrows nothing, or is not used once what it borrows is gone.
pub(crate) unsafe fn forget_lifetime<'env>(work: Arc<dyn Lent + 'env>) -> Arc<dyn Lent> {
    // SAFETY: only the lifetime changes, and the caller vouches for that.
    unsafe { std::mem::transmute(work) }
}

impl Lease {
    /// A lease of work that borrows nothing: it may outlive its caller.
    pub(crate) fn new(executor: u64, work: Arc<dyn Lent>) -> Arc<Self> {
        Arc::new(Self {
            executor,
            state: Mutex::new(State {
                work: Some(work),
                active: 0,
                tickets: 0,
                lost: None,
            }),
            changed: Condvar::new(),
        })
    }

    /// Hands one more ticket to the executor.
    pub(crate) fn spawn<E: Executor + ?Sized>(self: &Arc<Self>, executor: &E) {
        self.state.lock().tickets += 1;
        if let Err(job) = executor.spawn(Job::new(self.clone())) {
            job.refuse();
        }
    }

    /// Has waiters look again when the work's token is cancelled.
    pub(crate) fn wake_on_cancel(self: &Arc<Self>) {
        if let Some(work) = self.enter() {
            work.token().listen(Arc::downgrade(self) as _);
            drop(work);
            self.leave(0);
        }
    }

    /// How many tickets are queued or running.
    pub(crate) fn tickets(&self) -> usize {
        self.state.lock().tickets
    }

    /// Why the last ticket was given up, if one was.
    pub(crate) fn lost(&self) -> Option<GaveUp> {
        self.state.lock().lost
    }

    /// Waits until the work is done by whoever takes part in it; says why if it is not,
    /// because every ticket was given up.
    pub(crate) fn wait(&self) -> Result<(), GaveUp> {
        let mut state = self.state.lock();
        loop {
            if state.active == 0 {
                if state.work.as_ref().is_none_or(|work| work.is_exhausted()) {
                    return Ok(());
                }
                if state.tickets == 0 {
                    return Err(state.lost.unwrap_or(GaveUp::Dropped));
                }
            }
            self.changed.wait(&mut state);
        }
    }

    /// Takes part in the work on this thread, as if it had a ticket.
    pub(crate) fn help(&self) {
        if let Some(work) = self.enter() {
            self.work(work);
            self.leave(0);
        }
    }

    /// Makes the work unreachable through tickets, and waits for those who are inside.
    pub(crate) fn revoke(&self) {
        let mut state = self.state.lock();
        let work = state.work.take();
        while state.active > 0 {
            self.changed.wait(&mut state);
        }
        drop(state);
        // Dropped outside of the lock: it may be the last reference to values of the user.
        drop(work);
    }

    /// Makes the work unreachable through tickets, and waits for nobody. For work that
    /// borrows nothing.
    pub(crate) fn abandon(&self) {
        let work = self.state.lock().work.take();
        drop(work);
    }

    fn enter(&self) -> Option<Arc<dyn Lent>> {
        let mut state = self.state.lock();
        let work = state.work.clone()?;
        state.active += 1;
        Some(work)
    }

    fn work(&self, work: Arc<dyn Lent>) {
        contain(|| frame::enter(self.executor, work.token(), || work.work()));
        // Rule 2: before `leave`. It is the last reference only of work that borrows
        // nothing and was abandoned.
        contain(|| drop(work));
    }

    fn leave(&self, tickets: usize) {
        let mut state = self.state.lock();
        state.active -= 1;
        state.tickets -= tickets;
        self.changed.notify_all();
    }

    /// Tells the work, if it is still there, that a ticket has ended.
    fn tell(&self, lost: Option<GaveUp>) {
        let Some(work) = self.enter() else { return };
        contain(|| work.ticket_ended(lost));
        contain(|| drop(work));
        self.leave(0);
    }
}

/// Calls what must not unwind. If it does (a destructor of the user's, where nobody thought
/// of one), the thread must still leave the work, or the caller would wait for ever.
fn contain(call: impl FnOnce()) {
    if let Err(panic) = catch(call) {
        log::error!("a value of a map or scope panicked when it was dropped: {panic}");
    }
}

/// A cancelled map leaves nothing to take, so whoever waits need not wait for tickets that
/// are still queued.
impl OnCancel for Lease {
    fn on_cancel(&self, _: CancelReason) {
        // The lock: a waiter is either before its look at the work, or asleep.
        let _state = self.state.lock();
        self.changed.notify_all();
    }
}

impl Body for Lease {
    fn run(self: Arc<Self>) {
        match self.enter() {
            Some(work) => {
                self.work(work);
                self.leave(1);
                self.tell(None);
            }
            None => self.state.lock().tickets -= 1,
        }
    }

    fn give_up(self: Arc<Self>, why: GaveUp) {
        {
            let mut state = self.state.lock();
            state.tickets -= 1;
            state.lost = Some(why);
            self.changed.notify_all();
        }
        self.tell(Some(why));
    }
}
