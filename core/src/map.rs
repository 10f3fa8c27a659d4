//! [`Map`]: a map that has not started yet, with its options; and how it is ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::events::{Event, Order, Outcome, is_follower};
use crate::options::Options;
use crate::stream::{AsCompleted, Ordered};
use crate::work::Work;
use crate::{
    CancelReason, CancellationToken, ErrorPolicy, Executor, MapError, Observer, Report, SetupError,
    TaskError,
};

/// One function over many inputs, ready to run.
///
/// Made by the `map` methods of an executor. Nothing happens before one of the ending
/// methods is called: [`collect`](Self::collect), [`outcomes`](Self::outcomes),
/// [`for_each`](Self::for_each) and [`run`](Self::run) wait on the calling thread and may
/// use borrowed data; [`ordered`](Self::ordered) and [`as_completed`](Self::as_completed)
/// give iterators.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use taskfarm_core::{ErrorPolicy, InProcessExt, InlineExecutor};
///
/// let texts = ["1", "2", "three", "4"];
/// let numbers: Vec<u32> = InlineExecutor::new()
///     .try_map(texts, |text| text.parse::<u32>())
///     .on_error(ErrorPolicy::Skip)
///     .collect()?;
/// assert_eq!(numbers, [1, 2, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a map does nothing until it is collected, iterated or run"]
pub struct Map<'e, E: ?Sized, It: IntoIterator, W> {
    pub(crate) executor: &'e E,
    pub(crate) items: It,
    pub(crate) work: W,
    pub(crate) options: Options<It::Item>,
}

impl<'e, E: ?Sized, It: IntoIterator, W> Map<'e, E, It, W> {
    pub(crate) fn new(executor: &'e E, items: It, work: W) -> Self {
        Self {
            executor,
            items,
            work,
            options: Options::default(),
        }
    }

    /// Makes workers claim this many items at a time. Default: adaptive, about 50 µs of
    /// work.
    ///
    /// It changes nothing but the speed. Zero is a [`SetupError`] when the map starts.
    pub fn chunk_size(mut self, num_items: usize) -> Self {
        self.options.chunk_size = Some(num_items);
        self
    }

    /// Bounds the items that were pulled from the input and not yet delivered by an
    /// iterator or to `for_each`. Default: 256 for each worker.
    ///
    /// Zero is a [`SetupError`] when the map starts.
    pub fn in_flight(mut self, num_items: usize) -> Self {
        self.options.in_flight = Some(num_items);
        self
    }

    /// What to do when an item fails. Default: [`ErrorPolicy::FailFast`].
    pub fn on_error(mut self, policy: ErrorPolicy) -> Self {
        self.options.policy = policy;
        self
    }

    /// Gives each item up to `num_retries` further attempts when it fails, panics, exceeds
    /// its time limit, or is lost with its worker. Default: none.
    ///
    /// The item is cloned before each attempt but the last. An item that was lost with its
    /// worker process may have done part of its work: with retries, items run at least
    /// once, not at most once.
    pub fn retries(mut self, num_retries: u32) -> Self
    where
        It::Item: Clone,
    {
        self.options.retries = num_retries;
        self.options.clone = (num_retries > 0).then_some(Clone::clone as fn(&_) -> _);
        self
    }

    /// Limits the time of each item, from the item's own start. Default: no limit.
    ///
    /// An item that exceeds it ends as [`TimedOut`](crate::TaskErrorKind::TimedOut) at once.
    /// Its [token](CancellationToken::current) is set; a thread cannot be killed, so a
    /// function that ignores the token keeps its thread busy, and its late result is
    /// discarded. A worker process is killed and replaced. Limited maps borrow nothing,
    /// since their items may be left behind.
    pub fn timeout(mut self, limit: Duration) -> Self
    where
        It: 'static,
        W: 'static,
    {
        self.options.timeout = Some(limit);
        self
    }

    /// Limits the time of the whole map. Default: no limit.
    ///
    /// When it passes, items that run end as [`TimedOut`](crate::TaskErrorKind::TimedOut),
    /// and the rest as [`Cancelled`](crate::TaskErrorKind::Cancelled). As with
    /// [`timeout`](Self::timeout), the map borrows nothing.
    pub fn deadline(mut self, limit: Duration) -> Self
    where
        It: 'static,
        W: 'static,
    {
        self.options.deadline = Some(limit);
        self
    }

    /// Limits how long a map that ends early waits for the items that still run, after
    /// their tokens were set. Default: 100 ms with a `timeout` or `deadline`; without any
    /// limit, until they end, since they may borrow.
    ///
    /// Items that are left behind end as [`Cancelled`](crate::TaskErrorKind::Cancelled).
    /// A fail-fast map with any limit does not wait at all.
    pub fn grace(mut self, limit: Duration) -> Self
    where
        It: 'static,
        W: 'static,
    {
        self.options.grace = Some(limit);
        self
    }

    /// Cancels the map when `token` is cancelled: no item starts any more, and running
    /// ones are asked to stop.
    pub fn cancel_token(mut self, token: &CancellationToken) -> Self {
        self.options.token = Some(token.clone());
        self
    }

    /// Has `observer` watch the map; may be called several times.
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        self.options.observers.push(Arc::new(observer));
        self
    }
}

impl<'e, E, It, W> Map<'e, E, It, W>
where
    E: Executor<Reach: Engine<E, It, W>> + ?Sized,
    It: IntoIterator,
    W: Work<It::Item>,
{
    /// Runs the map and collects the results in input order.
    ///
    /// # Errors
    ///
    /// If an item failed, as the [`ErrorPolicy`] says; if the map was cancelled or its
    /// deadline passed; if the input iterator panicked; if an option makes no sense or the
    /// executor lacks what it needs (nothing has started then). No result is returned
    /// beside an error: use [`outcomes`](Self::outcomes) to keep both.
    pub fn collect<C: FromIterator<W::Out>>(self) -> Result<C, MapError<W::Error>> {
        let results = E::Reach::collect(self)?;
        Ok(results.into_iter().collect())
    }

    /// Runs the map and returns one outcome for each item, in input order.
    ///
    /// Under policies that end early, items that did not start are
    /// [`Cancelled`](crate::TaskErrorKind::Cancelled). Of an input whose length is unknown,
    /// items that were not even pulled are not reported.
    ///
    /// # Errors
    ///
    /// If an option makes no sense or the executor lacks what it needs.
    pub fn outcomes(self) -> Result<Vec<Outcome<W::Out, W::Error>>, SetupError> {
        let mut outcomes = Vec::new();
        let mut broken = None;
        let ended = E::Reach::drive(self, Drive::AtEnd, &mut |event| match event {
            Event::Item(index, outcome) => outcomes.push((index, outcome)),
            Event::Broken(error) => broken = Some(error),
        })?;
        Ok(fill(outcomes, broken, &ended))
    }

    /// Runs the map and calls `f` with each result, in input order, on this thread, while
    /// the workers go on. Items in flight are bounded, so inputs may be endless.
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect). Results that were ready before the failure have been
    /// handed to `f`.
    ///
    /// # Panics
    ///
    /// If `f` does; items that have not started are cancelled then.
    pub fn for_each(self, mut f: impl FnMut(W::Out)) -> Result<Report, MapError<W::Error>> {
        let mut failures = Failures::new(self.options.policy);
        let ended = E::Reach::drive(self, Drive::Streamed(Order::Input), &mut |event| {
            if let Some(value) = failures.sieve(event) {
                f(value);
            }
        })?;
        failures.check().map(|()| ended.report)
    }

    /// Runs the map for its effects, drops the results, and says how it went.
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect), except that failures which the policy lets pass
    /// ([`Collect`](ErrorPolicy::Collect), [`Skip`](ErrorPolicy::Skip)) are only counted.
    pub fn run(self) -> Result<Report, MapError<W::Error>> {
        let mut failures = Failures::new(self.options.policy);
        let ended = E::Reach::drive(self, Drive::Dropped, &mut |event| {
            drop(failures.sieve(event));
        })?;
        if ended.stopped.is_none() && failures.broken.is_none() {
            return Ok(ended.report);
        }
        failures.check().map(|()| ended.report)
    }

    /// Starts the map and yields its results in input order.
    ///
    /// The iterator is lazy and bounded: see [`in_flight`](Self::in_flight). Dropping it
    /// cancels what has not started.
    ///
    /// # Errors
    ///
    /// If an option makes no sense or the executor lacks what it needs.
    pub fn ordered(self) -> Result<Ordered<'e, W::Out, W::Error>, SetupError>
    where
        E::Reach: StreamEngine<E, It, W>,
    {
        let policy = self.options.policy;
        let events = E::Reach::stream(self, Order::Input)?;
        Ok(Ordered::new(events, policy))
    }

    /// Starts the map and yields each result with its index, soon after its item has ended.
    ///
    /// Lazy and bounded as [`ordered`](Self::ordered).
    ///
    /// # Errors
    ///
    /// If an option makes no sense or the executor lacks what it needs.
    pub fn as_completed(self) -> Result<AsCompleted<'e, W::Out, W::Error>, SetupError>
    where
        E::Reach: StreamEngine<E, It, W>,
    {
        let policy = self.options.policy;
        let events = E::Reach::stream(self, Order::Completion)?;
        Ok(AsCompleted::new(events, policy))
    }
}

/// How the caller of a blocking map wants its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
#[expect(private_interfaces, reason = "named only by the sealed engines")]
pub enum Drive {
    /// While the map runs, bounded.
    Streamed(Order),
    /// All of them when the map has ended, in any order.
    AtEnd,
    /// As `AtEnd`, without the results.
    Dropped,
}

/// How a blocking map went.
#[doc(hidden)]
#[derive(Debug)]
pub struct Ended {
    pub(crate) report: Report,
    /// Why it ended early, if it did.
    pub(crate) stopped: Option<CancelReason>,
}

/// How maps run on executors of one [reach](Executor::Reach). Implemented by this crate's
/// markers.
#[doc(hidden)]
#[expect(
    private_interfaces,
    reason = "not for implementing outside of this crate"
)]
pub trait Engine<E: ?Sized, It: IntoIterator, W: Work<It::Item>> {
    /// Runs the map on this thread's time, and calls `tell` with each event.
    fn drive(
        map: Map<'_, E, It, W>,
        how: Drive,
        tell: &mut dyn FnMut(Event<W::Out, W::Error>),
    ) -> Result<Ended, SetupError>;

    /// The results of all items in order.
    fn collect(map: Map<'_, E, It, W>) -> Result<Vec<W::Out>, MapError<W::Error>>;
}

/// Collects the results of a map that tells its events at the end.
pub(crate) fn collect_by_events<R, E>(
    policy: ErrorPolicy,
    drive: impl FnOnce(&mut dyn FnMut(Event<R, E>)) -> Result<Ended, SetupError>,
) -> Result<Vec<R>, MapError<E>> {
    let mut failures = Failures::new(policy);
    let mut results = Vec::new();
    drive(&mut |event| {
        let index = event.index();
        results.extend(failures.sieve(event).map(|value| (index, value)));
    })?;
    failures.check()?;
    // Mostly long ascending runs, which this sort merges.
    results.sort_by_key(|&(index, _)| index);
    Ok(results.into_iter().map(|(_, value)| value).collect())
}

/// The same for iterators, whose items may outlive the caller's frame.
#[doc(hidden)]
#[expect(
    private_interfaces,
    reason = "not for implementing outside of this crate"
)]
pub trait StreamEngine<E: ?Sized, It: IntoIterator, W: Work<It::Item>> {
    /// Starts the map.
    fn stream<'e>(
        map: Map<'e, E, It, W>,
        order: Order,
    ) -> Result<crate::stream::BoxedEvents<'e, W::Out, W::Error>, SetupError>;
}

/// Keeps the failures of a map and gives the results.
pub(crate) struct Failures<E> {
    policy: ErrorPolicy,
    failures: Vec<TaskError<E>>,
    broken: Option<TaskError<E>>,
}

impl<E> Failures<E> {
    pub(crate) fn new(policy: ErrorPolicy) -> Self {
        Self {
            policy,
            failures: Vec::new(),
            broken: None,
        }
    }

    /// The result in an event; anything else is kept or passed over.
    pub(crate) fn sieve<R>(&mut self, event: Event<R, E>) -> Option<R> {
        match event {
            Event::Item(_, Ok(value)) => return Some(value),
            Event::Item(_, Err(error)) if is_follower(&error) => {}
            // What is skipped has failed. A map that was cancelled is not a success.
            Event::Item(_, Err(error)) if self.policy == ErrorPolicy::Skip => {
                if error.is_cancelled() {
                    self.broken.get_or_insert(error);
                }
            }
            Event::Item(_, Err(error)) => self.failures.push(error),
            Event::Broken(error) => self.broken = Some(error),
        }
        None
    }

    /// The failures that the policy reports.
    pub(crate) fn check(mut self) -> Result<(), MapError<E>> {
        let is_fail_fast = self.policy == ErrorPolicy::FailFast;
        if is_fail_fast && !self.failures.is_empty() {
            // What broke the map is then one of these, or follows from them.
            self.failures.sort_by_key(TaskError::index);
            self.failures.truncate(1);
        } else {
            self.failures.extend(self.broken);
        }
        if self.failures.is_empty() {
            return Ok(());
        }
        Err(MapError::failed(self.failures))
    }
}

/// Sorts the outcomes of a map, and fills in those of known items that nobody reported.
fn fill<R, E>(
    mut outcomes: Vec<(usize, Outcome<R, E>)>,
    broken: Option<TaskError<E>>,
    ended: &Ended,
) -> Vec<Outcome<R, E>> {
    outcomes.sort_by_key(|&(index, _)| index);
    let reason = ended.stopped.unwrap_or(CancelReason::Abandoned);
    let num_items = usize::try_from(ended.report.tally().total()).unwrap_or(usize::MAX);
    let mut broken = broken.map(|error| (error.index(), error));
    let mut missing = |index| match broken.take_if(|(at, _)| *at == index) {
        Some((_, error)) => Err(error),
        None => Err(TaskError::cancelled(index, reason)),
    };
    let mut filled = Vec::with_capacity(num_items.max(outcomes.len()));
    for (index, outcome) in outcomes {
        while filled.len() < index {
            filled.push(missing(filled.len()));
        }
        filled.push(outcome);
    }
    while filled.len() < num_items {
        filled.push(missing(filled.len()));
    }
    filled
}

impl<E: ?Sized, It: IntoIterator, W> fmt::Debug for Map<'_, E, It, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
