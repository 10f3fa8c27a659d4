//! [`Handle`]: the future result of one submitted task.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::cancel::CancelOutcome;
use crate::frame;
use crate::task::{Joint, Signal, Watcher};
use crate::{CancelReason, TaskError};

/// The result of a task that was submitted, now or later.
///
/// Dropping a handle detaches it: the task still runs, and its result is dropped. Ask for
/// [`cancel_on_drop`](Self::cancel_on_drop) if that is not wanted. A handle is also a
/// `Future` with the same output as [`join`](Self::join).
///
/// Waiting from inside a task of the same executor never deadlocks: a task that nobody
/// started yet is run by the thread that waits for it.
///
/// # Examples
///
/// ```
/// use taskfarm_core::{InProcessExt, InlineExecutor};
///
/// let handle = InlineExecutor::new().submit(21, |n| n * 2);
/// assert_eq!(handle.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a handle detaches the task and loses its result"]
pub struct Handle<'env, R, E = Infallible> {
    /// `None` once the result was taken.
    task: Option<Arc<dyn Joint<R, E> + 'env>>,
    cancel_on_drop: bool,
}

impl<'env, R, E> Handle<'env, R, E> {
    pub(crate) fn new(task: Arc<dyn Joint<R, E> + 'env>) -> Self {
        Self {
            task: Some(task),
            cancel_on_drop: false,
        }
    }

    fn task(&self) -> &Arc<dyn Joint<R, E> + 'env> {
        self.task
            .as_ref()
            .expect("a handle was used after it had given its result")
    }

    /// Waits for the task and returns its result.
    ///
    /// # Errors
    ///
    /// If the task returned an error, panicked, was cancelled, or never ran.
    pub fn join(mut self) -> Result<R, TaskError<E>> {
        self.wait_until(None);
        self.take().expect("a task that is done has a result")
    }

    /// Waits for at most `timeout`; gives the handle back if the task is not done by then.
    /// The task is not touched by that; nor is it run by this thread, inside a task of the
    /// same executor either, since it could not be left half-way.
    ///
    /// # Errors
    ///
    /// The handle itself, if the time is over.
    pub fn join_timeout(mut self, timeout: Duration) -> Result<Result<R, TaskError<E>>, Self> {
        // A timeout beyond the clock's end is no limit.
        self.wait_until(Instant::now().checked_add(timeout));
        self.take().ok_or(self)
    }

    /// The result if the task is done, the handle otherwise. Never waits.
    ///
    /// # Errors
    ///
    /// The handle itself, if the task is not done.
    pub fn try_join(mut self) -> Result<Result<R, TaskError<E>>, Self> {
        self.take().ok_or(self)
    }

    /// Whether the task is done: [`join`](Self::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(|task| task.head().is_done())
    }

    /// Cancels the task, and says truthfully what that did.
    ///
    /// A task that has not started never will, and ends as
    /// [`Cancelled`](crate::TaskErrorKind::Cancelled). A running one is asked through its
    /// [token](crate::CancellationToken::current); in a worker process it is killed.
    pub fn cancel(&self) -> CancelOutcome {
        match &self.task {
            Some(task) => task.cancel(CancelReason::Asked),
            None => CancelOutcome::TooLate,
        }
    }

    /// Makes dropping this handle cancel the task.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancel_on_drop = true;
        self
    }

    fn take(&mut self) -> Option<Result<R, TaskError<E>>> {
        let result = self.task().take()?;
        self.task = None;
        Some(result)
    }

    /// Waits until the task is done or the deadline passes. A deadline forbids helping: a
    /// task cannot be left half-way.
    fn wait_until(&self, deadline: Option<Instant>) {
        let task = self.task();
        let head = task.head();
        if head.is_done() {
            return;
        }
        if deadline.is_none() && frame::is_worker_of(head.executor()) && task.help() {
            return;
        }
        task.wait(deadline);
        if head.is_done() {
            return;
        }
        let signal = Arc::new(Signal::default());
        head.watch(Watcher::Waiter(Arc::downgrade(&signal) as _, 0));
        signal.wait(deadline);
    }

    pub(crate) fn head(&self) -> &crate::task::Head {
        self.task().head()
    }

    /// Runs the task here if this thread is a worker of its executor and nobody has
    /// started it.
    pub(crate) fn help(&self) -> bool {
        frame::is_worker_of(self.head().executor())
            && !self.head().is_claimed()
            && self.task().help()
    }
}

impl<R: 'static, E: 'static> Handle<'static, R, E> {
    /// Has `f` called with the result, on the thread that ends the task, or here and now if
    /// it is done. (Where a task runs in another process, a thread of its own calls `f`.) A
    /// panic in `f` is caught and logged.
    ///
    /// ```
    /// use taskfarm_core::{InProcessExt, InlineExecutor};
    ///
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let handle = InlineExecutor::new().submit(2, |n| n + 1);
    /// handle.on_done(move |result| sender.send(result.unwrap()).unwrap());
    /// assert_eq!(receiver.recv()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_done(mut self, f: impl FnOnce(Result<R, TaskError<E>>) + Send + 'static) {
        let task = self.task.take().expect("a handle with its task");
        let shared = task.clone();
        let call = move || {
            if let Some(result) = shared.take() {
                f(result);
            }
        };
        let watcher = if task.ends_on_backend() && !task.head().is_done() {
            Watcher::ThreadOfItsOwn(Box::new(call))
        } else {
            Watcher::Callback(Box::new(call))
        };
        task.head().watch(watcher);
    }
}

impl<R, E> Future for Handle<'_, R, E> {
    type Output = Result<R, TaskError<E>>;

    /// # Panics
    ///
    /// If polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.take() {
            return Poll::Ready(result);
        }
        if self.help()
            && let Some(result) = self.take()
        {
            return Poll::Ready(result);
        }
        self.head().watch(Watcher::Waker(cx.waker().clone()));
        match self.take() {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        }
    }
}

impl<R, E> Drop for Handle<'_, R, E> {
    fn drop(&mut self) {
        if self.cancel_on_drop
            && let Some(task) = &self.task
        {
            task.cancel(CancelReason::Abandoned);
        }
    }
}

impl<R, E> fmt::Debug for Handle<'_, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.task.as_ref().map(|task| task.head().is_done());
        f.debug_struct("Handle")
            .field("is_finished", &done)
            .finish_non_exhaustive()
    }
}
