//! [`Events`]: the outcomes of a running map one by one, whatever the engine.

use std::collections::VecDeque;
use std::time::Instant;

use crate::control::Control;
use crate::map::Ended;
use crate::{CancelReason, Report, TaskError, TaskErrorKind};

/// In which order outcomes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the inputs came.
    Input,
    /// As the items end.
    Completion,
}

/// How one item ended.
pub(crate) type Outcome<R, E> = Result<R, TaskError<E>>;

/// An outcome with the index of its item.
pub(crate) type Indexed<R, E> = (usize, Outcome<R, E>);

/// What a wait for the next of something brought.
#[derive(Debug)]
pub(crate) enum Next<T> {
    /// It.
    Here(T),
    /// There will be none.
    End,
    /// Nothing before the deadline.
    NotYet,
}

impl<T> Next<T> {
    /// After a wait without a deadline.
    pub(crate) fn without_deadline(self) -> Option<T> {
        match self {
            Self::Here(value) => Some(value),
            Self::End => None,
            Self::NotYet => unreachable!("there was no deadline"),
        }
    }
}

/// What a map says while it runs.
#[derive(Debug)]
pub(crate) enum Event<R, E> {
    /// The item with this index has ended.
    Item(usize, Outcome<R, E>),
    /// The map has ended early: by a failure that its policy does not suffer, or because it
    /// was stopped. The last event.
    Broken(TaskError<E>),
}

impl<R, E> Event<R, E> {
    /// The index of the item that it is about.
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Item(index, _) => *index,
            Self::Broken(error) => error.index(),
        }
    }
}

/// The outcomes of a running map.
pub(crate) trait Events<R, E> {
    /// Waits for the next event, until the deadline if there is one; an end when every item
    /// has been told of, or after `Broken`.
    fn next_event(&mut self, deadline: Option<Instant>) -> Next<Event<R, E>>;

    /// Ends the map, if it has not ended, and says how it went.
    fn finish(&mut self) -> Report;
}

/// An engine that gives one outcome after the other, whatever the policy.
pub(crate) trait Feed<R, E> {
    /// Waits for the next outcome in order, until the deadline if there is one.
    fn next_outcome(&mut self, deadline: Option<Instant>) -> Next<Indexed<R, E>>;

    /// Takes in what has arrived, without waiting.
    fn receive(&mut self);

    /// What has been taken in.
    fn sorter(&mut self) -> &mut Sorter<R, E>;

    /// Why there are no more outcomes although there should be, if that is so.
    fn last_word(&mut self) -> Option<TaskError<E>>;

    fn control(&self) -> &Control;

    /// How many items were pulled from the input so far.
    fn num_pulled(&self) -> usize;
}

/// Applies what all engines do alike to a [`Feed`]: it ends a fail-fast map with its
/// failure, and the map itself with the feed.
pub(crate) struct Teller<F> {
    feed: F,
    is_failing: bool,
    is_over: bool,
}

impl<F> Teller<F> {
    pub(crate) fn new(feed: F) -> Self {
        Self {
            feed,
            is_failing: false,
            is_over: false,
        }
    }

    /// Ends the map, and cancels what has not started.
    pub(crate) fn finish<R, E>(&mut self) -> Report
    where
        F: Feed<R, E>,
    {
        let control = self.feed.control();
        if self.is_over {
            control.finish(self.feed.num_pulled());
        } else {
            control.abandon(self.feed.num_pulled());
        }
        let report = control.report();
        self.is_over = true;
        report
    }

    #[cfg(feature = "remote")]
    pub(crate) fn into_feed(self) -> F {
        self.feed
    }

    /// Tells every event and how the map ended.
    pub(crate) fn tell_all<R, E>(mut self, tell: &mut dyn FnMut(Event<R, E>)) -> Ended
    where
        F: Feed<R, E>,
    {
        while let Some(event) = self.next_event(None).without_deadline() {
            tell(event);
        }
        self.feed.control().ended()
    }

    /// The failure that a fail-fast map reports when it meets `error`: the one with the
    /// lowest index among those known. `None`: `error` only follows from a failure that
    /// has not arrived.
    fn settle<R, E>(&mut self, error: TaskError<E>) -> Option<TaskError<E>>
    where
        F: Feed<R, E>,
    {
        self.feed.receive();
        match self.feed.sorter().take_failure() {
            None if is_follower(&error) => None,
            Some(other) if is_follower(&error) || other.index() < error.index() => Some(other),
            _ => Some(error),
        }
    }
}

impl<R, E, F: Feed<R, E>> Events<R, E> for Teller<F> {
    fn next_event(&mut self, deadline: Option<Instant>) -> Next<Event<R, E>> {
        while !self.is_over {
            match self.feed.next_outcome(deadline) {
                Next::Here((_, Err(error))) if self.feed.control().fails_fast() => {
                    self.is_failing = true;
                    if let Some(failure) = self.settle(error) {
                        self.is_over = true;
                        self.finish();
                        return Next::Here(Event::Broken(failure));
                    }
                }
                // A hole in the order: only the failure is left to tell.
                Next::Here(_) if self.is_failing => {}
                Next::Here((index, outcome)) => return Next::Here(Event::Item(index, outcome)),
                Next::End => self.is_over = true,
                Next::NotYet => return Next::NotYet,
            }
        }
        self.finish();
        match self.feed.last_word() {
            Some(error) => Next::Here(Event::Broken(error)),
            None => Next::End,
        }
    }

    fn finish(&mut self) -> Report {
        self.finish()
    }
}

/// Puts outcomes into the wanted order.
pub(crate) struct Sorter<R, E> {
    order: Order,
    /// In input order: what is known from `next` on. In completion order: what is known.
    ready: VecDeque<Option<Indexed<R, E>>>,
    /// How many were taken out.
    next: usize,
}

impl<R, E> Sorter<R, E> {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            ready: VecDeque::new(),
            next: 0,
        }
    }

    pub(crate) fn put(&mut self, index: usize, outcome: Outcome<R, E>) {
        let entry = Some((index, outcome));
        match self.order {
            Order::Completion => self.ready.push_back(entry),
            Order::Input => {
                let place = index - self.next;
                if place == self.ready.len() {
                    return self.ready.push_back(entry);
                }
                if place > self.ready.len() {
                    self.ready.resize_with(place + 1, || None);
                }
                self.ready[place] = entry;
            }
        }
    }

    /// The next outcome in order, if it is known.
    pub(crate) fn pop(&mut self) -> Option<Indexed<R, E>> {
        let entry = self.ready.front_mut()?.take()?;
        self.ready.pop_front();
        self.next += 1;
        Some(entry)
    }

    /// The failure with the lowest index among what is known, other than items that were
    /// cancelled because of one.
    pub(crate) fn take_failure(&mut self) -> Option<TaskError<E>> {
        let (at, _) = self
            .ready
            .iter()
            .enumerate()
            .filter_map(|(at, entry)| match entry {
                Some((index, Err(error))) if !is_follower(error) => Some((at, *index)),
                _ => None,
            })
            .min_by_key(|&(_, index)| index)?;
        self.ready[at].take()?.1.err()
    }

    /// How many were taken out: in input order, the index of the next item.
    pub(crate) fn num_popped(&self) -> usize {
        self.next
    }
}

/// Whether the item was cancelled because another one failed.
pub(crate) fn is_follower<E>(error: &TaskError<E>) -> bool {
    matches!(
        error.kind(),
        TaskErrorKind::Cancelled(CancelReason::OtherFailed)
    )
}

/// Whether the error is about the input as a whole and not about one item.
pub(crate) fn ends_input<E>(error: &TaskError<E>) -> bool {
    matches!(error.kind(), TaskErrorKind::InputPanicked(_))
}
