//! [`Watched`]: the executor under test, and which of its calls have not returned; for the
//! message of a case that hangs.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;

use super::subject::Pool;
use crate::{Capabilities, Executor, ExecutorId, InProcess, Job, Shutdown};

/// How many calls of each method are under way.
#[derive(Default)]
pub(super) struct Calls(Mutex<BTreeMap<&'static str, usize>>);

/// A call that is under way.
struct Call<'c>(&'c Calls, &'static str);

impl Calls {
    fn enter(&self, method: &'static str) -> Call<'_> {
        *self.0.lock().entry(method).or_default() += 1;
        Call(self, method)
    }

    /// What a case that hangs may be waiting for.
    pub(super) fn suspicion(&self) -> String {
        let calls = self.0.lock();
        let under_way = calls.iter().filter(|(_, count)| **count > 0);
        let methods: Vec<&str> = under_way.map(|(method, _)| *method).collect();
        match methods.is_empty() {
            true => "every call of the executor has returned, so a job that it took has not been \
                     run, or a thread or a task of it waits for something"
                .to_owned(),
            false => format!("not returned from {}", methods.join(" and ")),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0.0.lock().get_mut(self.1) {
            *count -= 1;
        }
    }
}

/// The executor under test.
pub(super) struct Watched<R> {
    /// `None` only while it is dropped.
    inner: Option<Pool<R>>,
    calls: Arc<Calls>,
}

impl<R> Watched<R> {
    pub(super) fn new(inner: Pool<R>, calls: Arc<Calls>) -> Self {
        Self {
            inner: Some(inner),
            calls,
        }
    }

    fn inner(&self) -> &Pool<R> {
        self.inner.as_ref().expect("it is not dropped yet")
    }
}

impl<R> Executor for Watched<R> {
    type Reach = R;

    fn id(&self) -> &ExecutorId {
        self.inner().id()
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let _call = self.calls.enter("`spawn`");
        self.inner().spawn(job)
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.inner().parallelism()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner().capabilities()
    }

    fn in_process(&self) -> Option<&dyn Executor<Reach = InProcess>> {
        self.inner().in_process()
    }

    fn shutdown(&self, how: Shutdown) {
        let _call = self.calls.enter("`shutdown`");
        self.inner().shutdown(how);
    }
}

impl<R> Drop for Watched<R> {
    fn drop(&mut self) {
        let _call = self.calls.enter("the executor's drop");
        self.inner = None;
    }
}
