//! [`Chunk`]: a few items of a map as one job; and the [`Inbox`] that outcomes come back to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bundle::Bundle;
use super::function::{Function, Remotable};
use super::hooks::Hooks;
use super::job::{CancelHook, Indices, Loss, RemoteBody, RemoteJob, Reply, ReplyTo, Setup};
use crate::bell::Bell;
use crate::job::{Body, GaveUp};
use crate::panic::catch;
use crate::sync::Mutex;
use crate::task::cause;
use crate::work::{self, Work};
use crate::{CancelReason, CancellationToken, TaskErrorKind, frame};

/// What chunks of one map have in common.
///
/// Nothing here or in a [`Chunk`] that has left runs code of the user when it is dropped:
/// its last owner may be a thread of the backend.
pub(super) struct Common<I, W: Work<I>> {
    pub(super) function: Function,
    pub(super) executor: u64,
    pub(super) token: CancellationToken,
    pub(super) setup: Option<Arc<Setup>>,
    pub(super) timeout: Option<Duration>,
    pub(super) inbox: Inbox<W::Out, W::Error>,
}

/// Where outcomes wait for the consumer.
pub(super) struct Inbox<R, E> {
    parcels: Mutex<Vec<Parcel<R, E>>>,
    /// How many chunks must be closed until that is big news: their workers need more.
    closes: AtomicUsize,
    pub(super) bell: Arc<Bell>,
}

/// What comes back of a chunk.
pub(super) enum Parcel<R, E> {
    /// Outcomes of the items from this index on, as a worker wrote them.
    Encoded(usize, Bundle),
    /// How an item ended without a worker's word.
    Item(usize, Result<R, TaskErrorKind<E>>),
    /// An item has no outcome.
    Lost(usize, Loss),
    /// Nothing more comes of the chunk with this number.
    Closed(u64, Instant),
}

impl<R, E> Inbox<R, E> {
    pub(super) fn new() -> Self {
        Self {
            parcels: Mutex::new(Vec::new()),
            closes: AtomicUsize::new(1),
            bell: Arc::new(Bell::default()),
        }
    }

    fn put(&self, parcel: Parcel<R, E>) {
        let is_small = match parcel {
            Parcel::Encoded(..) => true,
            // Relaxed: too early or too late a ring costs a moment, and no more.
            Parcel::Closed(..) => self.closes.fetch_sub(1, Ordering::Relaxed) > 1,
            Parcel::Item(..) | Parcel::Lost(..) => false,
        };
        self.parcels.lock().push(parcel);
        match is_small {
            true => self.bell.ring_softly(),
            false => self.bell.ring(),
        }
    }

    /// The consumer is about to sleep, and wants to hear of so many closed chunks at once.
    pub(super) fn expect_closes(&self, closes: usize) {
        self.closes.store(closes, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Vec<Parcel<R, E>> {
        std::mem::take(&mut *self.parcels.lock())
    }
}

/// A few items of a map, in line, as one job.
pub(super) struct Chunk<I, W: Work<I>> {
    number: u64,
    first: usize,
    common: Arc<Common<I, W>>,
    /// Taken by whoever runs, encodes or gives up the chunk.
    load: Mutex<Option<Load<I, W>>>,
    num_bytes: AtomicUsize,
    hooks: Hooks,
}

/// What is needed to run a chunk here.
struct Load<I, W> {
    items: Vec<I>,
    work: Arc<W>,
}

impl<I, W> Chunk<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    pub(super) fn new(
        number: u64,
        first: usize,
        items: Vec<I>,
        work: Arc<W>,
        common: Arc<Common<I, W>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            first,
            common,
            load: Mutex::new(Some(Load { items, work })),
            num_bytes: AtomicUsize::new(0),
            hooks: Hooks::default(),
        })
    }

    /// How many bytes its items have, once encoded.
    pub(super) fn num_bytes(&self) -> usize {
        self.num_bytes.load(Ordering::Relaxed)
    }

    /// Takes the chunk back, from the executor's queue or from a worker.
    pub(super) fn cancel(self: &Arc<Self>, reason: CancelReason) {
        let load = self.load.lock().take();
        match load {
            Some(load) => self.end_all(load, || TaskErrorKind::Cancelled(reason)),
            None => drop(self.hooks.cancel()),
        }
    }

    /// Runs it on this thread if nobody has taken it; whether it did.
    pub(super) fn help(&self) -> bool {
        let load = self.load.lock().take();
        let Some(load) = load else { return false };
        frame::enter(self.common.executor, &self.common.token, || {
            self.run_here(load)
        });
        true
    }

    fn run_here(&self, load: Load<I, W>) {
        let Load { items, work } = load;
        let mut state = None;
        for (nth, item) in items.into_iter().enumerate() {
            let result = match self.common.token.reason() {
                Some(reason) => Err(TaskErrorKind::Cancelled(reason)),
                None => {
                    let state = &mut state;
                    let caught = catch(|| {
                        let mut kept = state.take().unwrap_or_else(|| work.start());
                        let result = work.call(&mut kept, item);
                        *state = Some(kept);
                        result
                    });
                    cause(caught)
                }
            };
            self.put(Parcel::Item(self.first + nth, result));
        }
        work::stop(&*work, state);
        self.close();
    }

    /// Ends items that nobody will run.
    fn end_all(&self, load: Load<I, W>, kind: impl Fn() -> TaskErrorKind<W::Error>) {
        for nth in 0..load.items.len() {
            self.put(Parcel::Item(self.first + nth, Err(kind())));
        }
        if let Err(panic) = catch(|| drop(load)) {
            log::error!("an item panicked when it was dropped: {panic}");
        }
        self.close();
    }

    fn put(&self, parcel: Parcel<W::Out, W::Error>) {
        self.common.inbox.put(parcel);
    }
}

impl<I, W> Body for Chunk<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn run(self: Arc<Self>) {
        self.help();
    }

    fn give_up(self: Arc<Self>, why: GaveUp) {
        let load = self.load.lock().take();
        if let Some(load) = load {
            self.end_all(load, || why.into_kind());
        }
    }

    fn as_remote(self: Arc<Self>) -> Option<Arc<dyn RemoteBody>> {
        Some(self)
    }
}

impl<I, W> RemoteBody for Chunk<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn into_remote(self: Arc<Self>, mut buffer: Bundle) -> RemoteJob {
        buffer.clear();
        // A chunk that was cancelled on its way has nothing left to send.
        let load = self.load.lock().take();
        let items = load.as_ref().map_or(&[][..], |load| &load.items);
        let failed = encode_all(items, &mut buffer);
        let origins = (!failed.is_empty()).then(|| {
            let is_fine = |nth: &u32| !failed.iter().any(|(at, _)| at == nth);
            (0..items.len() as u32).filter(is_fine).collect()
        });
        let indices = Indices::new(self.first, origins);
        for (nth, why) in failed {
            let kind = TaskErrorKind::NotEncodable(why);
            self.put(Parcel::Item(self.first + nth as usize, Err(kind)));
        }
        if let Err(panic) = catch(|| drop(load)) {
            log::error!("an item panicked when it was dropped: {panic}");
        }
        self.num_bytes.store(buffer.bytes.len(), Ordering::Relaxed);
        RemoteJob {
            function: self.common.function,
            setup: self.common.setup.clone(),
            timeout: self.common.timeout,
            reply: Reply::new(self.clone(), buffer.len(), indices),
            items: buffer,
        }
    }
}

/// Appends all items that can be encoded; says which cannot, and why. One fence for many
/// items, as long as none panics.
fn encode_all<I: Serialize + 'static>(items: &[I], bundle: &mut Bundle) -> Vec<(u32, String)> {
    let mut failed = Vec::new();
    let mut next = 0;
    while next < items.len() {
        let mut encoded_to = bundle.bytes.len();
        let caught = catch(|| {
            for item in &items[next..] {
                encoded_to = bundle.bytes.len();
                if let Err(why) = bundle.push(item) {
                    failed.push((next as u32, why));
                }
                next += 1;
            }
        });
        if let Err(panic) = caught {
            bundle.truncate_bytes(encoded_to);
            failed.push((next as u32, format!("encoding panicked: {panic}")));
            next += 1;
        }
    }
    failed
}

/// Appends an item, or says why it cannot be encoded.
pub(super) fn encode<I: Serialize + 'static>(item: &I, bundle: &mut Bundle) -> Result<(), String> {
    let start = bundle.bytes.len();
    match catch(|| bundle.push(item)) {
        Ok(encoded) => encoded,
        Err(panic) => {
            bundle.truncate_bytes(start);
            Err(format!("encoding panicked: {panic}"))
        }
    }
}

impl<I, W> ReplyTo for Chunk<I, W>
where
    I: Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn deliver(&self, first: usize, outcomes: Bundle) {
        self.common.inbox.put(Parcel::Encoded(first, outcomes));
    }

    fn lose(&self, index: usize, loss: Loss) {
        self.common.inbox.put(Parcel::Lost(index, loss));
    }

    fn close(&self) {
        self.hooks.close();
        self.common
            .inbox
            .put(Parcel::Closed(self.number, Instant::now()));
    }

    fn on_cancel(&self, cancel: CancelHook) {
        self.hooks.on_cancel(cancel);
    }
}
