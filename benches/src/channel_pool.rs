//! [`ChannelPool`]: the pool that people write by hand, threads on one channel of closures;
//! and its handle, a slot under a lock.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

type Task = Box<dyn FnOnce() + Send>;

pub(crate) struct ChannelPool {
    /// `None` once the pool is being dropped.
    tasks: Option<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl ChannelPool {
    pub(crate) fn new(num_threads: usize) -> Self {
        let (sender, receiver) = unbounded::<Task>();
        let work = |receiver: Receiver<Task>| move || receiver.iter().for_each(|task| task());
        let start = |_| std::thread::spawn(work(receiver.clone()));
        Self {
            tasks: Some(sender),
            threads: (0..num_threads).map(start).collect(),
        }
    }

    pub(crate) fn execute(&self, task: impl FnOnce() + Send + 'static) {
        let tasks = self.tasks.as_ref().expect("only `drop` takes it");
        tasks.send(Box::new(task)).expect("the threads listen");
    }

    pub(crate) fn submit<R: Send + 'static>(
        &self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> Slot<R> {
        let slot = Slot(Arc::new((Mutex::new(None), Condvar::new())));
        let result = Slot(Arc::clone(&slot.0));
        self.execute(move || result.fill(task()));
        slot
    }
}

/// The result of a task, now or later. Lighter than a channel for one message.
pub(crate) struct Slot<R>(Arc<(Mutex<Option<R>>, Condvar)>);

impl<R> Slot<R> {
    fn fill(&self, value: R) {
        let (result, filled) = &*self.0;
        *result.lock().expect("nobody panics here") = Some(value);
        filled.notify_one();
    }

    pub(crate) fn join(self) -> R {
        let (result, filled) = &*self.0;
        let mut result = result.lock().expect("nobody panics here");
        loop {
            match result.take() {
                Some(value) => return value,
                None => result = filled.wait(result).expect("nobody panics here"),
            }
        }
    }
}

impl Drop for ChannelPool {
    fn drop(&mut self) {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            thread.join().expect("no task panics");
        }
    }
}
