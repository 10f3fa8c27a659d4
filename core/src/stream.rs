//! [`Ordered`] and [`AsCompleted`]: the results of a running map as iterators.

use std::convert::Infallible;
use std::fmt;

use crate::events::{Event, Events, is_follower};
use crate::{ErrorPolicy, Report, TaskError};

pub(crate) type BoxedEvents<'e, R, E> = Box<dyn Events<R, E> + Send + 'e>;

/// The results of a running map, in input order. See [`Map::ordered`](crate::Map::ordered).
///
/// After an `Err` that the error policy does not let pass, the iterator ends. Dropping it
/// cancels what has not started, and does not wait for what runs.
#[must_use = "dropping the iterator cancels the map"]
pub struct Ordered<'e, R, E = Infallible> {
    results: Results<'e, R, E>,
}

/// The results of a running map with the indices of their items, as the items end. See
/// [`Map::as_completed`](crate::Map::as_completed).
///
/// After an `Err` that the error policy does not let pass, the iterator ends. Dropping it
/// cancels what has not started, and does not wait for what runs.
#[must_use = "dropping the iterator cancels the map"]
pub struct AsCompleted<'e, R, E = Infallible> {
    results: Results<'e, R, E>,
}

/// What both iterators do.
struct Results<'e, R, E> {
    events: BoxedEvents<'e, R, E>,
    policy: ErrorPolicy,
    /// The first item that was cancelled, where failures are skipped: told at the end.
    cancelled: Option<TaskError<E>>,
}

impl<'e, R, E> Results<'e, R, E> {
    fn new(events: BoxedEvents<'e, R, E>, policy: ErrorPolicy) -> Self {
        Self {
            events,
            policy,
            cancelled: None,
        }
    }

    fn next(&mut self) -> Option<(usize, Result<R, TaskError<E>>)> {
        loop {
            let Some(event) = self.events.next_event() else {
                let cancelled = self.cancelled.take()?;
                return Some((cancelled.index(), Err(cancelled)));
            };
            match event {
                Event::Item(_, Err(error)) if self.policy == ErrorPolicy::Skip => {
                    if error.is_cancelled() && !is_follower(&error) {
                        self.cancelled.get_or_insert(error);
                    }
                }
                Event::Item(_, Err(error)) if is_follower(&error) => {}
                Event::Item(index, outcome) => return Some((index, outcome)),
                Event::Broken(error) => {
                    self.cancelled = None;
                    return Some((error.index(), Err(error)));
                }
            }
        }
    }
}

impl<'e, R, E> Ordered<'e, R, E> {
    pub(crate) fn new(events: BoxedEvents<'e, R, E>, policy: ErrorPolicy) -> Self {
        Self {
            results: Results::new(events, policy),
        }
    }

    /// Ends the map, cancelling what has not started, and says how it went.
    pub fn finish(mut self) -> Report {
        self.results.events.finish()
    }
}

impl<'e, R, E> AsCompleted<'e, R, E> {
    pub(crate) fn new(events: BoxedEvents<'e, R, E>, policy: ErrorPolicy) -> Self {
        Self {
            results: Results::new(events, policy),
        }
    }

    /// Ends the map, cancelling what has not started, and says how it went.
    pub fn finish(mut self) -> Report {
        self.results.events.finish()
    }
}

impl<R, E> Iterator for Ordered<'_, R, E> {
    type Item = Result<R, TaskError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.results.next().map(|(_, outcome)| outcome)
    }
}

impl<R, E> Iterator for AsCompleted<'_, R, E> {
    type Item = (usize, Result<R, TaskError<E>>);

    fn next(&mut self) -> Option<Self::Item> {
        self.results.next()
    }
}

impl<R, E> fmt::Debug for Ordered<'_, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ordered").finish_non_exhaustive()
    }
}

impl<R, E> fmt::Debug for AsCompleted<'_, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").finish_non_exhaustive()
    }
}
