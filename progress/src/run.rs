//! [`Run`]: what one sampler watches, from the first map's start to the last map's end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use taskfarm_core::Progress;

use crate::snapshot::Snapshot;

/// The maps that share a bar at the moment, mostly one. Its locks are held for moments only,
/// never while something is drawn.
#[derive(Debug, Default)]
pub(crate) struct Run {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    maps: Vec<Arc<Progress>>,
    num_running: usize,
    /// Set by the map that ends last; left never.
    has_ended: bool,
    /// Set by the sampler, when nothing more will be drawn.
    is_closed: bool,
}

impl Run {
    pub(crate) fn add(&self, map: &Arc<Progress>) {
        let mut state = self.state.lock();
        state.maps.push(Arc::clone(map));
        state.num_running += 1;
    }

    /// One map less runs; whether it was the last.
    pub(crate) fn remove(&self) -> bool {
        let mut state = self.state.lock();
        state.num_running = state.num_running.saturating_sub(1);
        state.num_running == 0
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.state.lock().maps)
    }

    /// Ends the run, and gives the sampler some time for its last words.
    pub(crate) fn end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        state.has_ended = true;
        self.changed.notify_all();
        while !state.is_closed {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
    }

    /// Sleeps for `time`, or until the run ends; whether it has.
    pub(crate) fn has_ended_after(&self, time: Duration) -> bool {
        // Too far to be represented is for ever.
        let deadline = Instant::now().checked_add(time);
        let mut state = self.state.lock();
        while !state.has_ended {
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        state.has_ended
    }

    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }
}
