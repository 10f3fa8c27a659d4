//! [`Pace`]: how many items a worker claims at a time.

use std::time::{Duration, Instant};

/// The work that one claim should be worth: long enough that claiming costs nothing, short
/// enough that nobody waits long for the last one.
const TARGET: Duration = Duration::from_micros(50);

/// How fast claims may grow. The first is one item; a million items of a nanosecond reach
/// full claims after six.
const GROWTH: usize = 8;

/// How many items one worker claims next, from what its last claim took.
#[derive(Debug)]
pub(crate) struct Pace {
    size: usize,
    max: usize,
    is_fixed: bool,
    started: Instant,
}

impl Pace {
    /// The size that the user asked for, or an adaptive one of at most `max`.
    pub(crate) fn new(fixed: Option<usize>, max: usize) -> Self {
        let max = max.max(1);
        Self {
            size: fixed.unwrap_or(1).min(max),
            max,
            is_fixed: fixed.is_some(),
            started: Instant::now(),
        }
    }

    /// The size of the next claim. `fair` is what this worker may take of what is left, so
    /// that the others get their part: claims shrink towards the end.
    pub(crate) fn next(&self, fair: usize) -> usize {
        if self.is_fixed {
            self.size
        } else {
            self.size.min(fair.max(1))
        }
    }

    /// The claim is about to be worked on.
    pub(crate) fn start(&mut self) {
        if !self.is_fixed {
            self.started = Instant::now();
        }
    }

    /// The claim, of that many items, is done.
    pub(crate) fn end(&mut self, num_items: usize) {
        if self.is_fixed || num_items == 0 {
            return;
        }
        let taken = self.started.elapsed().as_nanos().max(1);
        let wanted = TARGET.as_nanos() * num_items as u128 / taken;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        self.size = wanted
            .clamp(1, num_items.saturating_mul(GROWTH))
            .min(self.max);
    }
}
