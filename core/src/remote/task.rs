//! [`RemoteTask`]: one submitted call that may run in another process.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bundle::Bundle;
use super::chunk::encode;
use super::function::{Function, Remotable, read_outcome};
use super::hooks::Hooks;
use super::job::{CancelHook, Indices, Loss, RemoteBody, RemoteJob, Reply, ReplyTo, WaitHook};
use crate::job::{Body, GaveUp};
use crate::panic::{catch, drop_quietly};
use crate::sync::Mutex;
use crate::task::{Head, Joint, cause};
use crate::work::Work;
use crate::{CancelOutcome, CancelReason, TaskError, TaskErrorKind, frame};

/// A call of `work` on one item, here or elsewhere. Its states are those of
/// [`Task`](crate::task::Task); a claimed one may be away.
pub(crate) struct RemoteTask<I, W: Work<I>> {
    head: Head,
    work: W,
    content: Mutex<Content<I, W::Out, W::Error>>,
    hooks: Hooks,
    /// Why it was cancelled while it was away.
    cancelled: Mutex<Option<CancelReason>>,
}

enum Content<I, R, E> {
    Item(I),
    /// It runs, here or elsewhere, or the result was taken.
    Empty,
    /// The outcome as a worker wrote it: decoded by whoever takes it, never by the backend.
    Encoded(Bundle),
    Outcome(Result<R, TaskErrorKind<E>>),
}

impl<I, W> RemoteTask<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    pub(crate) fn new(executor: u64, work: W, item: I) -> Self {
        Self {
            head: Head::new(executor),
            work,
            content: Mutex::new(Content::Item(item)),
            hooks: Hooks::default(),
            cancelled: Mutex::new(None),
        }
    }

    fn take_item(&self) -> I {
        match std::mem::replace(&mut *self.content.lock(), Content::Empty) {
            Content::Item(item) => item,
            _ => unreachable!("a task that was just claimed has its item"),
        }
    }

    fn run_claimed(&self) {
        let item = self.take_item();
        let caught = frame::enter(self.head.executor(), &self.head, || {
            catch(|| {
                let mut state = self.work.start();
                self.work.call(&mut state, item)
            })
        });
        self.finish(cause(caught));
    }

    fn end_claimed(&self, kind: TaskErrorKind<W::Error>) {
        drop_quietly(self.take_item());
        self.finish(Err(kind));
    }

    fn finish(&self, outcome: Result<W::Out, TaskErrorKind<W::Error>>) {
        let failed = outcome.is_err();
        *self.content.lock() = Content::Outcome(outcome);
        self.head.finish(failed);
    }
}

impl<I, W> Body for RemoteTask<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn run(self: Arc<Self>) {
        if self.head.claim() {
            self.run_claimed();
        }
    }

    fn give_up(self: Arc<Self>, why: GaveUp) {
        if self.head.claim() {
            self.end_claimed(why.into_kind());
        }
    }

    fn as_remote(self: Arc<Self>) -> Option<Arc<dyn RemoteBody>> {
        Some(self)
    }
}

impl<I, W> RemoteBody for RemoteTask<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn into_remote(self: Arc<Self>, mut buffer: Bundle) -> RemoteJob {
        buffer.clear();
        if self.head.claim() {
            let item = self.take_item();
            if let Err(why) = encode(&item, &mut buffer) {
                self.finish(Err(TaskErrorKind::NotEncodable(why)));
            }
            drop_quietly(item);
        }
        RemoteJob {
            function: Function::new::<I, W>(&self.work),
            setup: None,
            timeout: None,
            reply: Reply::new(self, buffer.len(), Indices::default()),
            items: buffer,
        }
    }
}

impl<I, W> ReplyTo for RemoteTask<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn deliver(&self, _: usize, outcomes: Bundle) {
        let failed = outcomes.kind_at(0) != Some(super::bundle::Kind::Value);
        *self.content.lock() = Content::Encoded(outcomes);
        self.head.finish(failed);
    }

    fn lose(&self, _: usize, loss: Loss) {
        let reason = self.cancelled.lock().unwrap_or(CancelReason::ShutDown);
        self.finish(Err(loss.into_kind(reason, None)));
    }

    fn close(&self) {
        self.hooks.close();
    }

    fn on_cancel(&self, cancel: CancelHook) {
        self.hooks.on_cancel(cancel);
    }

    fn on_wait(&self, hook: Arc<dyn WaitHook>) {
        self.hooks.on_wait(hook);
    }
}

impl<I, W> Joint<W::Out, W::Error> for RemoteTask<I, W>
where
    I: Serialize + DeserializeOwned + Send + 'static,
    W: Remotable<I, Out: Send, Error: Send>,
{
    fn head(&self) -> &Head {
        &self.head
    }

    fn help(&self) -> bool {
        if self.head.claim() {
            self.run_claimed();
        }
        self.head.is_done()
    }

    fn take(&self) -> Option<Result<W::Out, TaskError<W::Error>>> {
        if !self.head.take() {
            return None;
        }
        let content = std::mem::replace(&mut *self.content.lock(), Content::Empty);
        let outcome = match content {
            Content::Outcome(outcome) => outcome,
            Content::Encoded(bundle) => {
                let mut entries = bundle.entries();
                let (kind, bytes) = entries.next().unwrap_or((None, &[]));
                read_outcome::<I, W>(kind, bytes)
            }
            Content::Item(_) | Content::Empty => unreachable!("a done task holds its outcome"),
        };
        Some(outcome.map_err(|kind| TaskError::new(0, 1, kind)))
    }

    fn cancel(&self, reason: CancelReason) -> CancelOutcome {
        if self.head.claim() {
            self.end_claimed(TaskErrorKind::Cancelled(reason));
            return CancelOutcome::NotStarted;
        }
        if self.head.is_done() {
            return CancelOutcome::TooLate;
        }
        self.cancelled.lock().get_or_insert(reason);
        self.hooks.cancel()
    }

    fn ends_on_backend(&self) -> bool {
        true
    }

    fn wait(&self, deadline: Option<Instant>) {
        self.hooks.wait(deadline);
    }
}

impl Loss {
    /// The item's cause, for work that was cancelled for this reason and was to end within
    /// this limit.
    pub(super) fn into_kind<E>(
        self,
        reason: CancelReason,
        timeout: Option<std::time::Duration>,
    ) -> TaskErrorKind<E> {
        match self {
            Self::WorkerLost(lost) => TaskErrorKind::WorkerLost(lost),
            Self::TimedOut => TaskErrorKind::TimedOut(timeout.unwrap_or_default()),
            Self::Cancelled | Self::Killed => TaskErrorKind::Cancelled(reason),
            Self::Undeliverable(why) => TaskErrorKind::Undeliverable(why),
            Self::Dropped => TaskErrorKind::Dropped,
        }
    }
}
