//! [`Shipper`]: a map whose items leave the process.
//!
//! The consumer's thread does everything: it pulls items, packs them into chunks, has the
//! executor take them, and decodes what comes back. Chunks in flight are bounded in number,
//! items and bytes; their size follows the measured throughput.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bundle::{Bundle, Kind};
use super::chunk::{Chunk, Common, Inbox, Parcel};
use super::codec::decode;
use super::collected::Collected;
use super::function::{Function, Remotable, read_outcome};
use super::job::{Loss, Setup};
use crate::cancel::OnCancel;
use crate::control::Control;
use crate::events::{Events, Feed, Indexed, Next, Order, Sorter, Teller};
use crate::flow::LimitsThread;
use crate::job::Job;
use crate::map::Failures;
use crate::options::Options;
use crate::panic::{catch, drop_quietly};
use crate::sync::Mutex;
use crate::work::Work;
use crate::{
    CancelReason, ErrorPolicy, Executor, MapError, SetupError, TaskError, TaskErrorKind, frame,
};

mod size;

use size::ChunkSize;

/// Chunks in flight for each worker: one runs, one waits at the worker, and two are on
/// their way there or back.
const CHUNKS_PER_WORKER: usize = 4;

/// Encoded items in flight, in bytes, and results that wait for their turn. One chunk may
/// exceed it.
const MAX_BYTES_IN_FLIGHT: usize = 64 << 20;

/// The default bound on items in flight, for each worker.
const IN_FLIGHT_PER_WORKER: usize = 16 << 10;

/// A running map over executors of wider reach.
pub(crate) struct Shipper<'e, E: ?Sized, It: Iterator, W: Work<It::Item>> {
    executor: &'e E,
    control: Arc<Control>,
    /// Dropped here, on the consumer's thread, and not where the last chunk ends.
    work: Arc<W>,
    common: Arc<Common<It::Item, W>>,
    /// `None` once it ended.
    input: Option<It>,
    num_pulled: usize,
    num_seen: usize,
    window: usize,
    max_chunks: usize,
    size: ChunkSize,
    sent: Arc<Sent<It::Item, W>>,
    next_number: u64,
    retries: u32,
    clone: Option<fn(&It::Item) -> It::Item>,
    /// Items that are away and may be tried again, with the number of the attempt.
    spares: HashMap<usize, (u32, Option<It::Item>)>,
    again: VecDeque<(usize, It::Item)>,
    sorter: Sorter<W::Out, W::Error>,
    /// The results, if only the whole is wanted.
    collected: Option<Collected<W::Out>>,
    last_word: Option<TaskError<W::Error>>,
    /// The encoded bytes of a result, on average of late.
    outcome_bytes: usize,
    /// Whether something came back since the last sleep.
    has_news: bool,
    _limits: Option<LimitsThread>,
}

/// The chunks in flight. Cancelling the map takes them back, on the thread that cancels.
struct Sent<I, W: Work<I>> {
    chunks: Mutex<HashMap<u64, (usize, Arc<Chunk<I, W>>)>>,
    common: Arc<Common<I, W>>,
}

impl<I, W> OnCancel for Sent<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn on_cancel(&self, reason: CancelReason) {
        let chunks: Vec<_> = self
            .chunks
            .lock()
            .values()
            .map(|(_, chunk)| chunk.clone())
            .collect();
        for chunk in chunks {
            chunk.cancel(reason);
        }
        self.common.inbox.bell.on_cancel(reason);
    }
}

impl<'e, E, It, W> Shipper<'e, E, It, W>
where
    E: Executor + ?Sized,
    It: Iterator<Item: Serialize + DeserializeOwned + Send + 'static>,
    W: Remotable<It::Item, Out: Send, Error: Send + fmt::Display>,
{
    /// Starts a map; `is_bounded` is whether its consumer may be slower than its workers.
    pub(crate) fn start(
        executor: &'e E,
        input: It,
        work: W,
        mut options: Options<It::Item>,
        order: Order,
        is_bounded: bool,
    ) -> Result<Self, SetupError> {
        options.check(executor.capabilities())?;
        let setup = Setup::of(&work)?;
        let num_workers = executor.parallelism().get();
        let total = match input.size_hint() {
            (low, Some(high)) if low == high => Some(low),
            _ => None,
        };
        let control = Arc::new(Control::new(executor, &mut options, total, 1));
        let common = Arc::new(Common {
            function: Function::new::<It::Item, W>(&work),
            executor: executor.id().key(),
            token: control.token().clone(),
            setup,
            timeout: options.timeout,
            inbox: Inbox::new(),
        });
        let sent = Arc::new(Sent {
            chunks: Mutex::new(HashMap::new()),
            common: common.clone(),
        });
        let listener: Weak<Sent<_, _>> = Arc::downgrade(&sent);
        control.token().listen(listener);
        let limits = match options.deadline {
            Some(deadline) => Some(LimitsThread::for_deadline(control.clone(), deadline)?),
            None => None,
        };
        let in_flight = options
            .in_flight
            .unwrap_or(IN_FLIGHT_PER_WORKER * num_workers);
        let window = if is_bounded { in_flight } else { usize::MAX };
        Ok(Self {
            executor,
            control,
            work: Arc::new(work),
            common,
            input: Some(input),
            num_pulled: 0,
            num_seen: 0,
            window,
            max_chunks: CHUNKS_PER_WORKER * num_workers,
            size: ChunkSize::new(options.chunk_size, num_workers, window),
            sent,
            next_number: 0,
            retries: options.retries,
            clone: options.clone,
            spares: HashMap::new(),
            again: VecDeque::new(),
            sorter: Sorter::new(order),
            collected: None,
            last_word: None,
            outcome_bytes: 0,
            has_news: false,
            _limits: limits,
        })
    }

    /// Runs the whole map; its results in order, and the other events.
    pub(crate) fn collect(
        mut self,
        policy: ErrorPolicy,
    ) -> Result<Vec<W::Out>, MapError<W::Error>> {
        self.collected = Some(Collected::default());
        let mut teller = Teller::new(self);
        let mut failures = Failures::new(policy);
        let mut singles = Vec::new();
        while let Some(event) = teller.next_event(None).without_deadline() {
            let index = event.index();
            let value = failures.sieve(event);
            singles.extend(value.map(|value| (index, value)));
        }
        let mut collected = teller.into_feed().collected.take().unwrap_or_default();
        failures.check()?;
        for (index, value) in singles {
            collected.add(index, |run| run.push(value));
        }
        Ok(collected.into_vec())
    }

    /// Whether another chunk may leave now.
    fn can_send(&self) -> bool {
        if self.control.is_stopped() {
            return false;
        }
        let has_items = !self.again.is_empty() || (self.input.is_some() && self.room() > 0);
        let sent = self.sent.chunks.lock();
        let num_bytes: usize = sent.values().map(|(_, chunk)| chunk.num_bytes()).sum();
        has_items && sent.len() < self.max_chunks && num_bytes < MAX_BYTES_IN_FLIGHT
    }

    /// How many more items may be pulled: the results that wait behind a slow item count,
    /// too, and so do their bytes.
    fn room(&self) -> usize {
        let in_flight = self.num_pulled - self.sorter.num_popped();
        let window = match self.collected {
            Some(_) => self.window,
            None => self.window.min(self.window_of_bytes()),
        };
        window.saturating_sub(in_flight)
    }

    /// How many items may be in flight by the size of their results.
    fn window_of_bytes(&self) -> usize {
        (MAX_BYTES_IN_FLIGHT / self.outcome_bytes.max(1)).max(self.max_chunks)
    }

    fn send_chunks(&mut self) {
        while self.can_send() {
            match self.again.pop_front() {
                // Alone: whatever it did to its worker, it does to no other item.
                Some((index, item)) => self.send(index, vec![item]),
                None => self.send_pulled(),
            }
        }
    }

    fn send_pulled(&mut self) {
        let Some(input) = &self.input else { return };
        let left = input.size_hint().0;
        let known = (left > 0).then_some(left);
        let room = self.room();
        let Some(input) = &mut self.input else { return };
        // Items that are not there yet must not hold back those that are.
        let wanted = self.size.next(known).min(room).min(left.max(1));
        let mut items = Vec::with_capacity(wanted);
        let caught = catch(|| {
            items.extend(input.take(wanted));
            items.len() < wanted
        });
        let first = self.num_pulled;
        self.num_pulled += items.len();
        if !matches!(caught, Ok(false)) {
            drop_quietly(self.input.take());
        }
        if let Err(panic) = caught {
            let index = self.num_pulled;
            self.num_pulled += 1;
            self.num_seen += 1;
            let kind = TaskErrorKind::InputPanicked(panic);
            self.last_word = Some(self.control.fail(index, 1, kind));
        }
        if !items.is_empty() {
            self.send(first, items);
        }
    }

    fn send(&mut self, first: usize, items: Vec<It::Item>) {
        let items = match self.keep_spares(first, items) {
            Some(items) => items,
            None => return,
        };
        let number = self.next_number;
        self.next_number += 1;
        let len = items.len();
        let (work, common) = (self.work.clone(), self.common.clone());
        let chunk = Chunk::new(number, first, items, work, common);
        self.sent.chunks.lock().insert(number, (len, chunk.clone()));
        if let Some(reason) = self.control.stopped() {
            // Whoever stopped the map may have looked for chunks before this one was there.
            chunk.cancel(reason);
        } else if let Err(job) = self.executor.spawn(Job::new(chunk)) {
            job.refuse();
            self.lose_executor();
        }
    }

    /// The executor takes no more jobs. A map that goes on after failures must not go on
    /// with items that will all be refused, least of all with endless ones.
    fn lose_executor(&mut self) {
        if self.control.fails_fast() {
            return;
        }
        let input = self.input.take();
        if input.is_some() {
            let refused = TaskError::new(self.num_pulled, 1, TaskErrorKind::Refused);
            self.last_word.get_or_insert(refused);
        }
        drop_quietly(input);
        self.control.stop(CancelReason::ShutDown);
    }

    /// Copies items that may be tried again. `None`: the only item's `Clone` panicked.
    fn keep_spares(&mut self, first: usize, items: Vec<It::Item>) -> Option<Vec<It::Item>> {
        let Some(clone) = self.clone else {
            return Some(items);
        };
        for (nth, item) in items.iter().enumerate() {
            let attempt = self
                .spares
                .get(&(first + nth))
                .map_or(1, |(attempt, _)| attempt + 1);
            let spare = match attempt <= self.retries {
                // Without a copy there is no other attempt; the item itself is fine.
                true => catch(|| clone(item)).ok(),
                false => None,
            };
            self.spares.insert(first + nth, (attempt, spare));
        }
        Some(items)
    }

    fn unpack(&mut self, first: usize, outcomes: &Bundle) {
        let mean = outcomes.bytes.len() / outcomes.len().max(1);
        self.outcome_bytes = (self.outcome_bytes + mean).div_ceil(2);
        let mut next = 0;
        if self.clone.is_none() {
            next = self.unpack_values(first, outcomes);
        }
        for (nth, (kind, bytes)) in outcomes.entries().enumerate().skip(next) {
            let result = read_outcome::<It::Item, W>(kind, bytes);
            self.settle_item(first + nth, result);
        }
    }

    /// Collects the results up to the first outcome that is none; returns how many.
    fn unpack_values(&mut self, first: usize, outcomes: &Bundle) -> usize {
        let Some(collected) = &mut self.collected else {
            return 0;
        };
        let num_values = collected.add(first, |values| {
            values.reserve(outcomes.len());
            let caught = catch(|| {
                for (kind, bytes) in outcomes.entries() {
                    if kind != Some(Kind::Value) {
                        return;
                    }
                    match decode(bytes) {
                        Ok(value) => values.push(value),
                        Err(_) => return,
                    }
                }
            });
            // Whatever it was, the slow road meets it again.
            drop(caught);
        });
        self.num_seen += num_values;
        self.control.progress().count_ok(0, num_values as u64);
        num_values
    }

    fn kind_of(&self, loss: Loss) -> TaskErrorKind<W::Error> {
        let reason = self.control.stopped().unwrap_or(CancelReason::ShutDown);
        match (loss, reason) {
            (Loss::Killed, CancelReason::Deadline) => {
                TaskErrorKind::TimedOut(self.control.progress().elapsed())
            }
            (loss, reason) => loss.into_kind(reason, self.common.timeout),
        }
    }

    /// An attempt at an item has ended.
    fn settle_item(&mut self, index: usize, result: Result<W::Out, TaskErrorKind<W::Error>>) {
        let (attempt, spare) = match self.clone {
            Some(_) => self.spares.remove(&index).unwrap_or((1, None)),
            None => (1, None),
        };
        let outcome = match (result, spare) {
            (Ok(value), _) => {
                self.control.progress().count_ok(0, 1);
                Ok(value)
            }
            (Err(_), Some(item)) if !self.control.is_stopped() => {
                self.control.count_retry();
                self.spares.insert(index, (attempt, None));
                self.again.push_back((index, item));
                return;
            }
            (Err(kind), _) => Err(self.control.fail(index, attempt, kind)),
        };
        self.num_seen += 1;
        self.sorter.put(index, outcome);
    }

    /// If this thread is a worker of the executor, runs a chunk here: the other workers may
    /// all be waiting like this one.
    fn help(&self) -> bool {
        if !frame::is_worker_of(self.common.executor) {
            return false;
        }
        let chunks: Vec<_> = self
            .sent
            .chunks
            .lock()
            .values()
            .map(|(_, chunk)| chunk.clone())
            .collect();
        chunks.iter().any(|chunk| chunk.help())
    }

    fn has_ended(&mut self) -> bool {
        if self.is_complete() {
            return true;
        }
        let Some(reason) = self.control.stopped() else {
            return false;
        };
        let was_cut = self.is_cut();
        if reason != CancelReason::OtherFailed && !was_cut && self.num_seen == self.num_pulled {
            // Every item that there is has its outcome: the stop came too late.
            return true;
        }
        if self.control.fails_fast() {
            if self.last_word.is_some() {
                return true;
            }
            self.last_word = match self.sorter.take_failure() {
                Some(failure) => Some(failure),
                None if reason == CancelReason::OtherFailed => return false,
                None => Some(TaskError::cancelled(self.sorter.num_popped(), reason)),
            };
            return true;
        }
        self.give_up_again(reason);
        drop_quietly(self.input.take());
        if was_cut && reason != CancelReason::OtherFailed {
            self.last_word = Some(TaskError::cancelled(self.num_pulled, reason));
        }
        self.is_complete()
    }

    /// Items that wait for another attempt of a map that was stopped have none.
    fn give_up_again(&mut self, reason: CancelReason) {
        for (index, item) in std::mem::take(&mut self.again) {
            drop_quietly(item);
            self.settle_item(index, Err(TaskErrorKind::Cancelled(reason)));
        }
    }

    /// Takes what came back; whether there was anything.
    fn take_news(&mut self) -> bool {
        let parcels = self.common.inbox.take();
        let has_news = !parcels.is_empty();
        for parcel in parcels {
            match parcel {
                Parcel::Encoded(first, outcomes) => self.unpack(first, &outcomes),
                Parcel::Item(index, result) => self.settle_item(index, result),
                Parcel::Lost(index, loss) => {
                    let kind = self.kind_of(loss);
                    self.settle_item(index, Err(kind));
                }
                Parcel::Closed(number, at) => {
                    let closed = self.sent.chunks.lock().remove(&number);
                    if let Some((len, chunk)) = closed {
                        let num_bytes = chunk.num_bytes().max(len * self.outcome_bytes);
                        self.size.learn(len, num_bytes, at);
                    }
                }
            }
        }
        has_news
    }

    /// How many chunks may come back before workers have nothing to do; all, at the end.
    fn spare_chunks(&self) -> usize {
        let sent = self.sent.chunks.lock().len();
        match self.input {
            Some(_) => sent.saturating_sub(self.max_chunks / 2).max(1),
            None => sent,
        }
    }

    /// Whether items may be left that nobody pulled.
    fn is_cut(&self) -> bool {
        let total = self.control.progress().total();
        self.input.is_some() && total.is_none_or(|all| self.num_pulled < all)
    }

    fn is_complete(&self) -> bool {
        self.input.is_none() && self.num_seen == self.num_pulled
    }
}

impl<E, It, W> Feed<W::Out, W::Error> for Shipper<'_, E, It, W>
where
    E: Executor + ?Sized,
    It: Iterator<Item: Serialize + DeserializeOwned + Send + 'static>,
    W: Remotable<It::Item, Out: Send, Error: Send + fmt::Display>,
{
    fn next_outcome(&mut self, deadline: Option<Instant>) -> Next<Indexed<W::Out, W::Error>> {
        loop {
            if let Some(outcome) = self.sorter.pop() {
                return Next::Here(outcome);
            }
            self.send_chunks();
            let bell = self.common.inbox.bell.clone();
            self.common.inbox.expect_closes(self.spare_chunks());
            bell.set(self.has_news);
            self.receive();
            if let Some(outcome) = self.sorter.pop() {
                bell.unset();
                return Next::Here(outcome);
            }
            if self.has_ended() {
                bell.unset();
                // The end may have brought the last outcomes with it.
                return self.sorter.pop().map_or(Next::End, Next::Here);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                bell.unset();
                return Next::NotYet;
            }
            if self.can_send() || (deadline.is_none() && self.help()) {
                bell.unset();
            } else {
                bell.sleep(deadline);
            }
            self.has_news = self.take_news();
        }
    }

    fn receive(&mut self) {
        self.take_news();
    }

    fn sorter(&mut self) -> &mut Sorter<W::Out, W::Error> {
        &mut self.sorter
    }

    fn last_word(&mut self) -> Option<TaskError<W::Error>> {
        self.last_word.take()
    }

    fn control(&self) -> &Control {
        &self.control
    }

    fn num_pulled(&self) -> usize {
        self.num_pulled
    }
}

impl<E: ?Sized, It: Iterator, W: Work<It::Item>> Drop for Shipper<'_, E, It, W> {
    fn drop(&mut self) {
        self.control.abandon(self.num_pulled);
        // What nobody has asked for; later parcels hold nothing of the user's.
        drop_quietly(self.common.inbox.take());
    }
}
