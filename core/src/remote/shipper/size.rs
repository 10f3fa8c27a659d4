//! [`ChunkSize`]: how many items travel together.

use std::time::{Duration, Instant};

/// The work that one chunk should be worth: against some 15 µs that a chunk costs the
/// parent, wake-ups included, and short enough to keep all workers busy to the end.
const TARGET: Duration = Duration::from_millis(2);

/// How fast chunks may grow.
const GROWTH: usize = 4;

/// The encoded items of one chunk, in bytes, and its results; a single one may exceed it.
const MAX_BYTES: usize = 256 << 10;

/// The most items of one chunk.
const MAX_ITEMS: usize = 16 << 10;

/// The size of the next chunk, from the throughput of those that came back.
#[derive(Debug)]
pub(super) struct ChunkSize {
    size: usize,
    is_fixed: bool,
    num_workers: usize,
    max: usize,
    /// When the measurement began: no sooner than the first chunk came back, so that the
    /// start of the workers is not in it.
    since: Option<Instant>,
    num_items: usize,
    num_chunks: usize,
    /// The bytes of an item or of its result, on average of late.
    item_bytes: usize,
}

impl ChunkSize {
    pub(super) fn new(fixed: Option<usize>, num_workers: usize, window: usize) -> Self {
        let max = match fixed {
            Some(size) => size.min(window),
            None => MAX_ITEMS.min(window / (super::CHUNKS_PER_WORKER * num_workers)),
        };
        Self {
            size: fixed.unwrap_or(1).min(max.max(1)),
            is_fixed: fixed.is_some(),
            num_workers,
            max: max.max(1),
            since: None,
            num_items: 0,
            num_chunks: 0,
            item_bytes: 0,
        }
    }

    /// The size of the next chunk, when `left` more items are known to come.
    pub(super) fn next(&self, left: Option<usize>) -> usize {
        if self.is_fixed {
            return self.size;
        }
        let fair = left.map_or(usize::MAX, |left| left / (2 * self.num_workers));
        let light = MAX_BYTES / self.item_bytes.max(1);
        self.size.min(fair).min(light).max(1)
    }

    /// A chunk of so many items and bytes has come back.
    pub(super) fn learn(&mut self, num_items: usize, num_bytes: usize, at: Instant) {
        if self.is_fixed || num_items == 0 {
            return;
        }
        self.item_bytes = (self.item_bytes + num_bytes / num_items).div_ceil(2);
        let Some(since) = self.since else {
            self.since = Some(at);
            return;
        };
        self.num_items += num_items;
        self.num_chunks += 1;
        if self.num_chunks < self.num_workers {
            return;
        }
        let busy = at.saturating_duration_since(since).as_nanos().max(1) * self.num_workers as u128;
        let wanted = TARGET.as_nanos() * self.num_items as u128 / busy;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        self.size = wanted
            .clamp(1, self.size.saturating_mul(GROWTH))
            .min(self.max);
        self.since = Some(at);
        self.num_items = 0;
        self.num_chunks = 0;
    }
}
