//! The model checker's primitives, shaped like the real ones.
//!
//! loom's locks return a `Result` and its condition variable consumes the guard;
//! these wrappers give them parking_lot's signatures. loom has no clock: a timed wait here
//! waits until it is notified, or ends at once, as the model chooses ([`let_time_pass`]).

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

pub use loom::sync::atomic;
pub use loom::thread;

/// `std::thread_local!` for one constant, of modelled threads. (loom's does not know the
/// word `const`.)
macro_rules! model_thread_local {
    ($visibility:vis static $name:ident: $type:ty = const { $value:expr };) => {
        loom::thread_local! {
            $visibility static $name: $type = $value;
        }
    };
}
pub(crate) use model_thread_local as thread_local;

std::thread_local! {
    /// Of the thread that runs the model, with all of its modelled threads.
    static TIME_PASSES: Cell<bool> = const { Cell::new(false) };
}

/// Whether timed waits of this model time out at once, from now on. They are the two
/// extremes of a clock that nobody knows; a protocol must bear both.
pub fn let_time_pass(passes: bool) {
    TIME_PASSES.set(passes);
}

/// loom's mutex with parking_lot's interface.
#[derive(Debug, Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex that protects `value`.
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    /// Locks, waiting for the present owner.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().expect("no model panics under a lock");
        MutexGuard {
            lock: &self.0,
            guard: Some(guard),
        }
    }

    /// Locks if nobody holds the lock.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.0.try_lock().ok()?;
        Some(MutexGuard {
            lock: &self.0,
            guard: Some(guard),
        })
    }

    /// Locks if nobody holds the lock; models have no clock to wait by.
    pub fn try_lock_for(&self, _: std::time::Duration) -> Option<MutexGuard<'_, T>> {
        self.try_lock()
    }

    /// The value, from the only owner.
    pub fn into_inner(self) -> T {
        self.0.into_inner().expect("no model panics under a lock")
    }
}

/// Access to what a [`Mutex`] protects.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    lock: &'a loom::sync::Mutex<T>,
    /// Empty only inside a wait.
    guard: Option<loom::sync::MutexGuard<'a, T>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard
            .as_ref()
            .expect("a guard is empty only inside a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard
            .as_mut()
            .expect("a guard is empty only inside a wait")
    }
}

/// loom's condition variable with parking_lot's interface.
#[derive(Debug, Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    /// A condition variable nobody waits on.
    pub fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    /// Waits until notified.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let inner = guard.guard.take();
        let inner = inner.expect("a guard is empty only inside a wait");
        guard.guard = Some(self.0.wait(inner).expect("no model panics under a lock"));
    }

    /// Waits until notified; or, where time passes, until others had their chance at the
    /// lock.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> WaitTimeoutResult {
        let times_out = TIME_PASSES.get();
        if times_out {
            drop(guard.guard.take());
            let inner = guard.lock.lock();
            guard.guard = Some(inner.expect("no model panics under a lock"));
        } else {
            self.wait(guard);
        }
        WaitTimeoutResult(times_out)
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Whether a timed wait timed out.
#[derive(Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// loom's checked cell.
#[derive(Debug)]
pub struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer for writing.
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(f)
    }
}
