//! [`CancelSlot`]: where a job that has left keeps the way to take it back.

use super::job::CancelHook;
use crate::CancelOutcome;
use crate::sync::Mutex;

/// The backend's hook of a job, and whether the job is still wanted.
#[derive(Default)]
pub(super) struct CancelSlot(Mutex<State>);

#[derive(Default)]
enum State {
    /// Wanted; the backend has not given its hook.
    #[default]
    Bare,
    /// Wanted, with the backend's hook.
    Hooked(CancelHook),
    /// Not wanted any more.
    Cancelled,
}

impl CancelSlot {
    /// Keeps the hook, or calls it at once if the job is not wanted any more.
    pub(super) fn hook(&self, hook: CancelHook) {
        let mut state = self.0.lock();
        if matches!(*state, State::Cancelled) {
            drop(state);
            hook();
        } else {
            *state = State::Hooked(hook);
        }
    }

    /// Takes the job back. Without a hook, the job is on its way out and will be taken back
    /// when it gets one: nobody can say whether it started by then.
    pub(super) fn cancel(&self) -> CancelOutcome {
        let state = std::mem::replace(&mut *self.0.lock(), State::Cancelled);
        match state {
            State::Hooked(hook) => hook(),
            State::Bare => CancelOutcome::Killed,
            State::Cancelled => CancelOutcome::TooLate,
        }
    }

    /// Forgets the hook: the job is over.
    pub(super) fn close(&self) {
        let state = std::mem::replace(&mut *self.0.lock(), State::Cancelled);
        drop(state);
    }
}
