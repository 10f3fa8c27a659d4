//! [`Scope`]: tasks that borrow.
//!
//! A scope is one [`Lease`] of a queue of tasks: every submitted task goes into the queue,
//! and a ticket to the executor, which runs one task of the queue.
//!
//! # Why borrowed data is safe
//!
//! A task is reachable through its handle, whose type ends with the scope, and through the
//! queue. A worker takes it out of the queue, runs it and drops it while it counts as
//! active in the lease. [`scope`] returns, also by unwinding, only when the queue is empty
//! and nobody is active.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::job::{Body, GaveUp};
use crate::lease::{self, Lease, Lent};
use crate::panic::catch;
use crate::sync::Mutex;
use crate::task::Task;
use crate::{CancellationToken, Executor, Handle, InProcess, frame};

/// Where tasks that borrow are submitted. See
/// [`InProcessExt::scope`](crate::InProcessExt::scope).
pub struct Scope<'scope, 'env: 'scope, E: ?Sized> {
    executor: &'env E,
    queue: Arc<Queue>,
    lease: Arc<Lease>,
    /// Invariant in both lifetimes, as std's scope.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The tasks of a scope that nobody has taken yet.
struct Queue {
    /// They borrow for the scope, whatever the type says.
    tasks: Mutex<VecDeque<Arc<dyn Body>>>,
    token: CancellationToken,
}

impl Queue {
    /// Runs one task, if there is one.
    fn run_one(&self) -> bool {
        let task = self.tasks.lock().pop_front();
        match task {
            Some(task) => {
                // The result of a task that was detached is dropped here.
                if let Err(panic) = catch(|| task.run()) {
                    log::error!("a value of a task panicked when it was dropped: {panic}");
                }
                true
            }
            None => false,
        }
    }

    /// Ends all tasks that nobody has taken.
    fn give_up(&self, why: GaveUp) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            task.give_up(why);
        }
    }
}

impl Lent for Queue {
    fn work(&self) {
        self.run_one();
    }

    fn is_exhausted(&self) -> bool {
        self.tasks.lock().is_empty()
    }

    fn token(&self) -> &CancellationToken {
        &self.token
    }

    fn ticket_ended(&self, lost: Option<GaveUp>) {
        let Some(why) = lost else { return };
        // One ticket less than tasks: one task would wait for ever.
        let task = self.tasks.lock().pop_back();
        if let Some(task) = task {
            task.give_up(why);
        }
    }
}

impl<'scope, 'env, E> Scope<'scope, 'env, E>
where
    E: Executor<Reach = InProcess> + ?Sized,
{
    /// Runs `f(input)` on a worker before the scope ends.
    pub fn submit<I, R, F>(&'scope self, input: I, f: F) -> Handle<'scope, R>
    where
        I: Send + 'scope,
        R: Send + 'scope,
        F: FnOnce(I) -> R + Send + 'scope,
    {
        self.try_submit(input, move |input| Ok::<_, Infallible>(f(input)))
    }

    /// The same for a function that can fail.
    pub fn try_submit<I, R, Err, F>(&'scope self, input: I, f: F) -> Handle<'scope, R, Err>
    where
        I: Send + 'scope,
        R: Send + 'scope,
        Err: Send + 'scope,
        F: FnOnce(I) -> Result<R, Err> + Send + 'scope,
    {
        let task = Arc::new(Task::new(self.executor.id().key(), move || f(input)));
        let body: Arc<dyn Body + 'scope> = task.clone();
        // SAFETY: only the lifetime changes; the task is gone from the queue and from all
        // workers before the scope ends, by the argument at the top of this file.
        let body: Arc<dyn Body> = unsafe { std::mem::transmute(body) };
        self.queue.tasks.lock().push_back(body);
        self.lease.spawn(self.executor);
        Handle::new(task)
    }
}

pub(crate) fn scope<'env, E, R, F>(executor: &'env E, body: F) -> R
where
    E: Executor<Reach = InProcess> + ?Sized,
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env, E>) -> R,
{
    /// Cancels what has not started if the body unwinds.
    struct CancelOnUnwind<'a>(&'a Queue);
    impl Drop for CancelOnUnwind<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.token.cancel();
                self.0.give_up(GaveUp::Abandoned);
            }
        }
    }

    let key = executor.id().key();
    let queue = Arc::new(Queue {
        tasks: Mutex::new(VecDeque::new()),
        token: executor.id().abort_token().child(),
    });
    lease::lend(key, queue.clone(), |lease| {
        let scope = Scope {
            executor,
            queue: queue.clone(),
            lease: lease.clone(),
            scope: PhantomData,
            env: PhantomData,
        };
        let _cancel = CancelOnUnwind(&queue);
        let result = body(&scope);
        if frame::is_worker_of(key) {
            while queue.run_one() {}
        }
        if let Err(why) = lease.wait() {
            queue.give_up(why);
        }
        result
    })
}

impl<E: ?Sized> fmt::Debug for Scope<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}
