//! [`OutcomeWriter`]: how a worker's outcomes get to its pool.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::page::{OUTCOMES, Page};
use crate::record;
use crate::ring::Producer;
use crate::sys::{self, SharedMemory};

/// From this many unread bytes on, the pool is woken to read while the worker writes.
const RING_EARLY: usize = 256 * 1024;

/// The worker's end of the ring of outcomes, and the pool's bell.
#[derive(Debug)]
pub(crate) struct OutcomeWriter {
    page: Page,
    outcomes: Producer,
    pool_bell: File,
    /// Bytes written since the bell was rung.
    unrung: usize,
}

impl OutcomeWriter {
    pub(crate) fn new(memory: Arc<SharedMemory>, pool_bell: File) -> Self {
        Self {
            page: Page::new(memory.clone()),
            outcomes: Producer::new(memory, OUTCOMES),
            pool_bell,
            unrung: 0,
        }
    }

    /// The outcomes from here on are those of message `seq`, from position `first` on.
    pub(crate) fn begin_message(&mut self, seq: u32, first: u32) {
        self.put(&record::segment(seq, first));
    }

    /// Writes the outcome of an item: the word of its entry, and its bytes. From here on
    /// the outcome is safe, whatever happens to this process.
    #[inline]
    pub(crate) fn put_outcome(&mut self, word: u32, bytes: &[u8]) {
        if self.outcomes.try_put_small(word, bytes) {
            self.unrung += size_of::<u32>() + bytes.len();
        } else {
            self.put(&word.to_ne_bytes());
            self.put(bytes);
        }
        self.outcomes.publish();
        let armed = self.page.armed();
        if armed.load(Ordering::Relaxed) == 1 {
            armed.store(0, Ordering::Relaxed);
            self.ring();
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

    #[cold]
    fn put(&mut self, bytes: &[u8]) {
        self.unrung += bytes.len();
        if self.outcomes.room_for(bytes.len()) >= bytes.len() {
            self.outcomes.put(bytes);
        } else {
            self.put_in_pieces(bytes);
        }
    }

    /// For what does not fit now: the pool takes the pieces while the rest is written.
    fn put_in_pieces(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.outcomes.room_for(1).min(bytes.len());
            if room == 0 {
                self.outcomes.publish();
                self.ring();
                std::thread::sleep(Duration::from_micros(20));
                continue;
            }
            let (piece, rest) = bytes.split_at(room);
            self.outcomes.put(piece);
            self.outcomes.publish();
            if rest.len() >= RING_EARLY {
                self.ring();
            }
            bytes = rest;
        }
    }

    /// Begins the ring anew where everything was read and the next place is far.
    pub(crate) fn rewind(&mut self) {
        let until_end = self.outcomes.until_end();
        if until_end > 4 && self.outcomes.should_rewind() {
            self.outcomes.put(&record::padding((until_end - 4) as u32));
            self.outcomes.skip(until_end - 4);
            self.outcomes.publish();
        }
    }

    /// Wakes the pool, unless it was woken and has not looked yet.
    pub(crate) fn ring(&mut self) {
        self.unrung = 0;
        if self.page.answer_waiter() {
            // It looks in the place of the I/O thread.
            return;
        }
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
