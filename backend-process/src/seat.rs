//! [`Seat`]: where a caller sits that waits for one task, to be woken by the worker itself.
//!
//! One task on an idle pool would otherwise take three wake-ups in a row: the caller's of
//! the worker, the worker's of the I/O thread, and the I/O thread's of the caller. A caller
//! that joins a task takes a seat at its worker, sleeps there, and takes the outcome out of
//! the ring itself. The I/O thread sleeps on.
//!
//! # Steps
//!
//! The caller, in [`Shared::wait_for`]:
//!
//! 1. With the pool locked, it looks for the worker whose only message is its task. If there
//!    is none, the task waits behind others, and their outcomes are not for this thread to
//!    tell: it gives up. It puts a seat into the lane, sets `waiter` to the number of the
//!    seat, fences, and looks at the ring.
//! 2. Unless there is something, it unlocks and sleeps while `waiter` says its number, until
//!    its deadline at most.
//! 3. With the pool locked again, it takes its seat back, if that is still there, clears
//!    `waiter`, and then does for this lane what the I/O thread would have done: it takes
//!    what is there. It tells its own task, once the lock is gone, and leaves everything else
//!    to the I/O thread, which it wakes if there is anything else.
//!
//! It does so once. If its task is still not done, it waits to be told, like everybody.
//!
//! The worker, where it rings ([`Page::answer_waiter`]): after its outcome it fences, and if
//! it finds a number in `waiter` and is the one to turn that to 0, it wakes who sleeps there,
//! and that was the ring. If not, it rings the bell.
//!
//! Everybody else: a seat that is dropped wakes who sits there, whatever `waiter` says. A
//! lane that is taken from the pool drops its seat. If the task leaves the lane in another
//! way (another thread took its outcome or cancelled it, or it moves to another worker), the
//! I/O thread hears of it, if it was not the one to do it; it closes the seat while the pool
//! is locked, and drops it when the jobs have been told.
//!
//! # Argument
//!
//! *No ring is lost.* A ring turns `waiter` to 0 or goes to the bell, never both and never
//! neither. Of the caller in step 3 and the I/O thread one takes the seat out of the lane;
//! it clears `waiter` under the lock, and if that was 0 before, a ring came here, and it looks
//! at the ring of outcomes. A ring after that goes to the bell. `rung` plays no part: it is
//! set only together with a stroke, which only the I/O thread takes out.
//!
//! *The caller's own outcome is not missed.* Of the two fences one comes first. If it is the
//! caller's, the worker sees `waiter`, and rings here. If it is the worker's, the caller sees
//! the outcome in step 1. That the worker rings at all after its last outcome is as without
//! seats: the lane is armed, or it is the end of message `bell_at`.
//!
//! *Nobody sleeps for ever.* The flight of a caller that sleeps is in the driver, and so its
//! end is certain (see [`driver`](crate::driver)). It ends by an outcome that the worker
//! rings for; or somebody else ends it, and drops the seat. A worker that dies between its
//! two steps has cleared `waiter` and woken nobody; the seat is dropped with its lane when it
//! is buried. One that is stopped there is looked at by the patrol, as any other.
//!
//! *Others wait for the caller as they would for the I/O thread.* Its task was alone on its
//! lane. Messages that came behind it since may have outcomes by the time it looks; it takes
//! them, and the I/O thread, which it wakes, tells them and goes on from there. Until a slow
//! caller looks, each ring after the one that it was given goes to the bell.

use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crate::driver::Key;
use crate::page::Page;
use crate::pool::{Inner, Shared, Ticket, tell};
use crate::sys;

/// In `waiter` when there is no seat.
const NOBODY: u32 = 0;

/// See the [module](self). Dropping it wakes who sits there.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The task that is waited for.
    key: Key,
    /// What `waiter` says until the wait is over. Unlike that of others at this lane, so that
    /// a sitter who is slow to wake does not take the next one's seat for its own.
    number: u32,
    page: Page,
    /// Whether the sitter is awake.
    has_left: bool,
}

impl Seat {
    /// Takes a seat. What the worker writes from now on it rings for here, once; what it has
    /// written before is seen by a look from now on.
    fn take(key: Key, number: u32, page: Page) -> Self {
        page.waiter().store(number, Ordering::Relaxed);
        // Pairs with the fence in `Page::answer_waiter`.
        fence(Ordering::SeqCst);
        Self {
            key,
            number,
            page,
            has_left: false,
        }
    }

    /// No ring comes here any more; whether one has, for which somebody must look.
    fn close(&self) -> bool {
        self.page.waiter().swap(NOBODY, Ordering::AcqRel) == NOBODY
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.has_left {
            return;
        }
        let waiter = self.page.waiter();
        // Unless it was closed before, and somebody else may sit there.
        let _ = waiter.compare_exchange(self.number, NOBODY, Ordering::Release, Ordering::Relaxed);
        // Whatever the word says: a worker may have died before it woke anybody.
        sys::wake_all(waiter);
    }
}

impl Page {
    /// Worker: wakes the thread of the pool's process that waits for the next ring, if one
    /// does.
    pub(crate) fn answer_waiter(&self) -> bool {
        // Pairs with the fence in `Seat::take`: either this sees the waiter, or that sees
        // what was written before.
        fence(Ordering::SeqCst);
        let waiter = self.waiter();
        let answered = waiter.load(Ordering::Relaxed) != NOBODY
            && waiter.swap(NOBODY, Ordering::AcqRel) != NOBODY;
        if answered {
            sys::wake_all(waiter);
        }
        answered
    }

    /// Sleeps until the seat with this number is closed, or the deadline passes.
    fn sleep_in_seat(&self, number: u32, deadline: Option<Instant>) {
        while self.waiter().load(Ordering::Acquire) == number {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return;
            }
            // Whatever ends the sleep, the word says whether it is over.
            let _ = sys::sleep_at(self.waiter(), number, left);
        }
    }
}

impl Shared {
    /// Waits for the task with this ticket until its worker has spoken, and tells it if it is
    /// done. May return before; see the [module](self).
    pub(crate) fn wait_for(&self, ticket: &Ticket, deadline: Option<Instant>) {
        let mut inner = self.inner.lock();
        let Some(key) = ticket.key() else {
            return;
        };
        let Some(slot) = inner.driver.only_worker_of(key) else {
            return;
        };
        let Some((number, page)) = inner.sit_down(slot, key) else {
            return;
        };
        if !inner.has_news(slot) {
            drop(inner);
            page.sleep_in_seat(number, deadline);
            inner = self.inner.lock();
        }
        inner.stand_up(slot, key);
        let note = inner.driver.take_only_note(key);
        self.unlock(inner);
        if let Some((mut reply, news, items)) = note {
            tell(&mut reply, news);
            drop(reply);
            self.recycle(items);
        }
    }
}

impl Inner {
    /// Takes the seat of the worker, unless somebody has it.
    fn sit_down(&mut self, slot: usize, key: Key) -> Option<(u32, Page)> {
        let running = self.lanes.get_mut(slot)?;
        if running.seat.is_some() {
            return None;
        }
        let number = running.last_seat.wrapping_add(1).max(NOBODY + 1);
        let page = running.lane.page().clone();
        running.last_seat = number;
        running.seat = Some(Seat::take(key, number, page.clone()));
        Some((number, page))
    }

    /// Gives the seat back and does what whoever was rung for must do, unless the I/O thread
    /// has done both.
    fn stand_up(&mut self, slot: usize, key: Key) {
        let seat = self.lanes.get_mut(slot).map(|running| &mut running.seat);
        let Some(mut seat) = seat.and_then(|seat| seat.take_if(|seat| seat.key == key)) else {
            return;
        };
        seat.has_left = true;
        let was_rung = seat.close();
        let now = sys::monotonic_nanos();
        let news = self.receive(slot, now);
        if was_rung || news {
            self.looked(slot, news, now);
        }
    }

    /// The seats of those whose task their worker does not have any more, to be dropped when
    /// the jobs have been told; and whether a ring went to one of them, so that the I/O
    /// thread must look once more.
    pub(crate) fn close_stale_seats(&mut self) -> (Vec<Seat>, bool) {
        let Self { driver, lanes, .. } = self;
        let seats = lanes.take_seats(|slot, seat| !driver.has_flight(slot, seat.key));
        let was_rung = seats.iter().fold(false, |any, seat| seat.close() | any);
        (seats, was_rung)
    }
}
