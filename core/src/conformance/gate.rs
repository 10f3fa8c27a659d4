//! [`Gate`] and friends: how cases wait for events, never for time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// No wait of a case lasts longer, so that threads of a failed case end some day.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Count {
    count: Mutex<usize>,
    changed: Condvar,
}

/// Something that happens at most once, and that others wait for. The owner opens it, at the
/// latest by dropping it: a case that fails frees its tasks.
pub(crate) struct Gate(Arc<Count>);

/// What a task waits with.
#[derive(Clone)]
pub(crate) struct Pass(Arc<Count>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn pass(&self) -> Pass {
        Pass(self.0.clone())
    }

    pub(crate) fn open(&self) {
        self.0.add();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl Pass {
    /// Waits until the gate is open; panics if that takes too long.
    pub(crate) fn wait(&self) {
        self.0.wait_for(1);
    }
}

/// Counts events and waits for a number of them.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Count>);

impl Counter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self) {
        self.0.add();
    }

    pub(crate) fn get(&self) -> usize {
        *self.0.count.lock()
    }

    /// Waits until so many events have happened.
    pub(crate) fn wait_for(&self, wanted: usize) {
        self.0.wait_for(wanted);
    }

    /// Takes part in a meeting of `wanted` threads: returns when all are there.
    pub(crate) fn meet(&self, wanted: usize) {
        self.add();
        self.wait_for(wanted);
    }
}

impl Count {
    fn add(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, wanted: usize) {
        let deadline = Instant::now() + LONGEST_WAIT;
        let mut count = self.count.lock();
        while *count < wanted {
            let is_late = self.changed.wait_until(&mut count, deadline).timed_out();
            assert!(
                !is_late || *count >= wanted,
                "waited for {wanted} events, and saw {}",
                *count
            );
        }
    }
}

/// Looks again and again until `is_so`; for what gives no event. The deadline of the case
/// ends it otherwise.
pub(crate) fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONGEST_WAIT;
    while !is_so() {
        assert!(
            Instant::now() < deadline,
            "something that must happen did not happen"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}
