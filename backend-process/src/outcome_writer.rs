//! [`OutcomeWriter`]: how a worker's outcomes get to its pool.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use taskfarm_core::remote::{Alarm, Filled, Log, Mark, Marks};

use crate::page::{ENTRIES, OUTCOMES, Page};
use crate::record::Segment;
use crate::ring::Producer;
use crate::sys::{self, SharedMemory};

/// From this many unread bytes on, the pool is woken to read while the worker writes.
const RING_EARLY: usize = 256 * 1024;

/// The worker's end of the two rings of outcomes, and the pool's bell.
#[derive(Debug)]
pub(crate) struct OutcomeWriter {
    page: Page,
    entries: Producer,
    outcomes: Producer,
    pool_bell: File,
    /// Bytes written since the bell was rung.
    unrung: usize,
}

impl OutcomeWriter {
    pub(crate) fn new(memory: Arc<SharedMemory>, pool_bell: File) -> Self {
        Self {
            page: Page::new(memory.clone()),
            entries: Producer::new(memory.clone(), ENTRIES),
            outcomes: Producer::new(memory, OUTCOMES),
            pool_bell,
            unrung: 0,
        }
    }

    /// The next `count` outcomes are those of message `seq`, from position `first` on.
    pub(crate) fn begin_message(&mut self, seq: u32, first: u32, count: u32) {
        let mut skip = 0;
        if self.outcomes.should_rewind() {
            skip = self.outcomes.until_end();
            self.outcomes.skip(skip);
        }
        let segment = Segment {
            seq,
            first,
            count,
            skip: skip as u32,
        };
        put_all(&segment.encode(), Self::entries, self);
    }

    /// Room for outcomes, and the words that tell of them: that of an item that runs is
    /// `running`.
    #[inline]
    pub(crate) fn log<'a>(
        &'a mut self,
        filled: &'a mut Filled,
        running: Mark<'a>,
        stopped: Alarm<'a>,
    ) -> Log<'a> {
        let Self {
            page,
            entries,
            outcomes,
            ..
        } = self;
        let (bytes, bytes_filled) = outcomes.space_and_mark(1);
        let (entries, entries_filled) = entries.space_and_mark(size_of::<u32>() as u64);
        let armed = Alarm {
            word: page.armed(),
            value: 1,
        };
        Log {
            bytes,
            marks: Some(Marks {
                entries: entries.as_chunks_mut().0,
                filled,
                running,
                bytes_filled,
                entries_filled,
                stop: stopped,
                wake: armed,
            }),
        }
    }

    /// So much of the [log](Self::log) was filled, and told.
    #[inline]
    pub(crate) fn note_filled(&mut self, filled: Filled) {
        if filled.entries == 0 {
            return;
        }
        let entries = size_of::<u32>() * filled.entries;
        self.outcomes.skip(filled.bytes);
        self.entries.skip(entries);
        self.unrung += entries + filled.bytes;
        self.ring_if_wanted();
    }

    /// Where the bytes of the next outcome may be written, as far as they fit.
    #[inline]
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.outcomes.space()
    }

    /// Takes the outcome of an item: its entry, how many of its bytes are in the
    /// [space](Self::space), and those that follow. From here on it is safe, whatever
    /// happens to this process.
    #[inline]
    pub(crate) fn put_outcome(&mut self, entry: u32, in_space: usize, spill: &[u8]) {
        self.outcomes.skip(in_space);
        if !spill.is_empty() {
            put_all(spill, Self::outcomes, self);
        }
        let word = entry.to_ne_bytes();
        // Not before its bytes: whoever sees the one must see the other.
        if !self.entries.try_put_small(&word) {
            put_all(&word, Self::entries, self);
        }
        self.publish();
        self.unrung += word.len() + in_space + spill.len();
        self.ring_if_wanted();
    }

    #[inline]
    fn ring_if_wanted(&mut self) {
        let armed = self.page.armed();
        if armed.load(Ordering::Relaxed) == 1 {
            self.unrung = 0;
            // Whoever waits there may be slow; until it looks, the lane stays armed.
            if !self.page.answer_waiter() {
                armed.store(0, Ordering::Relaxed);
                self.ring_bell();
            }
        } else if self.unrung >= RING_EARLY {
            self.ring();
        }
    }

    /// The message has its last outcome.
    #[inline]
    pub(crate) fn end_message(&mut self, seq: u32) {
        let bell_at = self.page.bell_at().load(Ordering::Relaxed);
        if seq.wrapping_sub(bell_at).cast_signed() >= 0 {
            self.ring_if_unrung();
        }
    }

    #[inline]
    fn publish(&self) {
        self.outcomes.publish();
        self.entries.publish();
    }

    fn entries(&mut self) -> &mut Producer {
        &mut self.entries
    }

    fn outcomes(&mut self) -> &mut Producer {
        &mut self.outcomes
    }

    /// Wakes the pool, unless it was woken and has not looked yet.
    pub(crate) fn ring(&mut self) {
        self.unrung = 0;
        // Whoever waits looks in the place of the I/O thread.
        if !self.page.answer_waiter() {
            self.ring_bell();
        }
    }

    fn ring_bell(&mut self) {
        if self.page.rung().swap(1, Ordering::AcqRel) == 0 {
            // If the bell is gone, so is the pool, or a task has closed it: the next wait
            // for a message ends this process.
            let _ = self.pool_bell.write(&[1]);
        }
    }

    /// Wakes the pool if it may not know of everything that was written.
    pub(crate) fn ring_if_unrung(&mut self) {
        if self.unrung > 0 {
            self.ring();
        }
    }

    /// The pool has ordered the end of this process.
    #[cold]
    pub(crate) fn wait_for_the_end(&mut self) -> ! {
        self.ring();
        // Killed within a moment; should that fail, end all the same.
        std::thread::sleep(Duration::from_secs(10));
        sys::exit_now(1)
    }
}

/// Appends bytes to one of the rings. The pool takes what does not fit now piece by piece.
#[cold]
fn put_all(
    mut bytes: &[u8],
    ring: impl Fn(&mut OutcomeWriter) -> &mut Producer,
    writer: &mut OutcomeWriter,
) {
    loop {
        let room = ring(writer).room_for(bytes.len());
        let (piece, rest) = bytes.split_at(room.min(bytes.len()));
        ring(writer).put(piece);
        bytes = rest;
        if bytes.is_empty() {
            return;
        }
        writer.publish();
        writer.ring();
        if piece.is_empty() {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}
