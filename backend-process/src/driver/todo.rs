//! [`Todo`]: the positions of a job that nobody has.

use std::ops::Range;

/// Ranges of positions, first to do first.
///
/// Hardly any job ever has a second one, so only that takes memory.
#[derive(Debug, Default)]
pub(super) struct Todo {
    /// Empty only if there are no more.
    first: Range<u32>,
    /// What follows, last to do first.
    more: Vec<Range<u32>>,
}

impl Todo {
    /// All of so many positions.
    pub(super) fn all(len: u32) -> Self {
        Self {
            first: 0..len,
            more: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Takes the first positions, `most` at most.
    pub(super) fn take_first(&mut self, most: u32) -> Option<Range<u32>> {
        if self.is_empty() {
            return None;
        }
        let end = self.first.start.saturating_add(most).min(self.first.end);
        let taken = self.first.start..end;
        self.first.start = end;
        if self.first.is_empty() {
            self.first = self.more.pop().unwrap_or_default();
        }
        Some(taken)
    }

    /// Puts positions before all others.
    pub(super) fn put_first(&mut self, range: Range<u32>) {
        let second = std::mem::replace(&mut self.first, range);
        if !second.is_empty() {
            self.more.push(second);
        }
    }
}

impl Iterator for Todo {
    type Item = Range<u32>;

    fn next(&mut self) -> Option<Range<u32>> {
        self.take_first(u32::MAX)
    }
}
