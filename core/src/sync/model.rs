//! The model checker's primitives, shaped like the real ones.
//!
//! loom's locks return a `Result` and its condition variable consumes the guard;
//! these wrappers give them parking_lot's signatures. loom never fires a timeout,
//! so a timed wait here waits until it is notified.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

pub use loom::sync::atomic;
pub use loom::thread;

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
        MutexGuard(Some(self.0.lock().expect("no model panics under a lock")))
    }

    /// Locks if nobody holds the lock.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
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
pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0
            .as_ref()
            .expect("a guard is empty only inside a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0
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
        let inner = guard.0.take().expect("a guard is empty only inside a wait");
        guard.0 = Some(self.0.wait(inner).expect("no model panics under a lock"));
    }

    /// Waits until notified; the deadline never comes in a model.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> WaitTimeoutResult {
        self.wait(guard);
        WaitTimeoutResult
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

/// Whether a timed wait timed out: in a model, never.
#[derive(Debug)]
pub struct WaitTimeoutResult;

impl WaitTimeoutResult {
    /// Always `false` in a model.
    pub fn timed_out(&self) -> bool {
        false
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
