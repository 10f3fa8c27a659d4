//! The general road of a map in this process: items are pulled from an iterator as they
//! are needed, run by *lanes*, and their outcomes collected by a *consumer*.
//!
//! - The iterator sits behind one lock and is pulled by whichever lane needs items
//!   (`pull`), never by two threads at once.
//! - A lane is a place to work: an outbox for outcomes and, under limits, the item that
//!   runs. A ticket of the [`Lease`](crate::lease::Lease) takes a free lane and works until the input
//!   is exhausted or the window is full. It never waits for the consumer: a full window
//!   sends it home, and the consumer calls for new tickets when there is room.
//! - The consumer ([`consumer`]) is the thread that wants the results. It sleeps on the
//!   [`Bell`].
//!
//! # Why the consumer sleeps through nothing
//!
//! The consumer sets the bell, then looks into every outbox, at the tickets and at the
//! token, each under its lock, and only then sleeps. Whoever changes one of these does it
//! under the same lock and afterwards looks at the bell. For each lock, one side comes
//! first: if the consumer does, its setting of the bell happens before the other's look;
//! if the other does, the consumer sees the change. (The counters of the input are read
//! without its lock; but whoever finds the input exhausted ends a ticket afterwards.)

mod consumer;
mod limits;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

pub(crate) use consumer::Consumer;
pub(crate) use limits::LimitsThread;

use crate::bell::Bell;
use crate::control::Control;
use crate::job::GaveUp;
use crate::lease::Lent;
use crate::options::Options;
use crate::pace::Pace;
use crate::panic::{Panic, catch, drop_quietly};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::thread::{self, ThreadId};
use crate::task::cause;
use crate::work::{self, Work};
use crate::{CancellationToken, TaskError, TaskErrorKind, frame};

/// How one item ended.
type Outcome<I, W> = Result<<W as Work<I>>::Out, TaskError<<W as Work<I>>::Error>>;

/// The most items that one claim pulls, unless the user says otherwise.
const MAX_PULL: usize = 1024;

/// The default bound on items in flight, for each worker.
const IN_FLIGHT_PER_WORKER: usize = 2048;

/// Without a bound of the user's, workers run ahead of the consumer by so many claims each,
/// a few milliseconds of work: memory for large items, and for slow ones, stays small.
const CLAIMS_AHEAD: usize = 64;

/// They may always be ahead by so many items each.
const LEAST_AHEAD: usize = 8;

/// A map over an iterator that is under way.
pub(crate) struct Flow<It: Iterator, W: Work<It::Item>> {
    work: W,
    control: Control,
    executor: u64,
    num_workers: usize,
    input: Mutex<Input<It>>,
    /// Whether the books are closed: what is pulled from now on counts for nothing. A lock
    /// of its own, because that of `input` may be held for as long as the iterator likes.
    is_closed: Mutex<bool>,
    /// Items pulled so far. Written under the lock of `is_closed`.
    pulled: AtomicUsize,
    /// Whether nothing more will be pulled. Written under one of the locks above.
    is_exhausted: AtomicBool,
    /// Items that the consumer has handed on. Written by the consumer.
    delivered: AtomicUsize,
    /// The bound on items in flight: the user's, or one that follows the pace.
    window: AtomicUsize,
    max_window: usize,
    is_adaptive: bool,
    lanes: Lanes<It::Item, W>,
    free_lanes: Mutex<Vec<usize>>,
    again: Mutex<VecDeque<Again<It::Item>>>,
    bell: Arc<Bell>,
    /// The consumer's thread, while it calls for tickets.
    calling: Mutex<Option<ThreadId>>,
    options: FlowOptions<It::Item>,
}

/// When the consumer gets the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// One by one, while the map runs: items in flight are bounded.
    Streamed,
    /// One by one, without a bound.
    StreamedUnbounded,
    /// All together, when the map has ended.
    AtEnd,
    /// Only failures, when the map has ended.
    Dropped,
}

/// What the lanes need of the map's options.
struct FlowOptions<I> {
    chunk_size: Option<usize>,
    retries: u32,
    clone: Option<fn(&I) -> I>,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    grace: Duration,
    /// Whether the consumer takes outcomes while the map runs.
    is_streamed: bool,
    /// Whether anybody wants the results of the items that end well.
    keeps_results: bool,
    /// Whether running items are tracked, so that they can be left behind.
    is_limited: bool,
}

struct Input<It> {
    /// `None` once it ended or nobody wants more of it.
    iterator: Option<It>,
    /// The panic that ended it, until the items before it have been taken.
    panic: Option<Panic>,
}

type Lanes<I, W> = Box<[CachePadded<Lane<I, W>>]>;

/// A place to work.
struct Lane<I, W: Work<I>> {
    outbox: Mutex<Vec<(usize, Outcome<I, W>)>>,
    /// The item that runs, under limits. Whoever takes it out reports its outcome.
    running: Mutex<Option<RunningItem<I>>>,
    /// The worker's state, while nobody works here.
    state: Mutex<Option<W::State>>,
}

struct RunningItem<I> {
    index: usize,
    attempt: u32,
    started: Instant,
    token: CancellationToken,
    spare: Option<I>,
}

/// An item to be tried again by any lane.
struct Again<I> {
    index: usize,
    attempt: u32,
    item: I,
}

/// What a pull brought.
enum Pulled {
    /// Items, of which the first has this index.
    Items(usize),
    /// Nothing: the input is exhausted, or the window full, or the map stopped.
    Nothing,
}

impl<It, W> Flow<It, W>
where
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    pub(crate) fn new(
        iterator: It,
        work: W,
        control: Control,
        executor: u64,
        num_workers: usize,
        delivery: Delivery,
        options: &Options<It::Item>,
    ) -> Arc<Self> {
        let is_adaptive = delivery == Delivery::Streamed && options.in_flight.is_none();
        let max_window = match delivery {
            Delivery::Streamed => options
                .in_flight
                .unwrap_or(IN_FLIGHT_PER_WORKER * num_workers),
            Delivery::StreamedUnbounded | Delivery::AtEnd | Delivery::Dropped => usize::MAX,
        };
        let bell = Arc::new(Bell::default());
        control.token().listen(Arc::downgrade(&bell) as _);
        // One lane more than workers: for a consumer that is itself a worker and helps.
        let num_lanes = num_workers + 1;
        Arc::new(Self {
            work,
            control,
            executor,
            num_workers,
            input: Mutex::new(Input {
                iterator: Some(iterator),
                panic: None,
            }),
            is_closed: Mutex::new(false),
            pulled: AtomicUsize::new(0),
            is_exhausted: AtomicBool::new(false),
            delivered: AtomicUsize::new(0),
            window: AtomicUsize::new(match is_adaptive {
                true => LEAST_AHEAD * num_workers,
                false => max_window,
            }),
            max_window,
            is_adaptive,
            lanes: (0..num_lanes)
                .map(|_| CachePadded::new(Lane::new()))
                .collect(),
            free_lanes: Mutex::new((0..num_lanes).collect()),
            again: Mutex::new(VecDeque::new()),
            bell,
            calling: Mutex::new(None),
            options: FlowOptions {
                chunk_size: options.chunk_size,
                retries: options.retries,
                clone: options.clone,
                timeout: options.timeout,
                deadline: options.deadline,
                grace: options.grace.unwrap_or(limits::DEFAULT_GRACE),
                is_streamed: matches!(delivery, Delivery::Streamed | Delivery::StreamedUnbounded),
                keeps_results: delivery != Delivery::Dropped,
                is_limited: options.is_limited(),
            },
        })
    }

    /// How many items may be pulled now.
    ///
    /// Less than a quarter of the window is as good as none: lanes that picked up every
    /// item's room as the consumer makes it would claim one item at a time.
    fn room(&self) -> usize {
        let window = self.window();
        let room = window.saturating_sub(self.in_flight());
        if room >= window / 4 { room } else { 0 }
    }

    /// Whether a new ticket would find something to do.
    fn has_work(&self) -> bool {
        !self.control.is_stopped() && self.num_waiting() > 0
    }

    /// How many items wait to be taken: there is room for them, or they are to be tried
    /// again.
    fn num_waiting(&self) -> usize {
        let num_new = match self.is_exhausted.load(Ordering::Acquire) {
            true => 0,
            false => self.room(),
        };
        num_new.saturating_add(self.again.lock().len())
    }

    /// Works in one lane: until nothing is left to take, or for one pull only.
    fn work_in(&self, number: usize, only_once: bool) {
        let mut lane = Worker {
            flow: self,
            number,
            state: self.lanes[number].state.lock().take(),
            unposted: Vec::new(),
        };
        let max = match self.options.chunk_size {
            Some(size) => size.min(self.max_window),
            None => MAX_PULL.min(self.max_window / (4 * self.num_workers)),
        };
        let mut pace = match self.options.is_limited || only_once {
            // A limited item may be left behind; nothing may wait behind it.
            true => Pace::new(Some(1), max),
            false => Pace::new(self.options.chunk_size, max),
        };
        let mut items = Vec::new();
        loop {
            if let Some(again) = self.take_again() {
                lane.run(again.index, again.attempt, again.item);
                lane.flush();
                continue;
            }
            let Pulled::Items(first) = self.pull(pace.size(), &mut items) else {
                break;
            };
            let num_items = items.len();
            for (nth, item) in items.drain(..).enumerate() {
                lane.run(first + nth, 1, item);
            }
            lane.flush();
            pace.done(num_items);
            self.end_pull(pace.size());
            if only_once {
                break;
            }
        }
        lane.leave();
    }

    fn take_again(&self) -> Option<Again<It::Item>> {
        if self.options.retries == 0 {
            return None;
        }
        self.again.lock().pop_front()
    }

    /// Pulls up to `wanted` items, as far as the window and the input allow.
    fn pull(&self, wanted: usize, items: &mut Vec<It::Item>) -> Pulled {
        let mut input = self.input.lock();
        let wanted = wanted.min(self.room());
        if wanted == 0 || self.control.is_stopped() {
            return Pulled::Nothing;
        }
        if let Some(panic) = input.panic.take() {
            let index = self.count_pulled(1);
            self.is_exhausted.store(true, Ordering::Release);
            drop(input);
            if let Some(index) = index {
                self.fail_input(index, panic);
            }
            return Pulled::Nothing;
        }
        let Some(iterator) = &mut input.iterator else {
            return Pulled::Nothing;
        };
        let caught = catch(|| pull_from(iterator, wanted, items));
        // Before the end is told: whoever sees the end must see all items.
        let first = self.count_pulled(items.len());
        let ended = match caught {
            Ok(false) => None,
            Ok(true) => {
                self.is_exhausted.store(true, Ordering::Release);
                input.iterator.take()
            }
            Err(panic) => {
                input.panic = Some(panic);
                input.iterator.take()
            }
        };
        let has_panicked = input.panic.is_some();
        drop(input);
        drop_quietly(ended);
        match first {
            Some(first) if !items.is_empty() => Pulled::Items(first),
            // The panic is the next thing to take.
            Some(_) if has_panicked => self.pull(wanted, items),
            Some(_) => Pulled::Nothing,
            None => {
                drop_quietly(std::mem::take(items));
                Pulled::Nothing
            }
        }
    }

    /// Enters pulled items into the books: the index of the first of them, or `None` if the
    /// books are closed.
    fn count_pulled(&self, num_items: usize) -> Option<usize> {
        let is_closed = self.is_closed.lock();
        if *is_closed {
            return None;
        }
        let first = self.pulled.load(Ordering::Relaxed);
        self.pulled.store(first + num_items, Ordering::Release);
        Some(first)
    }

    /// The input panicked when it was asked for the item at `index`.
    fn fail_input(&self, index: usize, panic: Panic) {
        let kind = TaskErrorKind::InputPanicked(panic);
        let error = self.control.fail(index, 1, kind);
        // Any lane's outbox will do.
        self.post(0, index, Err(error));
    }

    fn post(&self, lane: usize, index: usize, outcome: Outcome<It::Item, W>) {
        self.lanes[lane].outbox.lock().push((index, outcome));
        self.bell.ring_softly();
    }

    /// A lane has done the items of a pull, and its pace is so many for a claim.
    fn end_pull(&self, pace: usize) {
        if self.is_adaptive {
            let ahead = pace.saturating_mul(CLAIMS_AHEAD * self.num_workers);
            let least = LEAST_AHEAD * self.num_workers;
            let window = ahead.max(least).min(self.max_window);
            self.window.store(window, Ordering::Relaxed);
        }
        if self.in_flight() >= self.window() / 2 {
            self.bell.ring();
        }
    }

    /// How many items were pulled and not delivered yet, or a few more.
    pub(crate) fn in_flight(&self) -> usize {
        // In this order: an item is pulled before it is delivered, so what is loaded second
        // is not less. The other way round, items that pass between the loads would make
        // the difference negative.
        let delivered = self.delivered.load(Ordering::Acquire);
        self.pulled.load(Ordering::Acquire) - delivered
    }

    /// How many items may be in flight now.
    fn window(&self) -> usize {
        self.window.load(Ordering::Relaxed)
    }

    /// How many tickets find something to do at the start: at least one, which finds that
    /// the input is empty.
    pub(crate) fn num_tickets(&self) -> usize {
        let total = self.control.progress().total().unwrap_or(usize::MAX);
        self.num_workers.min(total.max(1))
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// How many items were pulled.
    pub(crate) fn num_pulled(&self) -> usize {
        self.pulled.load(Ordering::Acquire)
    }

    /// Whether items may be left that nobody pulled.
    pub(crate) fn is_cut(&self) -> bool {
        let total = self.control.progress().total();
        !self.is_exhausted.load(Ordering::Acquire)
            && total.is_none_or(|all| self.num_pulled() < all)
    }

    /// What is in the outboxes.
    pub(crate) fn take_outcomes(&self) -> impl Iterator<Item = (usize, Outcome<It::Item, W>)> {
        self.lanes
            .iter()
            .flat_map(|lane| std::mem::take(&mut *lane.outbox.lock()))
    }

    /// Closes the books of a stopped map. Whoever is inside the iterator stays there alone:
    /// what it still brings is dropped.
    fn close_input(&self) {
        *self.is_closed.lock() = true;
        self.is_exhausted.store(true, Ordering::Release);
        let iterator = self
            .input
            .try_lock()
            .and_then(|mut input| input.iterator.take());
        drop_quietly(iterator);
    }
}

/// Appends up to `wanted` items; whether the iterator has ended.
///
/// Items that are not there yet must not hold back those that are, so more than one at a
/// time are pulled only as far as the iterator says that it has them. Where it says that it
/// has no more, it is asked at once: the other lanes may be stuck in items that were left
/// behind, and nobody else would ever find the end.
fn pull_from<It: Iterator>(iterator: &mut It, wanted: usize, items: &mut Vec<It::Item>) -> bool {
    let at_hand = iterator.size_hint().0.clamp(1, wanted);
    for _ in 0..at_hand {
        match iterator.next() {
            Some(item) => items.push(item),
            None => return true,
        }
    }
    if iterator.size_hint() != (0, Some(0)) {
        return false;
    }
    match iterator.next() {
        Some(item) => items.push(item),
        None => return true,
    }
    false
}

/// A thread at work in a lane.
struct Worker<'a, It: Iterator, W: Work<It::Item>> {
    flow: &'a Flow<It, W>,
    number: usize,
    /// Made when the first item needs it, and again after a panic.
    state: Option<W::State>,
    /// Outcomes that nobody waits for one by one.
    unposted: Vec<(usize, Outcome<It::Item, W>)>,
}

impl<It, W> Worker<'_, It, W>
where
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    /// Runs an item to its outcome, with as many attempts as it may have.
    fn run(&mut self, index: usize, attempt: u32, item: It::Item) {
        let mut next = Some((attempt, item));
        while let Some((attempt, item)) = next {
            next = self.attempt(index, attempt, item);
        }
    }

    fn post(&mut self, index: usize, outcome: Outcome<It::Item, W>) {
        if self.flow.options.is_streamed {
            self.flow.post(self.number, index, outcome);
        } else {
            self.unposted.push((index, outcome));
        }
    }

    /// Posts what nobody waits for.
    fn flush(&mut self) {
        if !self.unposted.is_empty() {
            let mut outbox = self.flow.lanes[self.number].outbox.lock();
            outbox.append(&mut self.unposted);
        }
    }

    /// Runs an item once; returns it for the next attempt, if there is to be one.
    fn attempt(&mut self, index: usize, attempt: u32, item: It::Item) -> Option<(u32, It::Item)> {
        let flow = self.flow;
        let control = &flow.control;
        if let Some(reason) = control.stopped() {
            drop_quietly(item);
            let error = control.fail(index, attempt, TaskErrorKind::Cancelled(reason));
            self.post(index, Err(error));
            return None;
        }
        let spare = match self.spare(attempt, &item) {
            Ok(spare) => spare,
            Err(panic) => {
                let error = control.fail(index, attempt, TaskErrorKind::Panicked(panic));
                self.post(index, Err(error));
                return None;
            }
        };
        let (result, spare) = if self.flow.options.is_limited {
            self.call_tracked(index, attempt, item, spare)?
        } else {
            (self.call(item), spare)
        };
        let outcome = match (result, spare) {
            (Ok(value), spare) => {
                drop_quietly(spare);
                control.progress().count_ok(self.number, 1);
                if !self.flow.options.keeps_results {
                    drop_quietly(value);
                    return None;
                }
                Ok(value)
            }
            (Err(kind), Some(spare)) if !control.is_stopped() => {
                drop_quietly(kind);
                control.count_retry();
                return Some((attempt + 1, spare));
            }
            (Err(kind), spare) => {
                drop_quietly(spare);
                Err(control.fail(index, attempt, kind))
            }
        };
        self.post(index, outcome);
        None
    }

    /// A copy of the item for another attempt, if there may be one.
    fn spare(&self, attempt: u32, item: &It::Item) -> Result<Option<It::Item>, Panic> {
        match self.flow.options.clone {
            Some(clone) if attempt <= self.flow.options.retries => catch(|| clone(item)).map(Some),
            _ => Ok(None),
        }
    }

    fn make_state(&mut self) -> Result<(), Panic> {
        let (work, state) = (&self.flow.work, &mut self.state);
        catch(|| {
            state.get_or_insert_with(|| work.start());
        })
    }

    fn call(&mut self, item: It::Item) -> Result<W::Out, TaskErrorKind<W::Error>> {
        let work = &self.flow.work;
        let state = &mut self.state;
        let caught = catch(|| work.call(state.get_or_insert_with(|| work.start()), item));
        if caught.is_err() {
            // A panic may have left it half-changed.
            drop_quietly(self.state.take());
        }
        cause(caught)
    }

    /// Runs an item that may be left behind. `None`: it was, and somebody else has
    /// reported it.
    fn call_tracked(
        &mut self,
        index: usize,
        attempt: u32,
        item: It::Item,
        spare: Option<It::Item>,
    ) -> Option<(Result<W::Out, TaskErrorKind<W::Error>>, Option<It::Item>)> {
        // Made before the clock starts: it is no fault of the item's.
        if let Err(panic) = self.make_state() {
            return Some((Err(TaskErrorKind::Panicked(panic)), spare));
        }
        let control = &self.flow.control;
        let token = control.token().child();
        let lane = &self.flow.lanes[self.number];
        *lane.running.lock() = Some(RunningItem {
            index,
            attempt,
            started: Instant::now(),
            token: token.clone(),
            spare,
        });
        // Again, now that whoever stops the map can see the item.
        let result = match control.stopped() {
            Some(reason) => {
                drop_quietly(item);
                Err(TaskErrorKind::Cancelled(reason))
            }
            None => frame::enter(self.flow.executor, &token, || self.call(item)),
        };
        let running = lane.running.lock().take();
        match running {
            Some(running) => Some((result, running.spare)),
            None => {
                drop_quietly(result);
                None
            }
        }
    }

    /// The lane has no more items for now.
    fn leave(self) {
        *self.flow.lanes[self.number].state.lock() = self.state;
    }
}

impl<It, W> Lent for Flow<It, W>
where
    It: Iterator<Item: Send> + Send,
    W: Work<It::Item, Out: Send, Error: Send + fmt::Display, State: Send>,
{
    fn work(&self) {
        let Some(number) = self.free_lanes.lock().pop() else {
            return;
        };
        // An executor that runs jobs inside `spawn` does it on the consumer's thread: one
        // pull is enough for it to go on with.
        let is_consumer = self
            .calling
            .lock()
            .is_some_and(|id| id == thread::current().id());
        self.work_in(number, is_consumer);
        self.free_lanes.lock().push(number);
    }

    fn is_exhausted(&self) -> bool {
        self.control.is_stopped() || self.is_exhausted.load(Ordering::Acquire)
    }

    fn token(&self) -> &CancellationToken {
        self.control.token()
    }

    fn ticket_ended(&self, _: Option<GaveUp>) {
        self.bell.ring();
    }

    fn enforce_limits(&self, now: Instant) -> Option<Instant> {
        self.enforce(now)
    }
}

impl<It: Iterator, W: Work<It::Item>> Drop for Flow<It, W> {
    fn drop(&mut self) {
        for lane in &self.lanes {
            work::stop(&self.work, lane.state.lock().take());
        }
    }
}

impl<I, W: Work<I>> Lane<I, W> {
    fn new() -> Self {
        Self {
            outbox: Mutex::new(Vec::new()),
            running: Mutex::new(None),
            state: Mutex::new(None),
        }
    }
}
