//! [`Gate`]: whether a pool still takes jobs, and what becomes of those it has.

use taskfarm_core::Shutdown;
use taskfarm_core::sync::atomic::{AtomicUsize, Ordering};

/// Jobs are accepted. The first state.
const OPEN: usize = 0;
/// Jobs are refused; accepted ones run. Entered by `Shutdown::Drain`, or by dropping the
/// pool.
const DRAINING: usize = 1;
/// Jobs are refused; accepted ones that have not started are cancelled. Entered by the
/// other shutdowns, from any state, and never left.
const CANCELLING: usize = 2;

/// The state of a pool's shutdown. It only ever grows.
pub(crate) struct Gate(AtomicUsize);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(OPEN))
    }

    /// Closes the gate, or makes a closed one stricter.
    pub(crate) fn close(&self, how: Shutdown) {
        let state = match how {
            Shutdown::Drain => DRAINING,
            _ => CANCELLING,
        };
        self.0.fetch_max(state, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) != OPEN
    }

    pub(crate) fn is_cancelling(&self) -> bool {
        self.0.load(Ordering::Acquire) == CANCELLING
    }
}
