//! [`Job`]: what a driver knows of a job, and the [`Slab`] that holds them.

use std::ops::Range;
use std::sync::Arc;

use taskfarm_core::remote::{Bundle, Indices, Setup};

use super::todo::Todo;
use super::{Nanos, Parts};
use crate::message::{Header, Kind};

/// A job as it comes.
#[derive(Debug)]
pub(crate) struct NewJob<R> {
    pub(crate) function: [i64; 4],
    pub(crate) setup: Option<Arc<Setup>>,
    pub(crate) timeout: Option<Nanos>,
    pub(crate) items: Bundle,
    /// Which items of their map these are.
    pub(crate) indices: Indices,
    pub(crate) reply: R,
}

/// A job that has unreported positions.
#[derive(Debug)]
pub(crate) struct Job<R> {
    function: [i64; 4],
    pub(super) setup: Option<Arc<Setup>>,
    pub(super) timeout: Option<Nanos>,
    items: Bundle,
    indices: Indices,
    /// Where the bytes of position `bytes_at.0` begin, to find those of the next ones.
    bytes_at: (u32, usize),
    /// The positions that nobody has.
    pub(super) todo: Todo,
    /// The positions that are unreported.
    pub(super) left: u32,
    /// Whether the queue holds its key.
    pub(super) queued: bool,
    pub(super) cancelled: bool,
    /// The workers that died when it was next and had not begun.
    pub(super) barren_deaths: u32,
    /// Until the first note takes it.
    pub(super) reply: Option<R>,
}

impl<R> Job<R> {
    pub(super) fn new(job: NewJob<R>) -> Self {
        let len = u32::try_from(job.items.len()).unwrap_or(u32::MAX);
        Self {
            function: job.function,
            setup: job.setup,
            timeout: job.timeout,
            items: job.items,
            indices: job.indices,
            bytes_at: (0, 0),
            todo: Todo::all(len),
            left: len,
            queued: false,
            cancelled: false,
            barren_deaths: 0,
            reply: Some(job.reply),
        }
    }

    /// Takes the first positions that are to be done, `budget` at most.
    pub(super) fn take_todo(&mut self, budget: Option<u64>) -> Option<Range<u32>> {
        let most = budget.map_or(u32::MAX, |budget| u32::try_from(budget).unwrap_or(u32::MAX));
        let range = self.todo.take_first(most)?;
        // Now, while `self` may change: `message` finds the bytes from here.
        self.bytes_at = (range.start, self.offset_of(range.start));
        Some(range)
    }

    fn offset_of(&self, position: u32) -> usize {
        let (mut at, mut offset) = self.bytes_at;
        if at > position {
            (at, offset) = (0, 0);
        }
        let between = at as usize..position as usize;
        offset + between.map(|at| self.items.len_at(at)).sum::<usize>()
    }

    /// The message that has a worker run these positions.
    pub(super) fn message(&self, seq: u32, range: Range<u32>) -> (Header, Parts<'_>) {
        let (start, end) = (range.start as usize, range.end as usize);
        let from = self.offset_of(range.start);
        let bytes = if start == 0 && end == self.items.len() {
            &self.items.bytes[..]
        } else {
            let len = (start..end).map(|at| self.items.len_at(at)).sum::<usize>();
            &self.items.bytes[from..from + len]
        };
        let header = Header {
            timed: self.timeout.is_some(),
            seq,
            first: range.start,
            count: range.end - range.start,
            setup: self.setup.as_ref().map_or(0, |setup| setup.id),
            function: self.function,
            ..Header::new(Kind::Job)
        };
        let entries = &self.items.lengths[start..end];
        (header, Parts { entries, bytes })
    }

    pub(super) fn into_items(self) -> Bundle {
        self.items
    }

    /// The bytes of the items at these positions.
    pub(super) fn num_bytes(&self, positions: Range<u32>) -> usize {
        let positions = positions.start as usize..positions.end as usize;
        positions.map(|at| self.items.len_at(at)).sum()
    }

    /// The index in its map of the item at this position.
    pub(super) fn index_of(&self, position: u32) -> usize {
        self.indices.at(position as usize)
    }
}

/// Names a job; never names another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    at: u32,
    generation: u32,
}

impl Key {
    /// As a number that is neither 0 nor `u64::MAX`.
    pub(crate) fn to_number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.at)
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Self {
            at: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

/// Jobs by key.
#[derive(Debug)]
pub(super) struct Slab<R> {
    entries: Vec<Entry<R>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<R> {
    generation: u32,
    job: Option<Job<R>>,
}

impl<R> Default for Slab<R> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<R> Slab<R> {
    pub(super) fn insert(&mut self, job: Job<R>) -> Key {
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 1,
                job: None,
            });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[at as usize];
        entry.job = Some(job);
        Key {
            at,
            generation: entry.generation,
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Job<R>> {
        let entry = self.entries.get(key.at as usize)?;
        entry
            .job
            .as_ref()
            .filter(|_| entry.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Job<R>> {
        let entry = self.entries.get_mut(key.at as usize)?;
        entry
            .job
            .as_mut()
            .filter(|_| entry.generation == key.generation)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Job<R>> {
        self.get(key)?;
        let entry = &mut self.entries[key.at as usize];
        entry.generation = (entry.generation.wrapping_add(1) & 0x7FFF_FFFF).max(1);
        self.free.push(key.at);
        entry.job.take()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    /// The keys of all jobs.
    pub(super) fn keys(&self) -> Vec<Key> {
        let living = self.entries.iter().enumerate();
        living
            .filter(|(_, entry)| entry.job.is_some())
            .map(|(at, entry)| Key {
                at: at as u32,
                generation: entry.generation,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first job's key was 0 again after two thousand million others, and 0 says that a
    /// job has no key yet: it could not be cancelled.
    #[test]
    fn no_key_is_zero() {
        let job = || {
            Job::new(NewJob {
                function: [0; 4],
                setup: None,
                timeout: None,
                items: Bundle::default(),
                indices: Indices::default(),
                reply: (),
            })
        };
        let mut jobs = Slab::default();
        jobs.insert(job());
        jobs.entries[0].generation = 0x7FFF_FFFF;
        let last = jobs.keys()[0];
        assert!(jobs.remove(last).is_some());
        assert_ne!(jobs.insert(job()).to_number(), 0);
    }
}
