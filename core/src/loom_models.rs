//! Models, for loom, of everything that threads share in this crate.
//!
//! ```text
//! RUSTFLAGS="--cfg taskfarm_loom" LOOM_MAX_PREEMPTIONS=2 \
//!     cargo test -p taskfarm-core --release --lib loom
//! ```
//!
//! Each model is a tiny world with one property; the protocol and the argument stand at the
//! top of the file that it is about. A lost wake-up shows as a deadlock, which loom reports.
//! Values that pass from thread to thread carry a [`Seen`], a cell in which loom notices an
//! access that nothing orders after the one before.
//!
//! What the models do not see: `std`'s `Arc` and `Weak` (loom has no `Weak`), the counters
//! of [`Progress`](crate::Progress) and [`Control`](crate::control::Control), which order
//! nothing, and the raw memory of items and results (Miri and the sanitizers look at that;
//! here its contents are `Seen`).

mod bell;
mod cancel;
mod flow;
mod lease;
mod scope;
mod slots;
mod task;

use std::num::NonZeroUsize;
use std::panic::resume_unwind;

use loom::cell::UnsafeCell;

use crate::sync::thread;
use crate::sync::{Condvar, Mutex};
use crate::{Executor, ExecutorId, InProcess, Job};

/// A thread of the model for each job.
struct Threads {
    id: ExecutorId,
    num_workers: usize,
}

impl Threads {
    fn new(num_workers: usize) -> Self {
        Self {
            id: ExecutorId::new("model"),
            num_workers,
        }
    }
}

impl Executor for Threads {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        thread::spawn(|| job.run());
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.num_workers).expect("a model has workers")
    }
}

/// A number in a cell that loom watches.
#[derive(Debug)]
struct Seen(UnsafeCell<u32>);

impl Seen {
    fn new(value: u32) -> Self {
        Self(UnsafeCell::new(value))
    }

    fn get(&self) -> u32 {
        // SAFETY: loom fails the model if this races with a write.
        self.0.with(|value| unsafe { *value })
    }

    /// Writes through a shared reference, as whoever is alone with the value may.
    fn set(&self, new: u32) {
        // SAFETY: loom fails the model if this races with any other access.
        self.0.with_mut(|value| unsafe { *value = new });
    }
}

// SAFETY: loom fails a model in which accesses race.
unsafe impl Sync for Seen {}

/// A gate that threads wait at until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let mut is_open = self.is_open.lock();
        while !*is_open {
            self.opened.wait(&mut is_open);
        }
    }
}

/// A panic that no hook prints, many thousand times over.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("meant"))
}
