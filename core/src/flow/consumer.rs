//! [`Consumer`]: the thread that wants the results, and keeps the lanes going.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Flow, LimitsThread};
use crate::control::Control;
use crate::events::{Feed, Indexed, Next, Order, Sorter, ends_input};
use crate::job::GaveUp;
use crate::lease::Lease;
use crate::panic::drop_quietly;
use crate::sync::thread;
use crate::work::Work;
use crate::{CancelReason, Executor, TaskError, TaskErrorKind, frame};

/// The consuming side of a [`Flow`].
pub(crate) struct Consumer<'e, E: ?Sized, It: Iterator, W: Work<It::Item>> {
    executor: &'e E,
    flow: Arc<Flow<It, W>>,
    lease: Arc<Lease>,
    sorter: Sorter<W::Out, W::Error>,
    /// Empty, with room for what an outbox holds.
    taken: Vec<Indexed<W::Out, W::Error>>,
    /// Outcomes taken out of the outboxes.
    num_seen: usize,
    /// How many were delivered when tickets were last called for.
    called_at: usize,
    /// How many outcomes had been seen when an executor that loses tickets was asked again.
    asked_again_at: Option<usize>,
    /// Why the map ends early, told after everything else.
    last_word: Option<TaskError<W::Error>>,
    /// Ends with the consumer.
    _limits: Option<LimitsThread>,
}

impl<'e, E, It, W> Consumer<'e, E, It, W>
where
    E: Executor + ?Sized,
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    pub(crate) fn new(
        executor: &'e E,
        flow: Arc<Flow<It, W>>,
        lease: Arc<Lease>,
        order: Order,
        limits: Option<LimitsThread>,
    ) -> Self {
        let mut consumer = Self {
            executor,
            flow,
            lease,
            sorter: Sorter::new(order),
            taken: Vec::new(),
            num_seen: 0,
            called_at: 0,
            asked_again_at: None,
            last_word: None,
            _limits: limits,
        };
        consumer.call_for_tickets();
        consumer
    }

    fn pop(&mut self) -> Option<Indexed<W::Out, W::Error>> {
        let outcome = self.sorter.pop()?;
        let delivered = self.sorter.num_popped();
        self.flow.delivered.store(delivered, Ordering::Release);
        // With half of the window free, the lanes may have gone home.
        if delivered - self.called_at > self.flow.window() / 2 {
            self.call_for_tickets();
        }
        Some(outcome)
    }

    /// Sees to it that as many tickets are out as find something to do.
    ///
    /// Those that are out may all be busy with long items, or be lost to items that were
    /// left behind, so they do not count for what is waiting.
    fn call_for_tickets(&mut self) {
        self.called_at = self.sorter.num_popped();
        if !self.flow.has_work() {
            return;
        }
        let num_out = self.lease.tickets();
        if self.lease.lost().is_some() {
            // An executor that loses tickets is asked once more when the last one is gone.
            if num_out > 0 || self.asked_again_at == Some(self.num_seen) {
                return;
            }
            self.asked_again_at = Some(self.num_seen);
            self.lease.forgive();
        }
        let wanted = num_out.saturating_add(self.flow.num_waiting());
        *self.flow.calling.lock() = Some(thread::current().id());
        for _ in num_out..wanted.min(self.flow.num_workers) {
            self.lease.spawn(self.executor);
        }
        *self.flow.calling.lock() = None;
    }

    /// If this thread is a worker of the executor, runs an item here: the other workers may
    /// all be waiting like this one.
    fn help(&self) -> bool {
        if !frame::is_worker_of(self.flow.executor) || !self.flow.has_work() {
            return false;
        }
        let number = self.flow.free_lanes.lock().pop();
        let Some(number) = number else { return false };
        frame::enter(self.flow.executor, self.flow.control.token(), || {
            self.flow.work_in(number, true);
        });
        self.flow.free_lanes.lock().push(number);
        true
    }

    /// Whether there will be no more outcomes. Notes the last word.
    fn has_ended(&mut self) -> bool {
        // First, for its lock: what a ticket did before it ended is seen from here on.
        let stuck = self.why_stuck();
        if self.is_complete() {
            return true;
        }
        if let Some(reason) = self.flow.control.stopped() {
            return self.has_ended_early(reason);
        }
        let Some(why) = stuck else {
            return false;
        };
        let index = self.flow.num_pulled();
        if !self.flow.is_cut() && self.num_seen == index {
            // Nobody came to see that the input has ended, but that is all that is left.
            return true;
        }
        self.last_word = Some(self.flow.control.fail(index, 1, why.into_kind()));
        self.flow.control.stop(CancelReason::ShutDown);
        true
    }

    /// The same for a map that was stopped.
    fn has_ended_early(&mut self, reason: CancelReason) -> bool {
        let was_cut = self.flow.is_cut();
        if reason != CancelReason::OtherFailed
            && !was_cut
            && self.num_seen == self.flow.num_pulled()
        {
            // Every item that there is has its outcome: the stop came too late.
            return true;
        }
        if self.flow.control.fails_fast() {
            // The failure itself may be about to arrive.
            self.last_word = match self.sorter.take_failure() {
                Some(failure) => Some(failure),
                None if reason == CancelReason::OtherFailed => return false,
                None => Some(TaskError::cancelled(self.sorter.num_popped(), reason)),
            };
            return true;
        }
        self.flow.close_input();
        if was_cut && reason != CancelReason::OtherFailed {
            let error = TaskError::cancelled(self.flow.num_pulled(), reason);
            self.last_word.get_or_insert(error);
        }
        self.give_up_again(reason);
        self.is_complete()
    }

    /// Items that wait for another attempt of a map that was stopped have none.
    fn give_up_again(&mut self, reason: CancelReason) {
        let again = std::mem::take(&mut *self.flow.again.lock());
        for again in again {
            let kind = TaskErrorKind::Cancelled(reason);
            let error = self.flow.control.fail(again.index, again.attempt, kind);
            drop_quietly(again.item);
            self.num_seen += 1;
            self.sorter.put(again.index, Err(error));
        }
    }

    /// Whether every item has been seen.
    fn is_complete(&self) -> bool {
        self.flow.is_exhausted.load(Ordering::Acquire) && self.num_seen == self.flow.num_pulled()
    }

    /// Why nobody will run the rest of the items, if that is so.
    fn why_stuck(&self) -> Option<GaveUp> {
        let why = self.lease.lost()?;
        (self.lease.tickets() == 0).then_some(why)
    }
}

impl<E, It, W> Feed<W::Out, W::Error> for Consumer<'_, E, It, W>
where
    E: Executor + ?Sized,
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    fn next_outcome(&mut self, deadline: Option<Instant>) -> Next<Indexed<W::Out, W::Error>> {
        let mut is_nap = true;
        loop {
            if let Some(outcome) = self.pop() {
                return Next::Here(outcome);
            }
            self.flow.bell.set(is_nap);
            self.receive();
            if let Some(outcome) = self.pop() {
                self.flow.bell.unset();
                return Next::Here(outcome);
            }
            if self.has_ended() {
                self.flow.bell.unset();
                // The end may have brought the last outcomes with it.
                return self.pop().map_or(Next::End, Next::Here);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.flow.bell.unset();
                return Next::NotYet;
            }
            // This looks at the tickets, so it comes after the bell is set: a ticket that
            // is still out has yet to ring.
            self.call_for_tickets();
            // With a deadline this thread must not be caught in an item.
            if deadline.is_none() && self.help() {
                self.flow.bell.unset();
            } else {
                self.flow.bell.sleep(deadline);
                is_nap = false;
            }
            self.receive();
        }
    }

    fn receive(&mut self) {
        for lane in &self.flow.lanes {
            // The lane goes on with the memory of what was taken before.
            std::mem::swap(&mut self.taken, &mut *lane.outbox.lock());
            self.num_seen += self.taken.len();
            for (index, outcome) in self.taken.drain(..) {
                match outcome {
                    Err(error) if ends_input(&error) && !self.flow.control.fails_fast() => {
                        self.last_word = Some(error);
                    }
                    outcome => self.sorter.put(index, outcome),
                }
            }
        }
    }

    fn sorter(&mut self) -> &mut Sorter<W::Out, W::Error> {
        &mut self.sorter
    }

    fn last_word(&mut self) -> Option<TaskError<W::Error>> {
        self.last_word.take()
    }

    fn control(&self) -> &Control {
        &self.flow.control
    }

    fn num_pulled(&self) -> usize {
        self.flow.num_pulled()
    }
}

impl<E: ?Sized, It: Iterator, W: Work<It::Item>> Drop for Consumer<'_, E, It, W> {
    fn drop(&mut self) {
        let num_pulled = self.flow.pulled.load(Ordering::Acquire);
        self.flow.control.abandon(num_pulled);
        self.lease.abandon();
    }
}
