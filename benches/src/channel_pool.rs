//! [`ChannelPool`]: the pool that people write by hand, threads on one channel of closures.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

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

    /// A receiver for the result: a handle.
    pub(crate) fn submit<R: Send + 'static>(
        &self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> Receiver<R> {
        let (sender, receiver) = bounded(1);
        self.execute(move || {
            let _ = sender.send(task());
        });
        receiver
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
