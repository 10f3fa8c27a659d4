//! [`RemoteJob`]: a job ready to leave, and the [`Reply`] that it waits for.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bundle::Bundle;
use super::function::{Function, Remotable};
use crate::panic::catch;
use crate::sync::Mutex;
use crate::{CancelOutcome, SetupError, WorkerLost};

/// A job ready to leave the process: what to run, the encoded items, and the reply.
#[derive(Debug)]
pub struct RemoteJob {
    /// What to run.
    pub function: Function,
    /// The context and state of the map that the job belongs to, if it has either.
    pub setup: Option<Arc<Setup>>,
    /// How long each item may run, from its own start.
    pub timeout: Option<Duration>,
    /// The items. May be empty: then there is nothing to run.
    pub items: Bundle,
    /// Where their outcomes go.
    pub reply: Reply,
}

/// What a worker needs once for a whole map, however many chunks it gets.
///
/// While an `Arc` of it lives, more chunks may come. When the last one is gone, workers
/// should [stop](super::KeptState::stop) what they keep for it;
/// [`on_last_drop`](Self::on_last_drop) tells when.
pub struct Setup {
    /// Unlike any other setup's of this process.
    pub id: u64,
    /// The encoded context.
    pub context: Vec<u8>,
    on_last_drop: Mutex<Vec<Notice>>,
}

type Notice = Box<dyn FnOnce() + Send>;

impl Setup {
    fn new(context: Vec<u8>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            context,
            on_last_drop: Mutex::new(Vec::new()),
        }
    }

    /// Has `notice` called when the last `Arc` of it is gone, on whatever thread drops it.
    /// It must not block; a [`Weak`](std::sync::Weak) of the setup is dead by then.
    pub fn on_last_drop(&self, notice: impl FnOnce() + Send + 'static) {
        self.on_last_drop.lock().push(Box::new(notice));
    }

    /// What workers need once to do `work`; nothing for a plain function.
    pub(crate) fn of<I, W: Remotable<I>>(work: &W) -> Result<Option<Arc<Self>>, SetupError> {
        let mut bundle = Bundle::default();
        match catch(|| work.encode_context(&mut bundle)) {
            Ok(Ok(())) if bundle.is_empty() => Ok(None),
            Ok(Ok(())) => Ok(Some(Arc::new(Self::new(bundle.bytes)))),
            Ok(Err(why)) => Err(SetupError::invalid(format!(
                "the context cannot be encoded for another process: {why}"
            ))),
            Err(panic) => Err(SetupError::invalid(format!(
                "the context cannot be encoded for another process: encoding panicked: {panic}"
            ))),
        }
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        for notice in std::mem::take(&mut *self.on_last_drop.lock()) {
            notice();
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("id", &self.id)
            .field("context", &self.context.len())
            .finish_non_exhaustive()
    }
}

/// Where the outcomes of a [`RemoteJob`] go.
///
/// Positions count the items of the job's bundle from 0. Each position is reported once;
/// what is reported again is ignored, and what is not reported when the reply is dropped
/// ends as [`Dropped`](crate::TaskErrorKind::Dropped).
pub struct Reply {
    to: Arc<dyn ReplyTo>,
    indices: Indices,
    missing: Missing,
}

/// Where the items of a [`RemoteJob`] lie in the input of their map.
#[derive(Clone, Debug, Default)]
pub struct Indices {
    first: usize,
    /// How far after the first each one lies, if some between them could not be encoded.
    origins: Option<Arc<[u32]>>,
}

impl Indices {
    pub(crate) fn new(first: usize, origins: Option<Arc<[u32]>>) -> Self {
        Self { first, origins }
    }

    /// The index of the item at this position of the job; 0 for a submitted task.
    pub fn at(&self, position: usize) -> usize {
        let origin = self.origins.as_ref().and_then(|all| all.get(position));
        self.first + origin.map_or(position, |origin| *origin as usize)
    }
}

/// Why an item has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Its worker died while it ran.
    WorkerLost(WorkerLost),
    /// It ran longer than its limit, and its worker was killed.
    TimedOut,
    /// It was cancelled before it started.
    Cancelled,
    /// It was cancelled while it ran, and its worker was killed.
    Killed,
    /// It, or something that it needs, cannot be brought to a worker.
    Undeliverable(String),
    /// The executor gave it up.
    Dropped,
}

/// The job's own end of a [`Reply`]. Runs on the backend's thread: no user code here.
pub(crate) trait ReplyTo: Send + Sync {
    /// The outcomes of the items from the index `first` on.
    fn deliver(&self, first: usize, outcomes: Bundle);

    /// The item has no outcome.
    fn lose(&self, index: usize, loss: Loss);

    /// Every position has been reported.
    fn close(&self);

    /// Keeps `cancel` for when the job is not wanted any more; calls it at once if that
    /// is already so.
    fn on_cancel(&self, cancel: CancelHook);

    /// Keeps `hook` for a thread that waits for the outcome, until the reply is closed.
    /// Whoever consumes outcomes in another way has no use for it.
    fn on_wait(&self, _hook: Arc<dyn WaitHook>) {}
}

/// Takes a job back from a backend.
pub(crate) type CancelHook = Box<dyn FnOnce() -> CancelOutcome + Send>;

/// How a thread that waits for the outcome of a submitted job may wait for it, other than
/// by being told of it by another thread of the backend. See [`Reply::on_wait`].
pub trait WaitHook: Send + Sync {
    /// Waits for the outcome on the thread of the caller, until `deadline` at most, if there
    /// is one.
    ///
    /// It may return at any time, at once too, and then the caller waits to be told, as if
    /// there were no hook. But it must return soon after the job was told, whoever told it,
    /// and soon after the deadline. It may tell this very job. It must tell no other, since
    /// that runs code of the user (wakers) on a thread that expects none; and it is called
    /// without any lock, so it may be called when the job is over.
    fn wait(&self, deadline: Option<Instant>);
}

/// A body that can leave the process.
pub(crate) trait RemoteBody: Send + Sync {
    /// Encodes the items into `buffer`.
    fn into_remote(self: Arc<Self>, buffer: Bundle) -> RemoteJob;
}

impl Reply {
    /// For a bundle of that length, whose items have these indices in the input.
    pub(crate) fn new(to: Arc<dyn ReplyTo>, len: usize, indices: Indices) -> Self {
        Self {
            to,
            indices,
            missing: Missing::new(len),
        }
    }

    /// Reports the outcomes of the positions from `first` on, as the worker's
    /// [`Port`](super::Port) collected them.
    ///
    /// # Errors
    ///
    /// If the bundle is malformed or exceeds the job; nothing is reported then, and the
    /// worker that sent it should not be trusted any more.
    pub fn deliver(&mut self, first: usize, outcomes: Bundle) -> Result<(), MalformedBundle> {
        let end = first.checked_add(outcomes.len()).ok_or(MalformedBundle)?;
        if end > self.missing.len || !outcomes.is_consistent() || !self.missing.all(first, end) {
            return Err(MalformedBundle);
        }
        self.missing.remove(first, end);
        match &self.indices.origins {
            None => self.to.deliver(self.indices.at(first), outcomes),
            Some(_) => {
                let mut start = 0;
                for (nth, &entry) in outcomes.lengths.iter().enumerate() {
                    let len = outcomes.len_at(nth);
                    let one = Bundle {
                        bytes: outcomes.bytes[start..start + len].to_vec(),
                        lengths: vec![entry],
                    };
                    start += len;
                    self.to.deliver(self.indices.at(first + nth), one);
                }
            }
        }
        Ok(())
    }

    /// Reports that the item at `position` has no outcome.
    pub fn lose(&mut self, position: usize, loss: Loss) {
        if self.missing.all(position, position + 1) {
            self.missing.remove(position, position + 1);
            self.to.lose(self.indices.at(position), loss);
        }
    }

    /// Which items of the map these are.
    pub fn indices(&self) -> &Indices {
        &self.indices
    }

    /// The positions that were not reported yet, ascending.
    pub fn missing(&self) -> impl Iterator<Item = usize> {
        self.missing.iter()
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.iter().next().is_none()
    }

    /// Has `cancel` called, at most once, when nobody wants the outcomes any more: on the
    /// thread that cancels, or before this returns if that was earlier, so hold no lock here
    /// that it takes. It says truthfully what that did: took a waiting job out, or
    /// killed the worker that runs it, or came too late. It must not block.
    ///
    /// The backend still reports each item, as [`Loss::Cancelled`] or [`Loss::Killed`] where
    /// it did not end otherwise.
    pub fn on_cancel(&self, cancel: impl FnOnce() -> CancelOutcome + Send + 'static) {
        self.to.on_cancel(Box::new(cancel));
    }

    /// Lets a thread that [joins](crate::Handle::join) this job wait through `hook`, which
    /// may spare it a thread that is woken only to wake it. It is forgotten when the reply
    /// is dropped. By default there is none. Only submitted tasks use it, which are jobs of
    /// one item; threads that wait for several handles, or for a map, do not.
    ///
    /// The hook is shared so that one that the backend has anyway costs no allocation.
    pub fn on_wait(&self, hook: Arc<dyn WaitHook>) {
        self.to.on_wait(hook);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let missing: Vec<usize> = self.missing.iter().collect();
        for position in missing {
            self.lose(position, Loss::Dropped);
        }
        self.to.close();
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("items", &self.missing.len)
            .finish_non_exhaustive()
    }
}

/// A bundle of outcomes that does not fit the job it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedBundle;

impl fmt::Display for MalformedBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the outcomes do not fit the job")
    }
}

impl std::error::Error for MalformedBundle {}

/// The positions that are yet to be reported: everything from `next` on, and what was passed
/// over before.
///
/// Bundles come in order but for a few, so `passed` is small, and empty for most jobs.
#[derive(Debug)]
struct Missing {
    len: usize,
    /// The position after the last that was reported.
    next: usize,
    /// Ranges before `next`, as start and end. Between two of them, and between the last one
    /// and `next`, something was reported.
    passed: BTreeMap<usize, usize>,
}

impl Missing {
    fn new(len: usize) -> Self {
        Self {
            len,
            next: 0,
            passed: BTreeMap::new(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let passed = self.passed.iter().flat_map(|(&start, &end)| start..end);
        passed.chain(self.next..self.len)
    }

    /// The range before `next` that the position lies in.
    fn passed_at(&self, position: usize) -> Option<Range<usize>> {
        let (&start, &end) = self.passed.range(..=position).next_back()?;
        (position < end).then_some(start..end)
    }

    /// Whether all of `start..end` is missing.
    fn all(&self, start: usize, end: usize) -> bool {
        if start >= self.next || start == end {
            return end <= self.len;
        }
        self.passed_at(start).is_some_and(|range| end <= range.end)
    }

    /// All of `start..end`, which is missing, has been reported.
    fn remove(&mut self, start: usize, end: usize) {
        if start == end {
            return;
        }
        if start >= self.next {
            self.put_passed(self.next..start);
            self.next = end;
        } else if let Some(range) = self.passed_at(start) {
            self.passed.remove(&range.start);
            self.put_passed(range.start..start);
            self.put_passed(end..range.end);
        }
    }

    fn put_passed(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.passed.insert(range.start, range.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Missing;

    /// Any order of reports, against a plain list of the positions that are left.
    #[test]
    fn ranges_say_what_a_plain_list_says() {
        const LEN: usize = 9;
        let mut random = 7_u64;
        // Miri runs some thousand times slower.
        for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
            let mut missing = Missing::new(LEN);
            let mut list: Vec<usize> = (0..LEN).collect();
            while !list.is_empty() {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let start = (random >> 33) as usize % LEN;
                let end = start + (random >> 40) as usize % 4;
                let all = end <= LEN && (start..end).all(|at| list.contains(&at));
                assert_eq!(missing.all(start, end), all, "{start}..{end} of {list:?}");
                if all {
                    missing.remove(start, end);
                    list.retain(|at| !(start..end).contains(at));
                }
                assert_eq!(missing.iter().collect::<Vec<_>>(), list);
            }
        }
    }
}
