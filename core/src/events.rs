//! [`Events`]: the outcomes of a running map one by one, whatever the engine.

use std::collections::VecDeque;

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

/// What a map says while it runs.
#[derive(Debug)]
pub(crate) enum Event<R, E> {
    /// The item with this index has ended.
    Item(usize, Outcome<R, E>),
    /// The map has ended early: by a failure that its policy does not suffer, or because it
    /// was stopped. The last event.
    Broken(TaskError<E>),
}

/// The outcomes of a running map.
pub(crate) trait Events<R, E> {
    /// Waits for the next event; `None` when every item has been told of, or after `Broken`.
    fn next_event(&mut self) -> Option<Event<R, E>>;

    /// Ends the map, if it has not ended, and says how it went.
    fn finish(&mut self) -> Report;
}

/// Puts outcomes into the wanted order.
pub(crate) struct Sorter<R, E> {
    order: Order,
    /// In input order: what is known from `next` on. In completion order: what is known.
    ready: VecDeque<Option<(usize, Outcome<R, E>)>>,
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
                if place >= self.ready.len() {
                    self.ready.resize_with(place + 1, || None);
                }
                self.ready[place] = entry;
            }
        }
    }

    /// The next outcome in order, if it is known.
    pub(crate) fn pop(&mut self) -> Option<(usize, Outcome<R, E>)> {
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
