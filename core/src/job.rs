//! [`Job`]: the unit of work that an executor runs.

use std::fmt;
use std::sync::Arc;

use crate::panic::catch;
#[cfg(feature = "remote")]
use crate::remote::{Bundle, RemoteBody, RemoteJob};

/// A piece of work, to be run once by a worker of the executor that received it.
///
/// Opaque, two words, `Send`; it carries its own error handling and reports how each of
/// its items ended. Whatever happens to a job, nobody waits for ever:
///
/// - [`run`](Self::run) runs it; panics stay inside;
/// - [`cancel`](Self::cancel) ends its items as cancelled by a shutdown;
/// - dropping it ends its items as [`Dropped`](crate::TaskErrorKind::Dropped);
/// - handing it back from [`Executor::spawn`](crate::Executor::spawn) ends them as
///   [`Refused`](crate::TaskErrorKind::Refused).
#[must_use = "dropping a job ends its items as `Dropped`"]
pub struct Job {
    body: Option<Arc<dyn Body>>,
}

/// What a job does. Implemented by single tasks and by the runners of maps.
pub(crate) trait Body: Send + Sync {
    /// Does the work. Must not unwind.
    fn run(self: Arc<Self>);

    /// Gives the work up. Must not unwind.
    fn give_up(self: Arc<Self>, why: GaveUp);

    /// The same body, if it can leave the process.
    #[cfg(feature = "remote")]
    fn as_remote(self: Arc<Self>) -> Option<Arc<dyn RemoteBody>> {
        None
    }
}

/// Why a job did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    /// The executor handed it back.
    Refused,
    /// The executor cancelled it while shutting down.
    ShutDown,
    /// The executor dropped it.
    Dropped,
    /// Nobody wants it any more.
    Abandoned,
}

impl Job {
    pub(crate) fn new(body: Arc<dyn Body>) -> Self {
        Self { body: Some(body) }
    }

    /// Does the work on this thread, which counts as a worker of the job's executor
    /// until this returns.
    ///
    /// Never unwinds: panics of tasks become the outcome of their items.
    pub fn run(mut self) {
        if let Some(body) = self.body.take() {
            // Bodies catch what user code does; this is for the destructors of values that
            // go with the last reference to a body.
            if let Err(panic) = catch(|| body.run()) {
                log::error!("a value of a task panicked when it was dropped: {panic}");
            }
        }
    }

    /// Ends the job's items as [`Cancelled`](crate::TaskErrorKind::Cancelled) by a
    /// shutdown, without running them.
    pub fn cancel(self) {
        self.give_up(GaveUp::ShutDown);
    }

    /// What another process needs to run this job, with its items encoded now and here, into
    /// the memory of `buffer`.
    ///
    /// # Errors
    ///
    /// Hands the job back if it can only run in this process.
    #[cfg(feature = "remote")]
    pub fn into_remote(mut self, buffer: Bundle) -> Result<RemoteJob, Self> {
        let remote = self.body.clone().and_then(Body::as_remote);
        match remote {
            Some(remote) => {
                self.body = None;
                Ok(remote.into_remote(buffer))
            }
            None => Err(self),
        }
    }

    pub(crate) fn refuse(self) {
        self.give_up(GaveUp::Refused);
    }

    fn give_up(mut self, why: GaveUp) {
        self.end(why);
    }

    fn end(&mut self, why: GaveUp) {
        if let Some(body) = self.body.take()
            && let Err(panic) = catch(|| body.give_up(why))
        {
            log::error!("a value of a task panicked when it was dropped: {panic}");
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end(GaveUp::Dropped);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}
