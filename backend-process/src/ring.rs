//! [`Producer`] and [`Consumer`]: the two ends of a ring of bytes in shared memory.
//!
//! One process writes, the other reads. Positions count bytes since the start and never
//! wrap; the place of a position is its remainder. `head` is the position up to which the
//! producer has written, `tail` the one up to which the consumer has read.
//!
//! - The producer writes only from `head` to `tail + capacity`, then stores `head`
//!   (release). The consumer loads `head` (acquire), so it sees what was written.
//! - The consumer reads only from `tail` to `head`, then stores `tail` (release). The
//!   producer loads `tail` (acquire), so it overwrites only what has been read.
//!
//! Each side keeps its own position in private memory and takes nothing but the other's
//! from the shared page. A broken peer can therefore send nonsense, but cannot make this
//! side leave the ring: lengths are checked against the capacity.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use taskfarm_core::remote::Mark;

use crate::sys::SharedMemory;

/// From this position on, an empty ring is begun anew.
const REWIND_AFTER: usize = 128 * 1024;

/// Where a ring lies in its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    /// The place of the word that holds `head`.
    pub(crate) head_at: usize,
    /// The place of the word that holds `tail`.
    pub(crate) tail_at: usize,
    /// The place of the first byte.
    pub(crate) start: usize,
    /// The number of bytes, a power of two.
    pub(crate) capacity: usize,
}

impl Ring {
    /// The place of a position, and how many bytes follow it before the ring's end.
    #[inline]
    fn place(&self, position: u64) -> (usize, usize) {
        let offset = position as usize & (self.capacity - 1);
        (self.start + offset, self.capacity - offset)
    }
}

/// The end that writes.
#[derive(Debug)]
pub(crate) struct Producer {
    memory: Arc<SharedMemory>,
    ring: Ring,
    /// Written up to here; published by [`publish`](Self::publish).
    head: u64,
    /// The last `tail` that was seen.
    tail: u64,
}

impl Producer {
    pub(crate) fn new(memory: Arc<SharedMemory>, ring: Ring) -> Self {
        Self {
            memory,
            ring,
            head: 0,
            tail: 0,
        }
    }

    /// How many bytes fit now, if fewer than `wanted` were known to fit before.
    #[inline]
    pub(crate) fn room_for(&mut self, wanted: usize) -> usize {
        if self.room() < wanted {
            let tail = self
                .memory
                .word64(self.ring.tail_at)
                .load(Ordering::Acquire);
            // A broken peer may have written anything: believe only what is possible.
            if (self.tail..=self.head).contains(&tail) {
                self.tail = tail;
            }
        }
        self.room()
    }

    #[inline]
    fn room(&self) -> usize {
        self.ring.capacity - (self.head - self.tail) as usize
    }

    /// How many bytes follow the head before the ring's end.
    pub(crate) fn until_end(&self) -> usize {
        self.ring.place(self.head).1
    }

    /// Whether everything that was published has been read.
    fn is_empty(&mut self) -> bool {
        self.room_for(self.ring.capacity) == self.ring.capacity
    }

    /// Whether it should be begun anew, because it has run empty far from its start: what is
    /// hot stays hot.
    pub(crate) fn should_rewind(&mut self) -> bool {
        let is_far = self.ring.capacity - self.until_end() > REWIND_AFTER;
        is_far && self.is_empty()
    }

    /// Appends bytes, which must fit, without publishing them.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= self.room());
        let (place, until_end) = self.ring.place(self.head);
        if bytes.len() <= until_end {
            self.memory.write(place, bytes);
        } else {
            let (first, second) = bytes.split_at(until_end);
            self.memory.write(place, first);
            self.memory.write(self.ring.start, second);
        }
        self.head += bytes.len() as u64;
    }

    /// Appends a few bytes, unless they are more than a few, are not known to fit, or would
    /// wrap round.
    #[inline]
    pub(crate) fn try_put_small(&mut self, bytes: &[u8]) -> bool {
        let (place, until_end) = self.ring.place(self.head);
        let fits = bytes.len() <= self.room().min(until_end);
        if fits && self.memory.try_write_small(place, bytes) {
            self.head += bytes.len() as u64;
            return true;
        }
        false
    }

    /// The free space that follows the head without wrapping round. What is written there
    /// counts when it was [skipped](Self::skip).
    #[inline]
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.space_and_mark(1).0
    }

    /// The [space](Self::space), and how to publish units of `step` bytes in it.
    #[inline]
    pub(crate) fn space_and_mark(&mut self, step: u64) -> (&mut [u8], Mark<'_>) {
        let room = self.room_for(self.ring.capacity / 2);
        let (place, until_end) = self.ring.place(self.head);
        // SAFETY: the consumer reads only what was published, and nothing from the head on
        // was; this end, the only one that writes, is borrowed for as long as the slice.
        let space = unsafe { self.memory.bytes_mut(place, room.min(until_end)) };
        let mark = Mark {
            word: self.memory.word64(self.ring.head_at),
            base: self.head,
            step,
        };
        (space, mark)
    }

    /// Leaves the next bytes, which must fit, as they are.
    pub(crate) fn skip(&mut self, len: usize) {
        debug_assert!(len <= self.room());
        self.head += len as u64;
    }

    /// Shows everything that was put to the consumer.
    #[inline]
    pub(crate) fn publish(&self) {
        let head = self.memory.word64(self.ring.head_at);
        head.store(self.head, Ordering::Release);
    }
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct Consumer {
    memory: Arc<SharedMemory>,
    ring: Ring,
    /// Read up to here; published by [`release`](Self::release).
    tail: u64,
}

impl Consumer {
    pub(crate) fn new(memory: Arc<SharedMemory>, ring: Ring) -> Self {
        Self {
            memory,
            ring,
            tail: 0,
        }
    }

    /// How many bytes are there to read.
    #[inline]
    pub(crate) fn available(&self) -> usize {
        let head = self
            .memory
            .word64(self.ring.head_at)
            .load(Ordering::Acquire);
        (head.wrapping_sub(self.tail) as usize).min(self.ring.capacity)
    }

    /// Appends the next `len` bytes to `bytes`.
    #[inline]
    pub(crate) fn take(&mut self, len: usize, bytes: &mut Vec<u8>) {
        let (place, until_end) = self.ring.place(self.tail);
        if len <= until_end {
            self.memory.read(place, len, bytes);
        } else {
            self.memory.read(place, until_end, bytes);
            self.memory.read(self.ring.start, len - until_end, bytes);
        }
        self.tail += len as u64;
    }

    /// Passes over the next `len` bytes.
    pub(crate) fn skip(&mut self, len: usize) {
        self.tail += len as u64;
    }

    /// Gives the place of everything that was read back to the producer.
    #[inline]
    pub(crate) fn release(&self) {
        let tail = self.memory.word64(self.ring.tail_at);
        tail.store(self.tail, Ordering::Release);
    }

    /// The next `len` bytes in place, if they do not wrap round the ring's end.
    ///
    /// They stay valid until the next call that takes `&mut self`, because nothing is
    /// given back before.
    pub(crate) fn in_place(&self, len: usize) -> Option<&[u8]> {
        let (place, until_end) = self.ring.place(self.tail);
        if len > until_end || len > self.available() {
            return None;
        }
        // SAFETY: the producer overwrites a place only after `release` has told it so, and
        // the bytes are those of a pool that trusts its own worker's parent: a worker
        // reads in place, a pool never does.
        Some(unsafe { self.memory.bytes(place, len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const RING: Ring = Ring {
        head_at: 0,
        tail_at: 8,
        start: 64,
        capacity: 64,
    };

    fn ends() -> (Producer, Consumer) {
        let file = SharedMemory::create_file(4096).unwrap();
        let memory = Arc::new(SharedMemory::map(file.as_fd(), 4096).unwrap());
        (
            Producer::new(memory.clone(), RING),
            Consumer::new(memory, RING),
        )
    }

    #[test]
    fn bytes_come_out_as_they_went_in_across_the_end() {
        let (mut producer, mut consumer) = ends();
        let mut out = Vec::new();
        let mut expected = Vec::new();
        for round in 0..100_u8 {
            let bytes: Vec<u8> = (0..37).map(|byte| byte ^ round).collect();
            assert!(producer.room_for(37) >= 37);
            producer.put(&bytes);
            assert_eq!(consumer.available(), 0, "not published yet");
            producer.publish();
            assert_eq!(consumer.available(), 37);
            consumer.take(37, &mut out);
            consumer.release();
            expected.extend(bytes);
        }
        assert_eq!(out, expected);
    }

    #[test]
    fn few_bytes_fit_or_are_left_to_the_caller() {
        let (mut producer, mut consumer) = ends();
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        for round in 0..1000_usize {
            let bytes: Vec<u8> = (0..round % 19).map(|byte| byte as u8 ^ 0x5A).collect();
            let len = bytes.len();
            assert!(producer.room_for(len) >= len);
            let until_end = producer.until_end();
            let was_put = producer.try_put_small(&bytes);
            assert_eq!(was_put, len <= 16 && len <= until_end, "{round}");
            if !was_put {
                producer.put(&bytes);
            }
            producer.publish();
            assert_eq!(consumer.available(), len);
            consumer.take(len, &mut out);
            consumer.release();
            expected.extend(bytes);
        }
        assert_eq!(out, expected);
        assert!(producer.room_for(64) >= 64);
        producer.put(&[0; 64]);
        assert!(!producer.try_put_small(&[1]), "there is no room");
    }

    #[test]
    fn a_full_ring_has_no_room_until_the_consumer_releases() {
        let (mut producer, mut consumer) = ends();
        producer.put(&[7; 64]);
        producer.publish();
        assert_eq!(producer.room_for(1), 0);
        let mut out = Vec::new();
        consumer.take(10, &mut out);
        assert_eq!(producer.room_for(1), 0);
        consumer.release();
        assert_eq!(producer.room_for(1), 10);
    }

    #[test]
    fn impossible_positions_of_the_peer_are_not_believed() {
        let (mut producer, consumer) = ends();
        producer.put(&[1; 60]);
        producer.publish();
        consumer.memory.word64(8).store(1000, Ordering::Release);
        assert_eq!(producer.room_for(64), 4);
        consumer.memory.word64(0).store(u64::MAX, Ordering::Release);
        assert_eq!(consumer.available(), 64);
    }
}
