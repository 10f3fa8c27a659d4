//! [`Ordered`] and [`AsCompleted`]: the results of a running map as iterators.

use std::convert::Infallible;
use std::fmt;
use std::time::{Duration, Instant};

use crate::events::{Event, Events, Indexed, Next, is_follower};
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

    fn next_until(&mut self, deadline: Option<Instant>) -> Next<Indexed<R, E>> {
        loop {
            let event = match self.events.next_event(deadline) {
                Next::Here(event) => event,
                Next::NotYet => return Next::NotYet,
                Next::End => {
                    let cancelled = self.cancelled.take();
                    let last = cancelled.map(|error| (error.index(), Err(error)));
                    return last.map_or(Next::End, Next::Here);
                }
            };
            match event {
                Event::Item(_, Err(error)) if self.policy == ErrorPolicy::Skip => {
                    if error.is_cancelled() && !is_follower(&error) {
                        self.cancelled.get_or_insert(error);
                    }
                }
                Event::Item(_, Err(error)) if is_follower(&error) => {}
                Event::Item(index, outcome) => return Next::Here((index, outcome)),
                Event::Broken(error) => {
                    self.cancelled = None;
                    return Next::Here((error.index(), Err(error)));
                }
            }
        }
    }

    fn next(&mut self) -> Option<Indexed<R, E>> {
        self.next_until(None).without_deadline()
    }

    fn next_timeout(&mut self, timeout: Duration) -> Option<Indexed<R, E>> {
        // Too far to be represented is for ever.
        match self.next_until(Instant::now().checked_add(timeout)) {
            Next::Here(next) => Some(next),
            Next::End | Next::NotYet => None,
        }
    }
}

impl<'e, R, E> Ordered<'e, R, E> {
    pub(crate) fn new(events: BoxedEvents<'e, R, E>, policy: ErrorPolicy) -> Self {
        Self {
            results: Results::new(events, policy),
        }
    }

    /// The next result, waiting for at most `timeout`; `None` if the time is over or nothing
    /// is left. No item is touched by the time running out.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError<E>>> {
        self.results
            .next_timeout(timeout)
            .map(|(_, outcome)| outcome)
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

    /// The next result, waiting for at most `timeout`; `None` if the time is over or nothing
    /// is left. No item is touched by the time running out.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<(usize, Result<R, TaskError<E>>)> {
        self.results.next_timeout(timeout)
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
