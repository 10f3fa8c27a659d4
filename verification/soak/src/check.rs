//! Values that are counted, and panics that are meant.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::random::mix;

/// Values that exist now.
static LIVE: AtomicI64 = AtomicI64::new(0);
/// Values that were ever made.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A number that is counted while it exists: an item or a result that is dropped twice, or
/// never, shows at the end of the round.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counted(Box<u64>);

impl Counted {
    pub(crate) fn new(value: u64) -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        MADE.fetch_add(1, Ordering::Relaxed);
        Self(Box::new(value))
    }

    pub(crate) fn get(&self) -> u64 {
        *self.0
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many counted values exist.
pub(crate) fn num_live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// How many counted values were made.
pub(crate) fn num_values() -> u64 {
    MADE.load(Ordering::Relaxed)
}

/// What panics that are meant say.
const MEANT: &str = "meant to panic";

/// Panics as a task that goes wrong.
pub(crate) fn panic_as_meant() -> ! {
    panic!("{MEANT}")
}

/// Keeps panics that are meant off the terminal.
pub(crate) fn silence_expected_panics() {
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&MEANT)
            && info.payload().downcast_ref::<String>().map(String::as_str) != Some(MEANT)
        {
            next(info);
        }
    }));
}

/// What a task makes of an item: a little work, most times; a lot, now and then.
pub(crate) fn digest(value: u64) -> u64 {
    let rounds = match mix(value) % 1024 {
        0 => 20_000,
        1..=10 => 500,
        _ => 1,
    };
    (0..rounds).fold(value, |value, _| mix(value))
}
