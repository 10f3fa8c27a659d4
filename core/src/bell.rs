//! [`Bell`]: wakes the one thread that consumes a map's results.

use crate::CancelReason;
use crate::cancel::OnCancel;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex};

/// A bell for one sleeper. Ringing it costs a load while nobody sleeps.
///
/// The sleeper [sets](Self::set) it, then looks whether there is something to do, under
/// the locks of whatever it looks at, and then [sleeps](Self::sleep) or
/// [unsets](Self::unset) it. Others change something under its lock and then
/// [ring](Self::ring).
#[derive(Default)]
pub(crate) struct Bell {
    is_set: AtomicBool,
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn set(&self) {
        // Under the lock, so that what happened before an earlier wake is seen after this.
        let _guard = self.lock.lock();
        self.is_set.store(true, Ordering::Relaxed);
    }

    pub(crate) fn unset(&self) {
        self.is_set.store(false, Ordering::Relaxed);
    }

    /// Sleeps until the bell has rung since it was set.
    pub(crate) fn sleep(&self) {
        let mut guard = self.lock.lock();
        while self.is_set.load(Ordering::Relaxed) {
            self.rung.wait(&mut guard);
        }
    }

    #[inline]
    pub(crate) fn ring(&self) {
        // Relaxed: the caller's lock orders this load after the sleeper's store, or the
        // sleeper's look after the caller's change.
        if self.is_set.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let _guard = self.lock.lock();
        self.is_set.store(false, Ordering::Relaxed);
        self.rung.notify_one();
    }
}

impl OnCancel for Bell {
    fn on_cancel(&self, _: CancelReason) {
        self.wake();
    }
}
