//! [`InProcessExt`]: what users call on executors that run jobs in this process; and the
//! engine behind it.

use std::convert::Infallible;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::control::Control;
use crate::crew::{Crew, StateCrew};
use crate::events::{Event, Order, Teller};
use crate::flow::{Consumer, Delivery, Flow, LimitsThread};
use crate::job::{GaveUp, Job};
use crate::lease::{self, Lease, Lent, forget_lifetime};
use crate::map::{self, Drive, Ended, Engine, StreamEngine};
use crate::options::Options;
use crate::scope::{Scope, scope};
use crate::slots::Slots;
use crate::source::{Counted, Items, Source};
use crate::stream::BoxedEvents;
use crate::task::Task;
use crate::work::{Bare, Plain, Trying, Work};
use crate::{
    CancelReason, ErrorPolicy, Executor, Handle, InProcess, Map, MapError, SetupError, TaskError,
    frame,
};

/// Submitting and mapping on executors that run jobs in this process: any closure, with
/// borrowed data where the call waits.
pub trait InProcessExt: Executor<Reach = InProcess> {
    /// Runs `f(input)` on a worker; the handle gives the result.
    ///
    /// On an executor that refuses work, the handle gives
    /// [`Refused`](crate::TaskErrorKind::Refused).
    ///
    /// ```
    /// use taskfarm_core::{InProcessExt, InlineExecutor};
    ///
    /// let handle = InlineExecutor::new().submit("seven", str::len);
    /// assert_eq!(handle.join()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn submit<I, R, F>(&self, input: I, f: F) -> Handle<'static, R>
    where
        I: Send + 'static,
        R: Send + 'static,
        F: FnOnce(I) -> R + Send + 'static,
    {
        self.try_submit(input, move |input| Ok::<_, Infallible>(f(input)))
    }

    /// The same for a function that can fail.
    fn try_submit<I, R, Err, F>(&self, input: I, f: F) -> Handle<'static, R, Err>
    where
        I: Send + 'static,
        R: Send + 'static,
        Err: Send + 'static,
        F: FnOnce(I) -> Result<R, Err> + Send + 'static,
    {
        let task = Arc::new(Task::new(self.id().key(), move || f(input)));
        if let Err(job) = self.spawn(Job::new(task.clone())) {
            job.refuse();
        }
        Handle::new(task)
    }

    /// A map of `f` over `items`. See [`Map`] for its options and endings.
    ///
    /// ```
    /// use taskfarm_core::{InProcessExt, InlineExecutor};
    ///
    /// let words = ["a", "bc"];
    /// let lengths: Vec<usize> = InlineExecutor::new().map(&words, |word| word.len()).collect()?;
    /// assert_eq!(lengths, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "parallel_map")]
    #[doc(alias = "threaded_map")]
    #[doc(alias = "process_map")]
    #[doc(alias = "thread_map")]
    #[doc(alias = "imap")]
    fn map<It, R, F>(&self, items: It, f: F) -> Map<'_, Self, It, Plain<F>>
    where
        It: IntoIterator<Item: Send, IntoIter: Send>,
        R: Send,
        F: Fn(It::Item) -> R + Send + Sync,
    {
        Map::new(self, items, Plain(f))
    }

    /// A map of a function that can fail; what failures do is up to the map's
    /// [`ErrorPolicy`].
    fn try_map<It, R, Err, F>(&self, items: It, f: F) -> Map<'_, Self, It, Trying<F>>
    where
        It: IntoIterator<Item: Send, IntoIter: Send>,
        R: Send,
        Err: fmt::Display + Send,
        F: Fn(It::Item) -> Result<R, Err> + Send + Sync,
    {
        Map::new(self, items, Trying(f))
    }

    /// Maps that share `context`: `f(&context, item)`.
    ///
    /// ```
    /// use taskfarm_core::{InProcessExt, InlineExecutor};
    ///
    /// let executor = InlineExecutor::new();
    /// let scaled: Vec<i32> = executor.context(10).map(1..4, |factor, n| factor * n).collect()?;
    /// assert_eq!(scaled, [10, 20, 30]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn context<C: Send + Sync>(&self, context: C) -> Crew<'_, Self, C, InProcess> {
        Crew::new(self, context)
    }

    /// Maps whose workers each keep a state made by `init`: `f(&mut state, item)`.
    ///
    /// A worker makes its state when it gets its first item of a map, keeps it to the end of
    /// the map, and makes a new one after a panic. Where a worker leaves a map for a while and
    /// another comes (results that nobody takes), the state passes on. See [`StateCrew::on_exit`].
    ///
    /// ```
    /// use taskfarm_core::{InProcessExt, InlineExecutor};
    ///
    /// let lengths: Vec<usize> = InlineExecutor::new()
    ///     .init(String::new)
    ///     .map([1, 10, 100], |buffer, n: i32| {
    ///         buffer.clear();
    ///         buffer.push_str(&n.to_string());
    ///         buffer.len()
    ///     })
    ///     .collect()?;
    /// assert_eq!(lengths, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn init<S, Init>(&self, init: Init) -> StateCrew<'_, Self, (), Bare<Init>, fn(S), InProcess>
    where
        S: Send,
        Init: Fn() -> S + Send + Sync,
    {
        StateCrew::new(self, (), Bare(init), drop::<S> as fn(S))
    }

    /// Runs `body`, in which tasks that borrow can be submitted; returns when all of them
    /// have ended.
    ///
    /// ```
    /// use taskfarm_core::{InProcessExt, InlineExecutor};
    ///
    /// let text = String::from("hello");
    /// let len = InlineExecutor::new().scope(|s| s.submit(&text, |text| text.len()).join());
    /// assert_eq!(len?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `body` does; tasks that have not started are cancelled then. A task that panics
    /// does not make the scope panic: its handle says so.
    fn scope<'env, R, F>(&'env self, body: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env, Self>) -> R,
    {
        scope(self, body)
    }
}

impl<E: Executor<Reach = InProcess> + ?Sized> InProcessExt for E {}

#[expect(private_interfaces, reason = "sealed; see the trait")]
impl<E, It, W> Engine<E, It, W> for InProcess
where
    E: Executor + ?Sized,
    It: IntoIterator<Item: Send, IntoIter: Send>,
    W: Work<It::Item, Out: Send, Error: fmt::Display + Send, State: Send>,
{
    fn drive(
        map: Map<'_, E, It, W>,
        how: Drive,
        tell: &mut dyn FnMut(Event<W::Out, W::Error>),
    ) -> Result<Ended, SetupError> {
        let (order, delivery) = match how {
            Drive::Streamed(order) => (order, Delivery::Streamed),
            Drive::AtEnd => (Order::Completion, Delivery::AtEnd),
            Drive::Dropped => (Order::Completion, Delivery::Dropped),
        };
        if map.options.is_limited() {
            // Items that are left behind are known one by one, as they end.
            let delivery = match delivery {
                Delivery::AtEnd | Delivery::Dropped => Delivery::StreamedUnbounded,
                delivery => delivery,
            };
            let (executor, flow) = start(map, delivery)?;
            // SAFETY: the options that limit a map can be set only where it borrows nothing.
            let lent = unsafe { forget_lifetime(flow.clone()) };
            return consume_limited(executor, flow, lent, order, tell);
        }
        let (executor, flow) = start(map, delivery)?;
        Ok(lease::lend(
            executor.id().key(),
            flow.clone(),
            |lease| match delivery {
                Delivery::Streamed | Delivery::StreamedUnbounded => {
                    let consumer =
                        Consumer::new(executor, flow.clone(), lease.clone(), order, None);
                    Teller::new(consumer).tell_all(tell)
                }
                Delivery::AtEnd | Delivery::Dropped => {
                    let lent = work_off(executor, lease, flow.num_tickets());
                    tell_at_end(&flow, lent, tell);
                    flow.control().ended()
                }
            },
        ))
    }

    fn collect(map: Map<'_, E, It, W>) -> Result<Vec<W::Out>, MapError<W::Error>> {
        let options = &map.options;
        let ends_at_failure = options.policy == ErrorPolicy::FailFast && options.retries == 0;
        if !ends_at_failure || options.is_limited() {
            return collect_by_events(map);
        }
        match into_vec(map.items) {
            Ok(items) => {
                let source = Items::new(items);
                collect_in_slots(map.executor, source, map.work, map.options)
            }
            Err(items) => {
                let items = items.into_iter();
                match known_len(&items).filter(|&len| may_reserve::<W::Out>(len)) {
                    Some(len) => {
                        let source = Counted::new(items, len);
                        collect_in_slots(map.executor, source, map.work, map.options)
                    }
                    None => collect_by_events(Map {
                        executor: map.executor,
                        items,
                        work: map.work,
                        options: map.options,
                    }),
                }
            }
        }
    }
}

/// Whether room for so many results may be reserved before there is one.
fn may_reserve<R>(len: usize) -> bool {
    const MAX_BYTES: usize = 1 << 30;
    len.saturating_mul(size_of::<R>()) <= MAX_BYTES
}

/// How many items an iterator has, if it knows.
fn known_len<It: Iterator>(items: &It) -> Option<usize> {
    match items.size_hint() {
        (low, Some(high)) if low == high => Some(low),
        _ => None,
    }
}

fn collect_in_slots<E, S, W>(
    executor: &E,
    source: S,
    work: W,
    mut options: Options<S::Item>,
) -> Result<Vec<W::Out>, MapError<W::Error>>
where
    E: Executor + ?Sized,
    S: Source,
    W: Work<S::Item, Out: Send, Error: fmt::Display + Send, State: Send>,
{
    options.check(executor.capabilities())?;
    let num_workers = executor.parallelism().get();
    let control = Control::new(executor, &mut options, Some(source.len()), num_workers + 1);
    let slots = Arc::new(Slots::new(
        source,
        work,
        control,
        num_workers,
        options.chunk_size,
    ));
    let lent = lease::lend(executor.id().key(), slots.clone(), |lease| {
        work_off(executor, lease, slots.num_tickets())
    });
    let slots = Arc::into_inner(slots).expect("a lease that has ended holds nothing");
    let results = slots.into_results(lent);
    results.map_err(|failure| MapError::failed(vec![failure]))
}

fn collect_by_events<E, It, W>(map: Map<'_, E, It, W>) -> Result<Vec<W::Out>, MapError<W::Error>>
where
    E: Executor + ?Sized,
    It: IntoIterator<Item: Send, IntoIter: Send>,
    W: Work<It::Item, Out: Send, Error: fmt::Display + Send, State: Send>,
{
    map::collect_by_events(map.options.policy, |tell| {
        <InProcess as Engine<E, It, W>>::drive(map, Drive::AtEnd, tell)
    })
}

#[expect(private_interfaces, reason = "sealed; see the trait")]
impl<E, It, W> StreamEngine<E, It, W> for InProcess
where
    E: Executor + ?Sized,
    It: IntoIterator<Item: Send, IntoIter: Send> + 'static,
    W: Work<It::Item, Out: Send, Error: fmt::Display + Send, State: Send> + 'static,
{
    fn stream<'e>(
        map: Map<'e, E, It, W>,
        order: Order,
    ) -> Result<BoxedEvents<'e, W::Out, W::Error>, SetupError> {
        let is_limited = map.options.is_limited();
        let (executor, flow) = start(map, Delivery::Streamed)?;
        let lease = Lease::new(executor.id().key(), flow.clone());
        let limits = is_limited
            .then(|| LimitsThread::start(flow.clone(), flow.control().token()))
            .transpose()?;
        let consumer = Consumer::new(executor, flow, lease, order, limits);
        Ok(Box::new(Teller::new(consumer)))
    }
}

/// Checks the options and sets the map up, without running anything.
fn start<'e, E, It, W>(
    mut map: Map<'e, E, It, W>,
    delivery: Delivery,
) -> Result<(&'e E, Arc<Flow<It::IntoIter, W>>), SetupError>
where
    E: Executor + ?Sized,
    It: IntoIterator<Item: Send, IntoIter: Send>,
    W: Work<It::Item, Out: Send, Error: fmt::Display + Send, State: Send>,
{
    let executor = map.executor;
    map.options.check(executor.capabilities())?;
    let num_workers = executor.parallelism().get();
    let items = map.items.into_iter();
    let total = known_len(&items);
    let control = Control::new(executor, &mut map.options, total, num_workers + 1);
    let key = executor.id().key();
    let flow = Flow::new(
        items,
        map.work,
        control,
        key,
        num_workers,
        delivery,
        &map.options,
    );
    Ok((executor, flow))
}

/// Runs a map whose running items may be left behind.
fn consume_limited<E, It, W>(
    executor: &E,
    flow: Arc<Flow<It, W>>,
    lent: Arc<dyn Lent>,
    order: Order,
    tell: &mut dyn FnMut(Event<W::Out, W::Error>),
) -> Result<Ended, SetupError>
where
    E: Executor + ?Sized,
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: fmt::Display + Send, State: Send>,
{
    let lease = Lease::new(executor.id().key(), lent.clone());
    let limits = LimitsThread::start(lent, flow.control().token())?;
    let consumer = Consumer::new(executor, flow, lease, order, Some(limits));
    Ok(Teller::new(consumer).tell_all(tell))
}

/// Has the executor do the work, with this thread's help if it is one of its workers.
fn work_off<E>(executor: &E, lease: &Arc<Lease>, num_tickets: usize) -> Result<(), GaveUp>
where
    E: Executor + ?Sized,
{
    lease.wake_on_cancel();
    for _ in 0..num_tickets {
        lease.spawn(executor);
    }
    if frame::is_worker_of(executor.id().key()) {
        lease.help();
    }
    lease.wait()
}

/// Tells the outcomes of a map that has ended, and what ended it.
fn tell_at_end<It, W>(
    flow: &Flow<It, W>,
    lent: Result<(), GaveUp>,
    tell: &mut dyn FnMut(Event<W::Out, W::Error>),
) where
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: fmt::Display + Send, State: Send>,
{
    let control = flow.control();
    let mut input_error = None;
    for (index, outcome) in flow.take_outcomes() {
        match outcome {
            Err(error) if crate::events::ends_input(&error) => input_error = Some(error),
            outcome => tell(Event::Item(index, outcome)),
        }
    }
    let index = flow.num_pulled();
    let broken = || match (control.stopped(), lent) {
        (Some(CancelReason::OtherFailed), _) => None,
        (Some(reason), _) if flow.is_cut() => Some(TaskError::cancelled(index, reason)),
        (None, Err(why)) if flow.is_cut() => Some(control.fail(index, 1, why.into_kind())),
        _ => None,
    };
    if let Some(error) = input_error.or_else(broken) {
        tell(Event::Broken(error));
    }
    control.finish(flow.num_pulled());
}

/// The items as a vector, if that is what they are.
fn into_vec<It: IntoIterator>(items: It) -> Result<Vec<It::Item>, It> {
    if typeid::of::<It>() != typeid::of::<Vec<It::Item>>() {
        return Err(items);
    }
    let items = ManuallyDrop::new(items);
    // SAFETY: up to lifetimes, `It` is `Vec<It::Item>`; and a `Vec<T>` whose items are
    // `It::Item` is a `Vec<It::Item>`, lifetimes included. `ManuallyDrop` gives up the
    // original.
    Ok(unsafe { std::mem::transmute_copy::<It, Vec<It::Item>>(&items) })
}
