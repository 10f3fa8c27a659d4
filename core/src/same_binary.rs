//! [`SameBinaryExt`]: what users call on executors whose workers are processes of this
//! binary; and the engine behind it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crew::{Crew, StateCrew};
use crate::events::{Event, Order, Teller};
use crate::job::{Body, Job};
use crate::map::{Drive, Ended, Engine, StreamEngine};
use crate::remote::{InitPointer, Remotable, RemoteTask, Shipper};
use crate::stream::BoxedEvents;
use crate::work::{Bare, Plain, Trying, WithContext, WithState};
use crate::{Executor, Handle, InProcess, Map, MapError, SameBinary, SetupError};

/// What can travel between processes: it can be encoded, decoded and sent.
///
/// Implemented for every such type.
pub trait Wire: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Wire for T {}

/// Submitting and mapping on executors whose workers may be other processes of this
/// binary: function pointers and closures that capture nothing, over values that can be
/// encoded.
pub trait SameBinaryExt: Executor<Reach = SameBinary> {
    /// Runs `f(input)` on a worker; the handle gives the result.
    fn submit<I: Wire, R: Wire>(&self, input: I, f: fn(I) -> R) -> Handle<'static, R> {
        submit(self, input, Plain(f))
    }

    /// The same for a function that can fail.
    fn try_submit<I, R, Err>(&self, input: I, f: fn(I) -> Result<R, Err>) -> Handle<'static, R, Err>
    where
        I: Wire,
        R: Wire,
        Err: Wire + fmt::Display,
    {
        submit(self, input, Trying(f))
    }

    /// A map of `f` over `items`. See [`Map`] for its options and endings.
    #[doc(alias = "process_map")]
    fn map<It, R>(
        &self,
        items: It,
        f: fn(It::Item) -> R,
    ) -> Map<'_, Self, It, Plain<fn(It::Item) -> R>>
    where
        It: IntoIterator<Item: Wire, IntoIter: Send>,
        R: Wire,
    {
        Map::new(self, items, Plain(f))
    }

    /// A map of a function that can fail; what failures do is up to the map's
    /// [`ErrorPolicy`](crate::ErrorPolicy).
    fn try_map<It, R, Err>(
        &self,
        items: It,
        f: fn(It::Item) -> Result<R, Err>,
    ) -> Map<'_, Self, It, Trying<fn(It::Item) -> Result<R, Err>>>
    where
        It: IntoIterator<Item: Wire, IntoIter: Send>,
        R: Wire,
        Err: Wire + fmt::Display,
    {
        Map::new(self, items, Trying(f))
    }

    /// Maps that share `context`, which is sent once to each worker: `f(&context, item)`.
    fn context<C: Wire + Sync>(&self, context: C) -> Crew<'_, Self, C, SameBinary> {
        Crew::new(self, context)
    }

    /// Maps whose workers each keep a state made by `init`: `f(&mut state, item)`.
    ///
    /// A worker makes its state when it gets its first item of a map, keeps it from chunk to
    /// chunk, and makes a new one after a panic; so does a worker that replaces it.
    fn init<S: Send + 'static>(
        &self,
        init: fn() -> S,
    ) -> StateCrew<'_, Self, (), Bare<fn() -> S>, fn(S), SameBinary> {
        StateCrew::new(self, (), Bare(init), drop::<S>)
    }
}

impl<E: Executor<Reach = SameBinary> + ?Sized> SameBinaryExt for E {}

fn submit<E, I, W>(executor: &E, input: I, work: W) -> Handle<'static, W::Out, W::Error>
where
    E: Executor + ?Sized,
    I: Wire,
    W: Remotable<I, Out: Send, Error: Send>,
{
    let task = Arc::new(RemoteTask::new(executor.id().key(), work, input));
    let body: Arc<dyn Body> = task.clone();
    if let Err(job) = executor.spawn(Job::new(body)) {
        job.refuse();
    }
    Handle::new(task)
}

/// An in-process executor behind one of wider reach, as a map's executor.
type Local<'e> = dyn Executor<Reach = InProcess> + 'e;

#[expect(private_interfaces, reason = "sealed; see the trait")]
impl<E, It, W> Engine<E, It, W> for SameBinary
where
    E: Executor + ?Sized,
    It: IntoIterator<Item: Wire, IntoIter: Send>,
    W: Remotable<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    fn drive(
        map: Map<'_, E, It, W>,
        how: Drive,
        tell: &mut dyn FnMut(Event<W::Out, W::Error>),
    ) -> Result<Ended, SetupError> {
        if let Some(local) = map.executor.in_process() {
            return <InProcess as Engine<Local<'_>, It, W>>::drive(map.on(local), how, tell);
        }
        let (order, is_bounded) = match how {
            Drive::Streamed(order) => (order, true),
            Drive::AtEnd | Drive::Dropped => (Order::Completion, false),
        };
        let teller = Teller::new(start(map, order, is_bounded)?);
        Ok(teller.tell_all(tell))
    }

    fn collect(map: Map<'_, E, It, W>) -> Result<Vec<W::Out>, MapError<W::Error>> {
        if let Some(local) = map.executor.in_process() {
            return <InProcess as Engine<Local<'_>, It, W>>::collect(map.on(local));
        }
        let policy = map.options.policy;
        start(map, Order::Completion, false)?.collect(policy)
    }
}

#[expect(private_interfaces, reason = "sealed; see the trait")]
impl<E, It, W> StreamEngine<E, It, W> for SameBinary
where
    E: Executor + ?Sized,
    It: IntoIterator<Item: Wire, IntoIter: Send> + 'static,
    W: Remotable<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    fn stream<'e>(
        map: Map<'e, E, It, W>,
        order: Order,
    ) -> Result<BoxedEvents<'e, W::Out, W::Error>, SetupError> {
        if let Some(local) = map.executor.in_process() {
            return <InProcess as StreamEngine<Local<'_>, It, W>>::stream(map.on(local), order);
        }
        Ok(Box::new(Teller::new(start(map, order, true)?)))
    }
}

fn start<'e, E, It, W>(
    map: Map<'e, E, It, W>,
    order: Order,
    is_bounded: bool,
) -> Result<Shipper<'e, E, It::IntoIter, W>, SetupError>
where
    E: Executor + ?Sized,
    It: IntoIterator<Item: Wire>,
    W: Remotable<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    let input = map.items.into_iter();
    Shipper::start(
        map.executor,
        input,
        map.work,
        map.options,
        order,
        is_bounded,
    )
}

impl<'e, E: ?Sized, It: IntoIterator, W> Map<'e, E, It, W> {
    /// The same map on another executor.
    fn on<F: ?Sized>(self, executor: &'e F) -> Map<'e, F, It, W> {
        Map {
            executor,
            items: self.items,
            work: self.work,
            options: self.options,
        }
    }
}

impl<'e, E, C> Crew<'e, E, C, SameBinary>
where
    E: Executor<Reach = SameBinary> + ?Sized,
    C: Wire + Sync,
{
    /// A map of `f(&context, item)`.
    pub fn map<It, R>(
        self,
        items: It,
        f: fn(&C, It::Item) -> R,
    ) -> Map<'e, E, It, WithContext<C, Plain<fn(&C, It::Item) -> R>>>
    where
        It: IntoIterator<Item: Wire, IntoIter: Send>,
        R: Wire,
    {
        let (executor, work) = self.work(Plain(f));
        Map::new(executor, items, work)
    }

    /// A map of a function that can fail.
    pub fn try_map<It, R, Err>(
        self,
        items: It,
        f: fn(&C, It::Item) -> Result<R, Err>,
    ) -> Map<'e, E, It, WithContext<C, Trying<fn(&C, It::Item) -> Result<R, Err>>>>
    where
        It: IntoIterator<Item: Wire, IntoIter: Send>,
        R: Wire,
        Err: Wire + fmt::Display,
    {
        let (executor, work) = self.work(Trying(f));
        Map::new(executor, items, work)
    }

    /// Has each worker make a state from the context.
    pub fn init<S: Send + 'static>(
        self,
        init: fn(&C) -> S,
    ) -> StateCrew<'e, E, C, fn(&C) -> S, fn(S), SameBinary> {
        let (executor, context) = self.into_parts();
        StateCrew::new(executor, context, init, drop::<S>)
    }
}

impl<'e, E, C, S, Init> StateCrew<'e, E, C, Init, fn(S), SameBinary>
where
    E: Executor<Reach = SameBinary> + ?Sized,
    C: Wire + Sync,
    S: Send + 'static,
    Init: InitPointer<C, State = S>,
{
    /// Has `exit` called with a worker's state when the worker has no more items of the
    /// map. Default: the state is dropped.
    pub fn on_exit(self, exit: fn(S)) -> Self {
        self.with_exit(exit)
    }

    /// A map of `f(&mut state, item)`.
    pub fn map<It, R>(
        self,
        items: It,
        f: fn(&mut S, It::Item) -> R,
    ) -> Map<'e, E, It, WithState<C, Init, fn(S), Plain<fn(&mut S, It::Item) -> R>>>
    where
        It: IntoIterator<Item: Wire, IntoIter: Send>,
        R: Wire,
    {
        let (executor, work) = self.work(Plain(f));
        Map::new(executor, items, work)
    }

    /// A map of a function that can fail.
    pub fn try_map<It, R, Err>(
        self,
        items: It,
        f: fn(&mut S, It::Item) -> Result<R, Err>,
    ) -> Map<'e, E, It, WithState<C, Init, fn(S), Trying<fn(&mut S, It::Item) -> Result<R, Err>>>>
    where
        It: IntoIterator<Item: Wire, IntoIter: Send>,
        R: Wire,
        Err: Wire + fmt::Display,
    {
        let (executor, work) = self.work(Trying(f));
        Map::new(executor, items, work)
    }
}
