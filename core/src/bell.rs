//! [`Bell`]: wakes the one thread that consumes a map's results.

use std::time::{Duration, Instant};

use crate::CancelReason;
use crate::cancel::OnCancel;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Condvar, Mutex};

/// Nobody sleeps.
const AWAKE: u8 = 0;
/// The consumer naps: it looks by itself soon.
const NAPPING: u8 = 1;
/// The consumer sleeps until somebody rings.
const ASLEEP: u8 = 2;

/// How long a nap is: the longest that a result waits behind others that are on their way.
const NAP: Duration = Duration::from_millis(1);

/// A bell for one sleeper. Ringing it costs a load while nobody sleeps.
///
/// The sleeper [sets](Self::set) it, then looks whether there is something to do, under
/// the locks of whatever it looks at, and then [sleeps](Self::sleep) or
/// [unsets](Self::unset) it. Others change something under its lock and then ring.
///
/// Waking a thread costs more than many an item does. So a sleeper naps first, for a
/// moment in which small news ([`ring_softly`](Self::ring_softly)) may gather; big news
/// ([`ring`](Self::ring)) ends the nap. If the nap brought nothing, the items are long, and
/// the sleeper sleeps until there is any news.
#[derive(Default)]
pub(crate) struct Bell {
    state: AtomicU8,
    lock: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Announces a sleep, or only a nap.
    pub(crate) fn set(&self, is_nap: bool) {
        // Under the lock, so that what happened before an earlier wake is seen after this.
        let _guard = self.lock.lock();
        let state = if is_nap { NAPPING } else { ASLEEP };
        self.state.store(state, Ordering::Relaxed);
    }

    pub(crate) fn unset(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Sleeps until the bell has rung since it was set, or the nap is over, or the deadline
    /// has passed.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) {
        let mut guard = self.lock.lock();
        let until = match self.state.load(Ordering::Relaxed) {
            NAPPING => {
                let nap_ends = Instant::now() + NAP;
                Some(deadline.map_or(nap_ends, |deadline| deadline.min(nap_ends)))
            }
            _ => deadline,
        };
        while self.state.load(Ordering::Relaxed) != AWAKE {
            match until {
                None => self.rung.wait(&mut guard),
                Some(until) => {
                    if self.rung.wait_until(&mut guard, until).timed_out() {
                        return self.unset();
                    }
                }
            }
        }
    }

    /// Wakes whoever sleeps or naps.
    #[inline]
    pub(crate) fn ring(&self) {
        // Relaxed: the caller's lock orders this load after the sleeper's store, or the
        // sleeper's look after the caller's change.
        if self.state.load(Ordering::Relaxed) != AWAKE {
            self.wake();
        }
    }

    /// Wakes whoever sleeps; a nap goes on.
    #[inline]
    pub(crate) fn ring_softly(&self) {
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let _guard = self.lock.lock();
        self.state.store(AWAKE, Ordering::Relaxed);
        self.rung.notify_one();
    }
}

impl OnCancel for Bell {
    fn on_cancel(&self, _: CancelReason) {
        self.wake();
    }
}
