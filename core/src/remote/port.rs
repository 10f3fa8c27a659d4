//! [`Port`]: a worker's side of a remote job.

use std::any::Any;
use std::marker::PhantomData;

use super::bundle::{Bundle, Kind};
use super::run::{Cursor, Items, Log, Run};
use super::sink::{Sink, Written};
use crate::Panic;
use crate::panic::drop_quietly;
use crate::work::{self, Work};

/// Where a worker process gets the items of a chunk from and puts their outcomes.
///
/// Implemented by backends for their worker side; [`Function::call`](super::Function::call)
/// drives it.
pub trait Port {
    /// The next items: at least one, or `None` if there are no more. What went before has
    /// ended; an outcome that is not in the log of its run is in the
    /// [`Written`] that the run was given.
    fn run(&mut self) -> Option<Run<'_>>;

    /// The next item counts as running from now on, though not against its limit: first the
    /// worker's state is made. False if there is no next item. [`run`](Self::run) follows.
    fn begin_state(&mut self) -> bool {
        true
    }

    /// The function has ended, and what is yet to do for the item is not its fault: time
    /// from now on does not count against its limit.
    fn stop_clock(&mut self) {}

    /// Where to write the outcome of the running item when its run was left.
    fn sink(&mut self) -> Sink<'_>;

    /// The context of the job's [`Setup`](super::Setup), encoded; empty without one.
    fn context(&self) -> &[u8];

    /// Where the worker's state of the job's [`Setup`](super::Setup) is kept from chunk to
    /// chunk. Without a setup it need not be kept.
    fn kept(&mut self) -> &mut Option<Box<dyn KeptState>>;
}

/// A chunk that is in memory as a whole.
pub(super) struct WholeChunk<'a> {
    items: Items<'a>,
    cursor: Cursor,
    written: Written,
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
            items: items.into(),
            cursor: Cursor::default(),
            written: Written::default(),
            outcomes: Bundle::default(),
            context,
            kept,
        }
    }

    pub(super) fn into_outcomes(self) -> Bundle {
        self.outcomes
    }

    fn end_item(&mut self) {
        if let Some(entry) = self.written.take_entry() {
            self.outcomes.bytes.extend_from_slice(self.written.spill());
            self.outcomes.lengths.push(entry);
        }
    }
}

impl Port for WholeChunk<'_> {
    fn run(&mut self) -> Option<Run<'_>> {
        self.end_item();
        let log = Log {
            bytes: &mut [],
            marks: None,
        };
        let has_item = self.items.has(self.cursor);
        has_item.then(|| Run::new(self.items, &mut self.cursor, &mut self.written, log))
    }

    fn begin_state(&mut self) -> bool {
        self.end_item();
        self.items.has(self.cursor)
    }

    fn sink(&mut self) -> Sink<'_> {
        Sink::new(&mut [], &mut self.written)
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
                while let Some(mut run) = port.run() {
                    if run.begin().is_some() {
                        self.push_panic(panic, port);
                        break;
                    }
                }
            }
            Stage::Decoding => {
                let why = format!("decoding panicked: {panic}");
                port.sink().put_message(Kind::NotDecodable, &why);
            }
            Stage::Calling => {
                // The panic may have left it half-changed: the next item gets a new one.
                drop_quietly(self.state.take());
                self.push_panic(panic, port);
            }
            Stage::Encoding => {
                let why = format!("encoding panicked: {panic}");
                port.sink().put_message(Kind::NotEncodable, &why);
            }
        }
        self.stage = Stage::Between;
    }

    fn push_panic(&self, panic: &Panic, port: &mut dyn Port) {
        // Resolving a backtrace takes long.
        port.stop_clock();
        let parts = (panic.message(), panic.location(), panic.backtrace());
        port.sink().put_message(Kind::Panicked, &parts);
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
