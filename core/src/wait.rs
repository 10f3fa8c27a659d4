//! [`wait`] and [`as_completed`]: waiting for several handles, of one executor or many.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};
use crate::task::{Waiter, Watcher};
use crate::{Handle, TaskError};

/// When [`wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// As soon as one task is done.
    First,
    /// As soon as one task has failed, or all are done.
    FirstError,
    /// When all tasks are done.
    All,
}

/// Waits for some of `handles`, for at most `timeout` if there is one; returns the
/// positions of those that are done, ascending. No task is touched by the time running out.
///
/// With no handles it returns at once.
///
/// ```
/// use taskfarm_core::{InProcessExt, InlineExecutor, When, wait};
///
/// let executor = InlineExecutor::new();
/// let handles = [executor.submit(1, |n| n), executor.submit(2, |n| n)];
/// assert_eq!(wait(&handles, When::All, None), [0, 1]);
/// ```
pub fn wait<R, E>(
    handles: &[Handle<'_, R, E>],
    when: When,
    timeout: Option<Duration>,
) -> Vec<usize> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let ready = Arc::new(Ready::default());
    for (position, handle) in handles.iter().enumerate() {
        ready.watch(position, handle);
    }
    let mut num_done = 0;
    while num_done < handles.len() {
        let Some(position) = next_ready(&ready, handles.iter(), deadline) else {
            break;
        };
        num_done += 1;
        let is_enough = match when {
            When::First => true,
            When::FirstError => handles[position].head().has_failed(),
            When::All => false,
        };
        if is_enough {
            break;
        }
    }
    let is_done = |&position: &usize| handles[position].is_finished();
    (0..handles.len()).filter(is_done).collect()
}

/// Yields each handle's position and result, soon after its task is done.
///
/// Dropping the iterator detaches the remaining handles.
///
/// ```
/// use taskfarm_core::{InProcessExt, InlineExecutor, as_completed};
///
/// let executor = InlineExecutor::new();
/// let handles = [executor.submit(1, |n| n), executor.submit(2, |n| n)];
/// let sum: i32 = as_completed(handles).map(|(_, result)| result.unwrap()).sum();
/// assert_eq!(sum, 3);
/// ```
pub fn as_completed<'env, R, E>(
    handles: impl IntoIterator<Item = Handle<'env, R, E>>,
) -> AsCompletedHandles<'env, R, E> {
    let handles: Vec<_> = handles.into_iter().map(Some).collect();
    let ready = Arc::new(Ready::default());
    for (position, handle) in handles.iter().flatten().enumerate() {
        ready.watch(position, handle);
    }
    AsCompletedHandles {
        num_left: handles.len(),
        handles,
        ready,
    }
}

/// The iterator that [`as_completed`] returns.
#[must_use = "dropping the iterator detaches its handles"]
pub struct AsCompletedHandles<'env, R, E> {
    /// `None` where the result was yielded.
    handles: Vec<Option<Handle<'env, R, E>>>,
    ready: Arc<Ready>,
    num_left: usize,
}

impl<R, E> AsCompletedHandles<'_, R, E> {
    /// The next result, waiting for at most `timeout`; `None` if the time is over or
    /// nothing is left. No task is touched by the time running out.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<(usize, Result<R, TaskError<E>>)> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    fn next_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Option<(usize, Result<R, TaskError<E>>)> {
        if self.num_left == 0 {
            return None;
        }
        let position = next_ready(&self.ready, self.handles.iter().flatten(), deadline)?;
        self.num_left -= 1;
        let handle = self.handles[position].take()?;
        Some((position, handle.join()))
    }
}

impl<R, E> Iterator for AsCompletedHandles<'_, R, E> {
    type Item = (usize, Result<R, TaskError<E>>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.num_left, Some(self.num_left))
    }
}

impl<R, E> fmt::Debug for AsCompletedHandles<'_, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompletedHandles")
            .field("num_left", &self.num_left)
            .finish_non_exhaustive()
    }
}

/// The next position whose task is done. Runs waiting tasks of this thread's own executor
/// before it sleeps, unless there is a deadline.
fn next_ready<'h, 'env: 'h, R: 'h, E: 'h>(
    ready: &Ready,
    handles: impl Iterator<Item = &'h Handle<'env, R, E>>,
    deadline: Option<Instant>,
) -> Option<usize> {
    if let Some(position) = ready.pop() {
        return Some(position);
    }
    if deadline.is_none() {
        for handle in handles {
            if handle.help() {
                break;
            }
        }
    }
    ready.wait(deadline)
}

/// The positions of tasks that are done, in the order in which they ended.
#[derive(Default)]
struct Ready {
    positions: Mutex<VecDeque<usize>>,
    grown: Condvar,
}

impl Waiter for Ready {
    fn task_is_done(&self, position: usize) {
        self.positions.lock().push_back(position);
        self.grown.notify_one();
    }
}

impl Ready {
    fn watch<R, E>(self: &Arc<Self>, position: usize, handle: &Handle<'_, R, E>) {
        let waiter = Arc::downgrade(self);
        handle.head().watch(Watcher::Waiter(waiter, position));
    }

    fn pop(&self) -> Option<usize> {
        self.positions.lock().pop_front()
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<usize> {
        let mut positions = self.positions.lock();
        loop {
            if let Some(position) = positions.pop_front() {
                return Some(position);
            }
            match deadline {
                None => self.grown.wait(&mut positions),
                Some(deadline) => {
                    if self.grown.wait_until(&mut positions, deadline).timed_out() {
                        return positions.pop_front();
                    }
                }
            }
        }
    }
}
