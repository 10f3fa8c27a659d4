//! [`Run`]: items that a worker runs one after the other without asking its backend.
//!
//! A call of a [`Port`](super::Port) costs as much as a small item, so the loop over items
//! reaches into the memory that worker and backend share by itself: it names the item that
//! runs, leaves the outcome where the backend will find it, and looks whether it is wanted.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::bundle::{self, Bundle};
use super::sink::{Sink, Written};

/// The bytes that a run writes before the backend is asked again.
const MAX_BYTES: usize = 64 << 10;

/// The encoded items of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    entries: &'a [[u8; 4]],
    bytes: &'a [u8],
}

impl<'a> Items<'a> {
    /// Items with these [lengths](Bundle::lengths), as they lie in memory, and bytes.
    pub fn new(entries: &'a [[u8; 4]], bytes: &'a [u8]) -> Self {
        Self { entries, bytes }
    }

    /// The item at the cursor, and what follows it. `None` at the end, or if the lengths
    /// do not agree with the bytes.
    #[inline]
    fn get(self, cursor: Cursor) -> Option<(&'a [u8], Cursor)> {
        let entry = u32::from_ne_bytes(*self.entries.get(cursor.next)?);
        let end = cursor.offset.checked_add(bundle::len_of(entry))?;
        let bytes = self.bytes.get(cursor.offset..end)?;
        let after = Cursor {
            next: cursor.next + 1,
            offset: end,
        };
        Some((bytes, after))
    }

    /// Whether there is an item at the cursor.
    #[inline]
    pub fn has(self, cursor: Cursor) -> bool {
        self.get(cursor).is_some()
    }

    /// Whether all of them lie before the cursor.
    pub fn end_at(self, cursor: Cursor) -> bool {
        cursor.next == self.entries.len()
    }
}

impl<'a> From<&'a Bundle> for Items<'a> {
    fn from(bundle: &'a Bundle) -> Self {
        Self::new(bytemuck::cast_slice(&bundle.lengths), &bundle.bytes)
    }
}

/// How far a worker has come in some [`Items`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    next: usize,
    offset: usize,
}

impl Cursor {
    /// The position of the next item.
    #[inline]
    pub fn next(self) -> usize {
        self.next
    }
}

/// Consecutive items, each of which counts as running from when it is taken.
pub struct Run<'a> {
    items: Items<'a>,
    cursor: &'a mut Cursor,
    written: &'a mut Written,
    log: Log<'a>,
    /// Whether the port is to be asked again.
    is_over: bool,
}

/// Where outcomes are left for the backend, one after the other.
pub struct Log<'a> {
    /// Room for their bytes.
    pub bytes: &'a mut [u8],
    /// Room for their entries, and what is told of each; without it, a run is of one item
    /// that the port has begun, and whose outcome it finds in the [`Written`].
    pub marks: Option<Marks<'a>>,
}

/// What a run tells, in words that the backend reads meanwhile.
pub struct Marks<'a> {
    /// Room for the entries.
    pub entries: &'a mut [[u8; 4]],
    /// How much of the room is filled.
    pub filled: &'a mut Filled,
    /// The position of the item that runs.
    pub running: Mark<'a>,
    /// How many bytes are filled; told before the entries.
    pub bytes_filled: Mark<'a>,
    /// How many entries are.
    pub entries_filled: Mark<'a>,
    /// When it is on, no other item begins before the port is asked.
    pub stop: Alarm<'a>,
    /// When it is on, the port is asked after the next outcome.
    pub wake: Alarm<'a>,
}

/// How much of the room of a [`Log`] is filled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filled {
    /// With bytes of outcomes.
    pub bytes: usize,
    /// With entries.
    pub entries: usize,
}

/// A word that tells a number `n`, as `base + step * n`.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    /// Stored with release ordering.
    pub word: &'a AtomicU64,
    /// What 0 is told as.
    pub base: u64,
    /// By how much one more changes it.
    pub step: u64,
}

impl Mark<'_> {
    #[inline]
    fn tell(self, number: usize) {
        let value = self.base + self.step * number as u64;
        self.word.store(value, Ordering::Release);
    }
}

/// A word that others set to call for attention.
#[derive(Clone, Copy, Debug)]
pub struct Alarm<'a> {
    /// Loaded without ordering.
    pub word: &'a AtomicU32,
    /// What it is when the alarm is on.
    pub value: u32,
}

impl Alarm<'_> {
    #[inline]
    fn is_on(self) -> bool {
        self.word.load(Ordering::Relaxed) == self.value
    }
}

impl<'a> Run<'a> {
    /// Items from the cursor on, which must be [there](Items::has). Of outcomes that cannot
    /// be left in the log, the last one is `written`.
    #[inline]
    pub fn new(
        items: Items<'a>,
        cursor: &'a mut Cursor,
        written: &'a mut Written,
        log: Log<'a>,
    ) -> Self {
        Self {
            items,
            cursor,
            written,
            log,
            is_over: false,
        }
    }

    /// The next item, which runs from now on; `None` if the port is to be asked first.
    #[inline]
    pub(super) fn begin(&mut self) -> Option<&'a [u8]> {
        if self.is_over {
            return None;
        }
        let (bytes, after) = self.items.get(*self.cursor)?;
        match &self.log.marks {
            None => self.is_over = true,
            Some(marks) => {
                if marks.stop.is_on() {
                    return None;
                }
                marks.running.tell(self.cursor.next);
            }
        }
        *self.cursor = after;
        Some(bytes)
    }

    /// Where to write the outcome of the item that runs.
    #[inline]
    pub(super) fn sink(&mut self) -> Sink<'_> {
        let filled = self
            .log
            .marks
            .as_ref()
            .map_or(0, |marks| marks.filled.bytes);
        let space = self.log.bytes.get_mut(filled..).unwrap_or_default();
        Sink::new(space, self.written)
    }

    /// The item has ended, and its outcome was written.
    #[inline]
    pub(super) fn end(&mut self) {
        let Some(marks) = &mut self.log.marks else {
            return;
        };
        let filled = &mut *marks.filled;
        match marks.entries.get_mut(filled.entries) {
            Some(place) if self.written.spill().is_empty() => {
                let entry = self.written.take_entry();
                debug_assert!(entry.is_some(), "an item that ended has an outcome");
                *place = entry.unwrap_or_default().to_ne_bytes();
                filled.entries += 1;
                filled.bytes += self.written.in_space();
                // Not before its bytes: whoever sees the one must see the other.
                marks.bytes_filled.tell(filled.bytes);
                marks.entries_filled.tell(filled.entries);
                self.is_over = marks.wake.is_on() || filled.bytes > MAX_BYTES;
            }
            _ => self.is_over = true,
        }
    }
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("cursor", &self.cursor)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("bytes", &self.bytes.len())
            .field("marks", &self.marks)
            .finish()
    }
}

impl fmt::Debug for Marks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marks")
            .field("entries", &self.entries.len())
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::bundle::Kind;
    use super::*;

    /// What a backend keeps for its runs.
    struct Backend {
        items: Bundle,
        cursor: Cursor,
        written: Written,
        filled: Filled,
        bytes: Vec<u8>,
        entries: Vec<[u8; 4]>,
        words: [AtomicU64; 3],
        alarms: [AtomicU32; 2],
    }

    impl Backend {
        /// With so many items, and room for outcomes.
        fn new(num_items: u8, num_bytes: usize, num_entries: usize) -> Self {
            let mut items = Bundle::default();
            (0..num_items).for_each(|item| items.push(&item).unwrap());
            Self {
                items,
                cursor: Cursor::default(),
                written: Written::default(),
                filled: Filled::default(),
                bytes: vec![0; num_bytes],
                entries: vec![[0; 4]; num_entries],
                words: Default::default(),
                alarms: Default::default(),
            }
        }

        fn run(&mut self) -> Run<'_> {
            let [running, bytes_filled, entries_filled] = self.words.each_ref();
            let mark = |word, step| Mark {
                word,
                base: 100,
                step,
            };
            let [stop, wake] = self.alarms.each_ref();
            let alarm = |word| Alarm { word, value: 1 };
            let marks = Marks {
                entries: &mut self.entries,
                filled: &mut self.filled,
                running: mark(running, 4),
                bytes_filled: mark(bytes_filled, 1),
                entries_filled: mark(entries_filled, 4),
                stop: alarm(stop),
                wake: alarm(wake),
            };
            let log = Log {
                bytes: &mut self.bytes,
                marks: Some(marks),
            };
            let items = Items::from(&self.items);
            Run::new(items, &mut self.cursor, &mut self.written, log)
        }

        fn words(&self) -> [u64; 3] {
            self.words
                .each_ref()
                .map(|word| word.load(Ordering::Acquire))
        }
    }

    /// Runs what it may, with outcomes of `len` bytes; how many items that were.
    fn go_on(run: &mut Run<'_>, len: usize) -> usize {
        let mut count = 0;
        while let Some(bytes) = run.begin() {
            let outcome = vec![bytes[0]; len];
            run.sink().put(Kind::Value, &outcome).unwrap();
            run.end();
            count += 1;
        }
        count
    }

    #[test]
    fn each_outcome_is_left_in_the_log_and_told() {
        let mut backend = Backend::new(3, 100, 8);
        assert_eq!(go_on(&mut backend.run(), 2), 3);
        assert_eq!(backend.bytes[..6], [0, 0, 1, 1, 2, 2]);
        assert_eq!(
            backend.entries[..4],
            [
                [2 << 3, 0, 0, 0],
                [2 << 3, 0, 0, 0],
                [2 << 3, 0, 0, 0],
                [0; 4]
            ]
        );
        assert_eq!(backend.words(), [100 + 4 * 2, 100 + 6, 100 + 4 * 3]);
        assert_eq!(backend.written.take_entry(), None);
        assert!(Items::from(&backend.items).end_at(backend.cursor));
    }

    #[test]
    fn an_outcome_that_does_not_fit_is_left_to_the_port() {
        for (num_bytes, num_entries) in [(5, 8), (100, 2)] {
            let mut backend = Backend::new(9, num_bytes, num_entries);
            assert_eq!(go_on(&mut backend.run(), 2), 3);
            assert_eq!((backend.filled.bytes, backend.filled.entries), (4, 2));
            assert_eq!(backend.written.take_entry(), Some(2 << 3));
            assert_eq!(backend.cursor.next(), 3);
        }
    }

    #[test]
    fn alarms_and_many_bytes_end_a_run() {
        let mut backend = Backend::new(9, 100, 9);
        backend.alarms[1] = AtomicU32::new(1);
        assert_eq!(go_on(&mut backend.run(), 2), 1, "after the next outcome");
        backend.alarms = [1, 0].map(AtomicU32::new);
        assert_eq!(go_on(&mut backend.run(), 2), 0, "before the next item");
        assert_eq!(backend.cursor.next(), 1);
        let mut backend = Backend::new(9, 10 * MAX_BYTES, 9);
        assert_eq!(go_on(&mut backend.run(), MAX_BYTES), 2);
    }
}
