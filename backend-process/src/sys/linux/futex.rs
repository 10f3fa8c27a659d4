//! Sleeping at a word that two processes share.

use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex;

/// Sleeps while `word` is `value`, for `limit` at most, until somebody [wakes](wake_all) who
/// sleeps there.
///
/// # Errors
///
/// If the word has another value, a signal came, or the time is over.
pub(crate) fn sleep_at(word: &AtomicU32, value: u32, limit: Option<Duration>) -> io::Result<()> {
    // A limit beyond the clock's end is none.
    let limit = limit.and_then(|limit| limit.try_into().ok());
    // Not private: it is another process that wakes.
    Ok(futex::wait(
        word,
        futex::Flags::empty(),
        value,
        limit.as_ref(),
    )?)
}

/// Wakes all threads that sleep at `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    // An error could only mean that the address is wrong.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}
