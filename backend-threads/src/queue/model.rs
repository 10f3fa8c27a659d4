//! The stand-in for crossbeam-deque in loom models.
//!
//! It has the real queues' interface, and at most their ordering: indices are atomics with
//! acquire and release, a pusher claims its slot before it fills it, "is it empty" is two
//! plain loads that may be stale, and there are no fences. What the real one promises
//! beyond that (its sequentially consistent accesses and inner fences) is not relied on.
//! A mutex round a `VecDeque` would put every push before every later look, and so hide
//! a missing fence in the sleep protocol; the model `loom_stand_in_is_weak` shows that
//! this one does not.

use std::any::Any;
use std::cell::RefCell;
use std::iter;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use taskfarm_core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use taskfarm_core::sync::thread;

loom::thread_local! {
    /// The seat of the worker that this thread is, if it is one.
    pub(crate) static CURRENT: RefCell<Option<Rc<dyn Any>>> = RefCell::new(None);
}

/// How many jobs pass through one queue in a model.
const CAPACITY: usize = 3;

/// A worker's own end of its deque.
pub(crate) struct Local<J>(Arc<Ring<J>>);

/// The injector and the far ends of all deques.
pub(crate) struct Queues<J> {
    injector: Ring<J>,
    deques: Vec<Arc<Ring<J>>>,
    claimed: Mutex<Vec<bool>>,
}

/// A queue for `CAPACITY` jobs in its whole life.
struct Ring<J> {
    head: AtomicUsize,
    tail: AtomicUsize,
    slots: [Slot<J>; CAPACITY],
}

struct Slot<J> {
    filled: AtomicBool,
    /// A lock that loom does not see: it keeps the job, it orders nothing.
    job: Mutex<Option<J>>,
}

impl<J> Ring<J> {
    fn new() -> Self {
        Self {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            slots: std::array::from_fn(|_| Slot {
                filled: AtomicBool::new(false),
                job: Mutex::new(None),
            }),
        }
    }

    /// Pushes, when others may do so at the same time.
    fn push_shared(&self, job: J) {
        let slot = self.tail.fetch_add(1, Ordering::AcqRel);
        self.fill(slot, job);
    }

    /// Pushes, when nobody else does.
    fn push_owned(&self, job: J) {
        let slot = self.tail.load(Ordering::Relaxed);
        self.fill(slot, job);
        self.tail.store(slot + 1, Ordering::Release);
    }

    fn fill(&self, slot: usize, job: J) {
        *self.slots[slot].job.lock().unwrap() = Some(job);
        self.slots[slot].filled.store(true, Ordering::Release);
    }

    fn take(&self) -> Option<J> {
        loop {
            let head = self.head.load(Ordering::Acquire);
            if head >= self.tail.load(Ordering::Acquire) {
                return None;
            }
            let claim =
                self.head
                    .compare_exchange(head, head + 1, Ordering::AcqRel, Ordering::Acquire);
            if claim.is_ok() {
                return Some(self.empty(head));
            }
        }
    }

    /// Takes the job out of a slot that the caller has claimed.
    fn empty(&self, slot: usize) -> J {
        while !self.slots[slot].filled.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let job = self.slots[slot].job.lock().unwrap().take();
        job.expect("a filled slot is emptied once")
    }

    fn len(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        self.tail.load(Ordering::Acquire).saturating_sub(head)
    }
}

impl<J> Local<J> {
    pub(crate) fn push(&self, job: J) {
        self.0.push_owned(job);
    }

    pub(crate) fn pop(&self) -> Option<J> {
        self.0.take()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<J> Queues<J> {
    pub(crate) fn new(num_workers: usize) -> Self {
        Self {
            injector: Ring::new(),
            deques: iter::repeat_with(|| Arc::new(Ring::new()))
                .take(num_workers)
                .collect(),
            claimed: Mutex::new(vec![false; num_workers]),
        }
    }

    pub(crate) fn claim(&self, id: usize) -> Local<J> {
        let again = std::mem::replace(&mut self.claimed.lock().unwrap()[id], true);
        Local(if again {
            Arc::new(Ring::new())
        } else {
            Arc::clone(&self.deques[id])
        })
    }

    pub(crate) fn inject(&self, job: J) {
        self.injector.push_shared(job);
    }

    pub(crate) fn num_injected(&self) -> usize {
        self.injector.len()
    }

    pub(crate) fn take_injected(&self) -> Option<J> {
        self.injector.take()
    }

    /// Moves one more job than it returns: the real one needs four waiting jobs for that,
    /// which no model has.
    pub(crate) fn take_injected_batch(&self, local: &Local<J>) -> Option<J> {
        let job = self.injector.take()?;
        if let Some(next) = self.injector.take() {
            local.push(next);
        }
        Some(job)
    }

    pub(crate) fn steal(&self, thief: usize, _: &Local<J>) -> Option<J> {
        let (before, from_thief) = self.deques.split_at(thief);
        let mut victims = from_thief[1..].iter().chain(before);
        victims.find_map(|victim| victim.take())
    }

    pub(crate) fn take_any(&self) -> Option<J> {
        self.take_injected()
            .or_else(|| self.deques.iter().find_map(|victim| victim.take()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.injector.len() == 0 && self.deques.iter().all(|deque| deque.len() == 0)
    }
}
