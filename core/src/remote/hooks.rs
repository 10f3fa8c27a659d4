//! [`Hooks`]: where a job that has left keeps the way to take it back, and to wait for it.

use std::sync::Arc;
use std::time::Instant;

use super::job::{CancelHook, WaitHook};
use crate::CancelOutcome;
use crate::sync::Mutex;

/// The backend's hooks of a job, and whether the job is still wanted.
#[derive(Default)]
pub(super) struct Hooks(Mutex<State>);

#[derive(Default)]
struct State {
    cancel: Cancel,
    /// How to wait for it, if the backend has a way of its own.
    wait: Option<Arc<dyn WaitHook>>,
}

#[derive(Default)]
enum Cancel {
    /// Wanted; the backend has not given its hook.
    #[default]
    Bare,
    /// Wanted, with the backend's hook.
    Hooked(CancelHook),
    /// Not wanted any more.
    Cancelled,
}

impl Hooks {
    /// Keeps the hook, or calls it at once if the job is not wanted any more.
    pub(super) fn on_cancel(&self, hook: CancelHook) {
        let mut state = self.0.lock();
        if matches!(state.cancel, Cancel::Cancelled) {
            drop(state);
            hook();
        } else {
            state.cancel = Cancel::Hooked(hook);
        }
    }

    /// Keeps the hook until the job is over.
    pub(super) fn on_wait(&self, hook: Arc<dyn WaitHook>) {
        self.0.lock().wait = Some(hook);
    }

    /// Takes the job back. Without a hook, the job is on its way out and will be taken back
    /// when it gets one: nobody can say whether it started by then.
    pub(super) fn cancel(&self) -> CancelOutcome {
        let cancel = std::mem::replace(&mut self.0.lock().cancel, Cancel::Cancelled);
        match cancel {
            Cancel::Hooked(hook) => hook(),
            Cancel::Bare => CancelOutcome::Killed,
            Cancel::Cancelled => CancelOutcome::TooLate,
        }
    }

    /// Waits as the backend can, as [`WaitHook::wait`] says, if it can and the job is not
    /// over.
    pub(super) fn wait(&self, deadline: Option<Instant>) {
        let hook = self.0.lock().wait.clone();
        if let Some(hook) = hook {
            hook.wait(deadline);
        }
    }

    /// Forgets the hooks: the job is over.
    pub(super) fn close(&self) {
        let over = State {
            cancel: Cancel::Cancelled,
            wait: None,
        };
        let state = std::mem::replace(&mut *self.0.lock(), over);
        drop(state);
    }
}
