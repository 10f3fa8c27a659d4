//! [`Port`]: a worker's side of a remote job.

use std::any::Any;
use std::marker::PhantomData;

use super::bundle::Bundle;
use super::function::Outcome;
use crate::panic::{catch, drop_quietly};
use crate::work::{self, Work};

/// Where a worker process gets the items of a chunk from and puts their outcomes.
///
/// Implemented by backends for their worker side; [`Function::call`](super::Function::call)
/// drives it, in this order for each item: `next`, the user's function, `outcomes` (one
/// entry is appended), `done`.
pub trait Port {
    /// The bytes of the next item, which counts as running from now on.
    fn next(&mut self) -> Option<&[u8]>;

    /// Where to append the outcome of the running item.
    fn outcomes(&mut self) -> &mut Bundle;

    /// The outcome of the running item is complete.
    fn done(&mut self);

    /// The context of the job's [`Setup`](super::Setup), encoded; empty without one.
    fn context(&self) -> &[u8];

    /// Where the worker's state of the job's [`Setup`](super::Setup) is kept from chunk to
    /// chunk. Without a setup it need not be kept.
    fn kept(&mut self) -> &mut Option<Box<dyn KeptState>>;
}

/// What a worker keeps of a map between two chunks.
pub trait KeptState {
    /// Runs the exit hook and drops the state. Never unwinds.
    fn stop(self: Box<Self>);

    #[doc(hidden)]
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

/// A map's function with the state of this worker.
pub(super) struct Kept<I, W: Work<I>> {
    work: W,
    state: Option<W::State>,
    items: PhantomData<fn(I)>,
}

impl<I, W: Work<I>> Kept<I, W> {
    pub(super) fn new(work: W) -> Self {
        Self {
            work,
            state: None,
            items: PhantomData,
        }
    }

    /// Calls the function, making the state first where there is none.
    ///
    /// A panic may leave the state half-changed, so the next item gets a new one.
    pub(super) fn call(&mut self, item: I) -> Outcome<W::Out, W::Error> {
        let state = self.state.take();
        let called = catch(|| {
            let mut state = state.unwrap_or_else(|| self.work.start());
            let result = self.work.call(&mut state, item);
            (state, result)
        });
        match called {
            Ok((state, result)) => {
                self.state = Some(state);
                match result {
                    Ok(value) => Outcome::Value(value),
                    Err(error) => Outcome::Failed(error),
                }
            }
            Err(panic) => Outcome::Panicked(panic),
        }
    }
}

impl<I: 'static, W: Work<I> + 'static> Kept<I, W> {
    pub(super) fn downcast(kept: Box<dyn KeptState>) -> Option<Self> {
        kept.into_any().downcast().ok().map(|kept| *kept)
    }
}

impl<I: 'static, W: Work<I> + 'static> KeptState for Kept<I, W> {
    fn stop(self: Box<Self>) {
        let Self { work, state, .. } = *self;
        work::stop(&work, state);
        drop_quietly(work);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
