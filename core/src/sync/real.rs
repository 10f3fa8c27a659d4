//! The real primitives.

pub use parking_lot::{Condvar, Mutex, MutexGuard};
pub use std::sync::atomic;
pub use std::thread;
pub(crate) use std::thread_local;

/// A `std::cell::UnsafeCell` with the model checker's closure interface.
#[derive(Debug)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer for writing.
    #[inline]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
