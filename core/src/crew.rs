//! [`Crew`] and [`StateCrew`]: executors with something that every worker of a map has.

use std::fmt;
use std::marker::PhantomData;

use crate::work::{Make, Plain, Trying, WithContext, WithState};
use crate::{Executor, InProcess, Map};

/// An executor with a value that all items of a map share.
///
/// Made by `context`. In another process the value is sent once to each worker.
#[must_use = "a crew does nothing until it maps"]
pub struct Crew<'e, E: ?Sized, C, Reach> {
    executor: &'e E,
    context: C,
    reach: PhantomData<fn() -> Reach>,
}

/// An executor whose workers each keep a state during a map. Made by `init`.
#[must_use = "a crew does nothing until it maps"]
pub struct StateCrew<'e, E: ?Sized, C, Init, Exit, Reach> {
    executor: &'e E,
    context: C,
    init: Init,
    exit: Exit,
    reach: PhantomData<fn() -> Reach>,
}

impl<'e, E: ?Sized, C, Reach> Crew<'e, E, C, Reach> {
    pub(crate) fn new(executor: &'e E, context: C) -> Self {
        Self {
            executor,
            context,
            reach: PhantomData,
        }
    }

    #[cfg(feature = "remote")]
    pub(crate) fn into_parts(self) -> (&'e E, C) {
        (self.executor, self.context)
    }

    pub(crate) fn work<F>(self, function: F) -> (&'e E, WithContext<C, F>) {
        let work = WithContext {
            context: self.context,
            function,
        };
        (self.executor, work)
    }
}

impl<'e, E, C> Crew<'e, E, C, InProcess>
where
    E: Executor + ?Sized,
    C: Send + Sync,
{
    /// A map of `f(&context, item)`.
    pub fn map<It, R, F>(self, items: It, f: F) -> Map<'e, E, It, WithContext<C, Plain<F>>>
    where
        It: IntoIterator<Item: Send, IntoIter: Send>,
        R: Send,
        F: Fn(&C, It::Item) -> R + Send + Sync,
    {
        let (executor, work) = self.work(Plain(f));
        Map::new(executor, items, work)
    }

    /// A map of a function that can fail.
    pub fn try_map<It, R, Err, F>(
        self,
        items: It,
        f: F,
    ) -> Map<'e, E, It, WithContext<C, Trying<F>>>
    where
        It: IntoIterator<Item: Send, IntoIter: Send>,
        R: Send,
        Err: fmt::Display + Send,
        F: Fn(&C, It::Item) -> Result<R, Err> + Send + Sync,
    {
        let (executor, work) = self.work(Trying(f));
        Map::new(executor, items, work)
    }

    /// Has each worker make a state from the context.
    pub fn init<S, Init>(self, init: Init) -> StateCrew<'e, E, C, Init, fn(S), InProcess>
    where
        S: Send,
        Init: Fn(&C) -> S + Send + Sync,
    {
        StateCrew::new(self.executor, self.context, init, drop::<S> as fn(S))
    }
}

impl<'e, E: ?Sized, C, Init, Exit, Reach> StateCrew<'e, E, C, Init, Exit, Reach> {
    pub(crate) fn new(executor: &'e E, context: C, init: Init, exit: Exit) -> Self {
        Self {
            executor,
            context,
            init,
            exit,
            reach: PhantomData,
        }
    }
}

impl<'e, E, C, Init, Exit> StateCrew<'e, E, C, Init, Exit, InProcess>
where
    E: Executor + ?Sized,
    C: Send + Sync,
{
    /// Has `exit` called with a worker's state when the worker has no more items of the
    /// map. Default: the state is dropped.
    ///
    /// A state that a panic may have left half-changed is dropped, not handed to `exit`.
    /// A panic in `exit` is caught and logged.
    pub fn on_exit<S, F>(self, exit: F) -> StateCrew<'e, E, C, Init, F, InProcess>
    where
        Init: Make<C, State = S>,
        F: Fn(S) + Send + Sync,
    {
        StateCrew::new(self.executor, self.context, self.init, exit)
    }

    /// A map of `f(&mut state, item)`.
    pub fn map<S, It, R, F>(
        self,
        items: It,
        f: F,
    ) -> Map<'e, E, It, WithState<C, Init, Exit, Plain<F>>>
    where
        S: Send,
        Init: Make<C, State = S>,
        Exit: Fn(S) + Send + Sync,
        It: IntoIterator<Item: Send, IntoIter: Send>,
        R: Send,
        F: Fn(&mut S, It::Item) -> R + Send + Sync,
    {
        let (executor, work) = self.work(Plain(f));
        Map::new(executor, items, work)
    }

    /// A map of a function that can fail.
    pub fn try_map<S, It, R, Err, F>(
        self,
        items: It,
        f: F,
    ) -> Map<'e, E, It, WithState<C, Init, Exit, Trying<F>>>
    where
        S: Send,
        Init: Make<C, State = S>,
        Exit: Fn(S) + Send + Sync,
        It: IntoIterator<Item: Send, IntoIter: Send>,
        R: Send,
        Err: fmt::Display + Send,
        F: Fn(&mut S, It::Item) -> Result<R, Err> + Send + Sync,
    {
        let (executor, work) = self.work(Trying(f));
        Map::new(executor, items, work)
    }
}

impl<'e, E: ?Sized, C, Init, Exit, Reach> StateCrew<'e, E, C, Init, Exit, Reach> {
    #[cfg(feature = "remote")]
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub(crate) fn work<F>(self, function: F) -> (&'e E, WithState<C, Init, Exit, F>) {
        let work = WithState {
            context: self.context,
            init: self.init,
            exit: self.exit,
            function,
        };
        (self.executor, work)
    }
}

impl<E: ?Sized, C, Reach> fmt::Debug for Crew<'_, E, C, Reach> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").finish_non_exhaustive()
    }
}

impl<E: ?Sized, C, Init, Exit, Reach> fmt::Debug for StateCrew<'_, E, C, Init, Exit, Reach> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCrew").finish_non_exhaustive()
    }
}
