//! [`Work`]: the function of a map, with whatever it needs beside the item.
//!
//! Every map, in this process or another, runs one of these few shapes: a plain function
//! or one that can fail, over the item alone, over a shared context, or over a state that
//! each worker keeps for itself.

use std::convert::Infallible;

use crate::panic::catch;

/// What a map does with each item.
///
/// Not for implementing outside of this crate: the map methods build it from functions.
pub trait Work<I>: Send + Sync {
    /// What a successful item gives.
    type Out;
    /// What a failed item gives.
    type Error;
    /// What each worker keeps from item to item.
    type State;

    /// Makes a worker's state.
    fn start(&self) -> Self::State;

    /// Does one item.
    fn call(&self, state: &mut Self::State, item: I) -> Result<Self::Out, Self::Error>;

    /// Takes a worker's state when the worker has no more items.
    fn stop(&self, state: Self::State);
}

/// Ends a worker's state, if it has one. A panic in the exit hook harms nobody.
pub(crate) fn stop<I, W: Work<I>>(work: &W, state: Option<W::State>) {
    let Some(state) = state else { return };
    if let Err(panic) = catch(|| work.stop(state)) {
        log::error!("the exit hook of a worker panicked: {panic}");
    }
}

/// A function that always gives a result.
#[derive(Clone, Copy, Debug)]
pub struct Plain<F>(pub(crate) F);

/// A function that returns a `Result`.
#[derive(Clone, Copy, Debug)]
pub struct Trying<F>(pub(crate) F);

impl<I, R, F> Work<I> for Plain<F>
where
    F: Fn(I) -> R + Send + Sync,
{
    type Out = R;
    type Error = Infallible;
    type State = ();

    fn start(&self) {}

    #[inline]
    fn call(&self, (): &mut (), item: I) -> Result<R, Infallible> {
        Ok((self.0)(item))
    }

    fn stop(&self, (): ()) {}
}

impl<I, R, E, F> Work<I> for Trying<F>
where
    F: Fn(I) -> Result<R, E> + Send + Sync,
{
    type Out = R;
    type Error = E;
    type State = ();

    fn start(&self) {}

    #[inline]
    fn call(&self, (): &mut (), item: I) -> Result<R, E> {
        (self.0)(item)
    }

    fn stop(&self, (): ()) {}
}

/// A function beside a value that all items share.
#[derive(Clone, Copy, Debug)]
pub struct WithContext<C, F> {
    pub(crate) context: C,
    pub(crate) function: F,
}

impl<I, R, C, F> Work<I> for WithContext<C, Plain<F>>
where
    C: Send + Sync,
    F: Fn(&C, I) -> R + Send + Sync,
{
    type Out = R;
    type Error = Infallible;
    type State = ();

    fn start(&self) {}

    #[inline]
    fn call(&self, (): &mut (), item: I) -> Result<R, Infallible> {
        Ok((self.function.0)(&self.context, item))
    }

    fn stop(&self, (): ()) {}
}

impl<I, R, E, C, F> Work<I> for WithContext<C, Trying<F>>
where
    C: Send + Sync,
    F: Fn(&C, I) -> Result<R, E> + Send + Sync,
{
    type Out = R;
    type Error = E;
    type State = ();

    fn start(&self) {}

    #[inline]
    fn call(&self, (): &mut (), item: I) -> Result<R, E> {
        (self.function.0)(&self.context, item)
    }

    fn stop(&self, (): ()) {}
}

/// What makes a worker's state from the context of a map.
///
/// Implemented for functions of the context, and for [`Bare`].
pub trait Make<C>: Send + Sync {
    /// The state.
    type State;

    /// Makes one.
    fn make(&self, context: &C) -> Self::State;
}

/// A function that makes a state from nothing.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Bare<F>(pub(crate) F);

impl<S, F: Fn() -> S + Send + Sync> Make<()> for Bare<F> {
    type State = S;

    fn make(&self, (): &()) -> S {
        (self.0)()
    }
}

impl<C, S, F: Fn(&C) -> S + Send + Sync> Make<C> for F {
    type State = S;

    fn make(&self, context: &C) -> S {
        self(context)
    }
}

/// A function over a state that each worker makes for itself, from the context.
#[derive(Clone, Copy, Debug)]
pub struct WithState<C, Init, Exit, F> {
    pub(crate) context: C,
    pub(crate) init: Init,
    pub(crate) exit: Exit,
    pub(crate) function: F,
}

impl<I, S, R, C, Init, Exit, F> Work<I> for WithState<C, Init, Exit, Plain<F>>
where
    C: Send + Sync,
    Init: Make<C, State = S>,
    Exit: Fn(S) + Send + Sync,
    F: Fn(&mut S, I) -> R + Send + Sync,
{
    type Out = R;
    type Error = Infallible;
    type State = S;

    fn start(&self) -> S {
        self.init.make(&self.context)
    }

    #[inline]
    fn call(&self, state: &mut S, item: I) -> Result<R, Infallible> {
        Ok((self.function.0)(state, item))
    }

    fn stop(&self, state: S) {
        (self.exit)(state);
    }
}

impl<I, S, R, E, C, Init, Exit, F> Work<I> for WithState<C, Init, Exit, Trying<F>>
where
    C: Send + Sync,
    Init: Make<C, State = S>,
    Exit: Fn(S) + Send + Sync,
    F: Fn(&mut S, I) -> Result<R, E> + Send + Sync,
{
    type Out = R;
    type Error = E;
    type State = S;

    fn start(&self) -> S {
        self.init.make(&self.context)
    }

    #[inline]
    fn call(&self, state: &mut S, item: I) -> Result<R, E> {
        (self.function.0)(state, item)
    }

    fn stop(&self, state: S) {
        (self.exit)(state);
    }
}
