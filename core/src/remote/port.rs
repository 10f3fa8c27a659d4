//! [`Port`]: a worker's side of a remote job.

use std::any::Any;
use std::marker::PhantomData;

use super::bundle::{Bundle, Kind};
use crate::Panic;
use crate::panic::drop_quietly;
use crate::work::{self, Work};

/// Where a worker process gets the items of a chunk from and puts their outcomes.
///
/// Implemented by backends for their worker side; [`Function::call`](super::Function::call)
/// drives it: for each item `next`, then the user's function, and then one entry is appended
/// to `outcomes`. The call after that, `next` or `begin_state`, finds it there.
pub trait Port {
    /// The next item, which counts as running from now on; the one before has ended, with
    /// the outcome that was appended. Called again after `None`, it gives `None`.
    fn next(&mut self) -> Option<Item<'_>>;

    /// The next item counts as running from now on, though not against its limit: first the
    /// worker's state is made. False if there is no next item. `next` follows.
    fn begin_state(&mut self) -> bool {
        true
    }

    /// The function has ended, and what is yet to do for the item is not its fault: time
    /// from now on does not count against its limit.
    fn stop_clock(&mut self) {}

    /// Where to append the outcome of the running item.
    fn outcomes(&mut self) -> &mut Bundle;

    /// The context of the job's [`Setup`](super::Setup), encoded; empty without one.
    fn context(&self) -> &[u8];

    /// Where the worker's state of the job's [`Setup`](super::Setup) is kept from chunk to
    /// chunk. Without a setup it need not be kept.
    fn kept(&mut self) -> &mut Option<Box<dyn KeptState>>;
}

/// An item that is about to run.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What [`Port::outcomes`] gives.
    pub outcomes: &'a mut Bundle,
}

/// A chunk that is in memory as a whole.
pub(super) struct WholeChunk<'a> {
    items: &'a Bundle,
    next: usize,
    next_start: usize,
    outcomes: Bundle,
    context: &'a [u8],
    kept: &'a mut Option<Box<dyn KeptState>>,
}

impl<'a> WholeChunk<'a> {
    pub(super) fn new(
        items: &'a Bundle,
        context: &'a [u8],
        kept: &'a mut Option<Box<dyn KeptState>>,
    ) -> Self {
        Self {
            items,
            next: 0,
            next_start: 0,
            outcomes: Bundle::default(),
            context,
            kept,
        }
    }

    pub(super) fn into_outcomes(self) -> Bundle {
        self.outcomes
    }
}

impl Port for WholeChunk<'_> {
    fn next(&mut self) -> Option<Item<'_>> {
        if self.next == self.items.len() {
            return None;
        }
        let start = self.next_start;
        let end = start + self.items.len_at(self.next);
        self.next += 1;
        self.next_start = end;
        // A bundle that is not consistent ends early.
        let bytes = self.items.bytes.get(start..end)?;
        let outcomes = &mut self.outcomes;
        Some(Item { bytes, outcomes })
    }

    fn begin_state(&mut self) -> bool {
        self.next < self.items.len()
    }

    fn outcomes(&mut self) -> &mut Bundle {
        &mut self.outcomes
    }

    fn context(&self) -> &[u8] {
        self.context
    }

    fn kept(&mut self) -> &mut Option<Box<dyn KeptState>> {
        self.kept
    }
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
    /// What is done with the current item, to tell whose panic it is.
    pub(super) stage: Stage,
    /// Where the outcome of the current item begins.
    pub(super) start: usize,
    items: PhantomData<fn(I)>,
}

/// What a worker does with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing: the last one is done.
    Between,
    /// Its state is being made.
    Starting,
    Decoding,
    Calling,
    Encoding,
}

impl<I, W: Work<I>> Kept<I, W> {
    pub(super) fn new(work: W) -> Self {
        Self {
            work,
            state: None,
            stage: Stage::Between,
            start: 0,
            items: PhantomData,
        }
    }

    /// Makes the state where there is none. False if there is no item that needs it.
    #[inline]
    pub(super) fn start(&mut self, port: &mut dyn Port) -> bool {
        if self.state.is_none() {
            if !port.begin_state() {
                return false;
            }
            self.stage = Stage::Starting;
            self.state = Some(self.work.start());
            self.stage = Stage::Between;
        }
        true
    }

    /// Calls the function, after [`start`](Self::start).
    #[inline]
    pub(super) fn call(&mut self, item: I) -> Result<W::Out, W::Error> {
        self.stage = Stage::Calling;
        match &mut self.state {
            Some(state) => self.work.call(state, item),
            None => unreachable!("the state was made before the item was taken"),
        }
    }

    /// Ends the item that panicked.
    pub(super) fn note_panic(&mut self, panic: &Panic, port: &mut dyn Port) {
        match self.stage {
            Stage::Between => return,
            Stage::Starting => {
                // The item that the state was for ends with it.
                if port.next().is_some() {
                    self.push_panic(panic, port);
                }
            }
            Stage::Decoding => {
                let why = format!("decoding panicked: {panic}");
                port.outcomes().push_message(Kind::NotDecodable, &why);
            }
            Stage::Calling => {
                // The panic may have left it half-changed: the next item gets a new one.
                drop_quietly(self.state.take());
                self.push_panic(panic, port);
            }
            Stage::Encoding => {
                let bundle = port.outcomes();
                bundle.truncate_bytes(self.start);
                let why = format!("encoding panicked: {panic}");
                bundle.push_message(Kind::NotEncodable, &why);
            }
        }
        self.stage = Stage::Between;
    }

    fn push_panic(&self, panic: &Panic, port: &mut dyn Port) {
        // Resolving a backtrace takes long.
        port.stop_clock();
        let parts = (panic.message(), panic.location(), panic.backtrace());
        let encoded = port.outcomes().push(Kind::Panicked, &parts);
        encoded.expect("strings can be encoded");
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
