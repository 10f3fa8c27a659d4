//! [`Pace`]: how many items a worker claims at a time.

use std::time::{Duration, Instant};

/// The work that one claim should be worth: long enough that claiming costs nothing, short
/// enough that nobody waits long for the last one.
const TARGET: Duration = Duration::from_micros(50);

/// How fast claims may grow. The first is one item; a million items of a nanosecond reach
/// full claims after six.
const GROWTH: usize = 8;

/// How many items one worker claims next, from what the last ones took.
#[derive(Debug)]
pub(crate) struct Pace {
    size: usize,
    max: usize,
    is_fixed: bool,
    /// When the measurement began, and what was done since.
    since: Instant,
    num_items: usize,
}

impl Pace {
    /// The size that the user asked for, or an adaptive one of at most `max`.
    pub(crate) fn new(fixed: Option<usize>, max: usize) -> Self {
        let max = max.max(1);
        Self {
            size: fixed.unwrap_or(1).min(max),
            max,
            is_fixed: fixed.is_some(),
            since: Instant::now(),
            num_items: 0,
        }
    }

    /// The size of the next claim.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The size of the next claim, where this worker may take `fair` of what is left, so
    /// that the others get their part: claims shrink towards the end.
    pub(crate) fn size_within(&self, fair: usize) -> usize {
        if self.is_fixed {
            self.size
        } else {
            self.size.min(fair.max(1))
        }
    }

    /// So many items are done. The clock is read once in a full claim's worth of items,
    /// however few each claim brought.
    pub(crate) fn done(&mut self, num_items: usize) {
        self.num_items += num_items;
        if self.is_fixed || self.num_items < self.size {
            return;
        }
        let now = Instant::now();
        let taken = now.duration_since(self.since).as_nanos().max(1);
        let wanted = TARGET.as_nanos() * self.num_items as u128 / taken;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        self.size = wanted
            .clamp(1, self.size.saturating_mul(GROWTH))
            .min(self.max);
        self.since = now;
        self.num_items = 0;
    }
}
