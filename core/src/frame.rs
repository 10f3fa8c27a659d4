//! What runs on this thread: the stack of tasks, kept in a thread-local.
//!
//! A waiter asks it whether it waits inside a task of the same executor (then it must do
//! the work that it waits for), and [`CancellationToken::current`] asks it for the token.

use std::cell::Cell;

use crate::CancellationToken;
use crate::sync::thread_local;

thread_local! {
    static TOP: Cell<Option<*const Frame<'static>>> = const { Cell::new(None) };
}

/// One running task or lane of a map.
pub(crate) struct Frame<'a> {
    executor: u64,
    running: &'a dyn Running,
    below: Option<*const Frame<'static>>,
}

/// What a frame knows about the work that it stands for.
pub(crate) trait Running {
    /// The token that the work should look at.
    fn token(&self) -> CancellationToken;
}

impl Running for CancellationToken {
    fn token(&self) -> CancellationToken {
        self.clone()
    }
}

/// Calls `f` as work of the executor with this key.
pub(crate) fn enter<R>(executor: u64, running: &dyn Running, f: impl FnOnce() -> R) -> R {
    /// Takes the frame off again, also when `f` unwinds.
    struct Pop(Option<*const Frame<'static>>);
    impl Drop for Pop {
        fn drop(&mut self) {
            TOP.with(|top| top.set(self.0));
        }
    }

    let below = top();
    let frame = Frame {
        executor,
        running,
        below,
    };
    let _pop = Pop(below);
    TOP.with(|top| top.set(Some((&raw const frame).cast())));
    f()
}

/// Whether this thread is inside work of the executor with this key, at any depth, or is one
/// of its workers anyway.
pub(crate) fn is_worker_of(executor: u64) -> bool {
    let mut next = top();
    while let Some(frame) = next {
        let frame = at(frame);
        if frame.executor == executor {
            return true;
        }
        next = frame.below;
    }
    crate::executor::claims_thread(executor)
}

/// The token of the innermost work on this thread.
pub(crate) fn current_token() -> Option<CancellationToken> {
    top().map(|frame| at(frame).running.token())
}

fn top() -> Option<*const Frame<'static>> {
    TOP.with(Cell::get)
}

/// The frame behind a pointer of the stack.
fn at<'a>(frame: *const Frame<'static>) -> &'a Frame<'a> {
    // SAFETY: pointers enter the stack only in `enter`, which keeps the frame alive on its
    // own stack until `Pop` has taken the pointer off; callers use the reference within
    // this module and on this thread, so while `enter` is still running.
    unsafe { &*frame.cast() }
}
