//! The real queues: crossbeam-deque.

use std::any::Any;
use std::cell::RefCell;
use std::iter;
use std::rc::Rc;

use crossbeam_deque::{Injector, Steal, Stealer, Worker};
use parking_lot::Mutex;

thread_local! {
    /// The seat of the worker that this thread is, if it is one.
    pub(crate) static CURRENT: RefCell<Option<Rc<dyn Any>>> = const { RefCell::new(None) };
}

/// A worker's own end of its deque.
pub(crate) type Local<J> = Worker<J>;

/// The injector and the far ends of all deques.
pub(crate) struct Queues<J> {
    injector: Injector<J>,
    stealers: Box<[Stealer<J>]>,
    /// The near ends, until their workers start.
    unclaimed: Mutex<Vec<Option<Local<J>>>>,
}

impl<J> Queues<J> {
    pub(crate) fn new(num_workers: usize) -> Self {
        let locals: Vec<_> = iter::repeat_with(Local::new_fifo)
            .take(num_workers)
            .collect();
        Self {
            injector: Injector::new(),
            stealers: locals.iter().map(Local::stealer).collect(),
            unclaimed: Mutex::new(locals.into_iter().map(Some).collect()),
        }
    }

    /// The near end of worker `id`'s deque.
    ///
    /// A second thread with the same id gets a deque that nobody steals from. That happens
    /// only in a pool that is shut down (see `crew.rs`), and is not worth returning the
    /// first one for.
    pub(crate) fn claim(&self, id: usize) -> Local<J> {
        let first = self.unclaimed.lock()[id].take();
        first.unwrap_or_else(Local::new_fifo)
    }

    pub(crate) fn inject(&self, job: J) {
        self.injector.push(job);
    }

    /// How many jobs wait in the injector.
    pub(crate) fn num_injected(&self) -> usize {
        self.injector.len()
    }

    /// Takes one job from the injector.
    pub(crate) fn take_injected(&self) -> Option<J> {
        persist(|| self.injector.steal())
    }

    /// Takes a job from the injector and moves some more to `local`.
    pub(crate) fn take_injected_batch(&self, local: &Local<J>) -> Option<J> {
        persist(|| self.injector.steal_batch_and_pop(local))
    }

    /// Takes a job from another worker and moves some more to `local`, which is the near
    /// end of worker `thief`'s deque.
    pub(crate) fn steal(&self, thief: usize, local: &Local<J>) -> Option<J> {
        // Every thief begins with its neighbour, so that they do not all meet at one victim.
        let (before, from_thief) = self.stealers.split_at(thief);
        let mut victims = from_thief[1..].iter().chain(before);
        victims.find_map(|victim| persist(|| victim.steal_batch_and_pop(local)))
    }

    /// Takes a job from wherever there is one.
    pub(crate) fn take_any(&self) -> Option<J> {
        self.take_injected().or_else(|| {
            let mut victims = self.stealers.iter();
            victims.find_map(|victim| persist(|| victim.steal()))
        })
    }

    /// Whether no job waits. May miss jobs that are being moved just now.
    pub(crate) fn is_empty(&self) -> bool {
        self.injector.is_empty() && self.stealers.iter().all(Stealer::is_empty)
    }
}

/// Repeats an attempt to steal until it is not merely beaten by another thief.
fn persist<J>(mut attempt: impl FnMut() -> Steal<J>) -> Option<J> {
    loop {
        match attempt() {
            Steal::Success(job) => return Some(job),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
