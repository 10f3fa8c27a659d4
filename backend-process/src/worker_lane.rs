//! [`WorkerLane`]: a worker's end of what it shares with its pool.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::lane::WorkerEnd;
use crate::message::{HEADER_LEN, Header, Kind, MAX_PAYLOAD, aligned};
use crate::page::{Current, LANE_LEN, OUTCOMES, Page, Slot, TASKS};
use crate::record::{self, Malformed};
use crate::ring::{Consumer, Producer};
use crate::sys::{self, SharedMemory};

/// How long a worker that just had work looks for more before it sleeps.
const MAX_SPIN: u32 = 64;
const MIN_SPIN: u32 = 1;
/// From this many unread bytes on, the pool is woken to read while the worker writes.
const RING_EARLY: usize = 256 * 1024;
/// From this position on, an empty ring is begun anew: what is hot stays hot.
const REWIND_AFTER: usize = 128 * 1024;

/// A worker's end.
#[derive(Debug)]
pub(crate) struct WorkerLane {
    page: Page,
    tasks: Consumer,
    outcomes: Producer,
    bell: File,
    pool_bell: File,
    /// The segment that outcomes go to: message and next position.
    segment: Option<Current>,
    /// Bytes written since the bell was rung.
    unrung: usize,
    /// How many looks before a sleep: doubles when looking pays, halves when not.
    spin: u32,
    position: u64,
}

/// Why a worker cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The pool's messages make no sense.
    Malformed,
    /// The bells are gone: the task closed them, or the pool died.
    Bell,
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl WorkerLane {
    pub(crate) fn open(end: WorkerEnd) -> io::Result<Self> {
        let memory = Arc::new(SharedMemory::map(end.memory.as_fd(), LANE_LEN)?);
        memory.keep_from_forks();
        Ok(Self {
            page: Page::new(memory.clone()),
            tasks: Consumer::new(memory.clone(), TASKS),
            outcomes: Producer::new(memory, OUTCOMES),
            bell: file(end.bell),
            pool_bell: file(end.pool_bell),
            segment: None,
            unrung: 0,
            spin: MAX_SPIN,
            position: 0,
        })
    }

    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    // ---- Messages ---------------------------------------------------------------------

    /// Waits for the next message and takes its header; the payload is next in the ring.
    pub(crate) fn next_header(&mut self) -> Result<Header, Broken> {
        loop {
            let until_end = TASKS.capacity - (self.position as usize & (TASKS.capacity - 1));
            self.wait_for(HEADER_LEN.min(until_end))?;
            if until_end < HEADER_LEN {
                self.pass(until_end);
                continue;
            }
            let header = self.tasks.in_place(HEADER_LEN).ok_or(Broken::Malformed)?;
            let header = header.try_into().map_err(|_| Broken::Malformed)?;
            let header = Header::decode(header)?;
            if header.kind == Kind::Padding {
                self.pass(until_end);
                continue;
            }
            self.pass(HEADER_LEN);
            return Ok(header);
        }
    }

    /// The payload that follows the header, in place; [`end_payload`](Self::end_payload)
    /// must follow. Whole headers and payloads are published at once.
    pub(crate) fn payload(&self, header: &Header) -> Result<&[u8], Broken> {
        let len = usize::try_from(header.payload).map_err(|_| Broken::Malformed)?;
        self.tasks.in_place(len).ok_or(Broken::Malformed)
    }

    /// Gives the place of the payload back.
    pub(crate) fn end_payload(&mut self, header: &Header) {
        self.pass(aligned(header.payload as usize));
    }

    /// The payload that follows the header in fragments.
    pub(crate) fn assemble(&mut self, header: &Header) -> Result<Vec<u8>, Broken> {
        let mut payload = Vec::new();
        while (payload.len() as u64) < header.payload.min(MAX_PAYLOAD) {
            let fragment = self.next_header()?;
            if fragment.kind != Kind::Fragment || fragment.payload == 0 {
                return Err(Broken::Malformed);
            }
            payload.extend_from_slice(self.payload(&fragment)?);
            self.end_payload(&fragment);
        }
        Ok(payload)
    }

    /// Passes over bytes of the ring and gives their place back.
    fn pass(&mut self, len: usize) {
        self.tasks.skip(len);
        self.position += len as u64;
        self.tasks.release();
        // Pairs with the fence in `Lane::wait_for_room`.
        fence(Ordering::SeqCst);
        if self.page.wants_room().load(Ordering::Relaxed) == 1 {
            self.ring();
        }
    }

    fn wait_for(&mut self, len: usize) -> Result<(), Broken> {
        if self.tasks.available() >= len {
            return Ok(());
        }
        if self.unrung > 0 {
            self.ring();
        }
        for _ in 0..self.spin {
            std::hint::spin_loop();
            if self.tasks.available() >= len {
                self.spin = (2 * self.spin).min(MAX_SPIN);
                return Ok(());
            }
            // Whoever is to send something may need this very core.
            std::thread::yield_now();
        }
        self.spin = (self.spin / 2).max(MIN_SPIN);
        while self.tasks.available() < len {
            self.sleep(len)?;
        }
        Ok(())
    }

    fn sleep(&mut self, len: usize) -> Result<(), Broken> {
        self.page.asleep().store(1, Ordering::Relaxed);
        // Pairs with the fence in `Lane::show`: either this sees the new head, or that sees
        // `asleep` and rings.
        fence(Ordering::SeqCst);
        if self.tasks.available() >= len {
            self.page.asleep().store(0, Ordering::Relaxed);
            return Ok(());
        }
        let mut strokes = [0; 64];
        match self.bell.read(&mut strokes) {
            Ok(0) => Err(Broken::Bell),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Broken::Bell),
        }
    }

    // ---- Outcomes ---------------------------------------------------------------------

    /// Writes the outcome of an item: the word of its entry, and its bytes. From here on
    /// the outcome is safe, whatever happens to this process.
    #[inline]
    pub(crate) fn put_outcome(&mut self, item: Current, word: u32, bytes: &[u8]) {
        if self.segment != Some(item) {
            self.put(&record::segment(item.seq, item.position));
        }
        self.segment = Some(Current {
            position: item.position.wrapping_add(1),
            ..item
        });
        self.put(&word.to_ne_bytes());
        self.put(bytes);
        self.outcomes.publish();
        if self.page.armed().load(Ordering::Relaxed) == 1 {
            self.page.armed().store(0, Ordering::Relaxed);
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
            self.ring();
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.unrung += bytes.len();
        if self.outcomes.room_for(bytes.len()) >= bytes.len() {
            self.outcomes.put(bytes);
        } else {
            self.put_in_pieces(bytes);
        }
    }

    /// For what does not fit now: the pool takes the pieces while the rest is written.
    #[cold]
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
        let is_far = OUTCOMES.capacity - until_end > REWIND_AFTER;
        if is_far && until_end > 4 && self.outcomes.is_empty() {
            self.outcomes.put(&record::padding((until_end - 4) as u32));
            self.outcomes.skip(until_end - 4);
            self.outcomes.publish();
        }
    }

    /// Wakes the pool, unless it was woken and has not looked yet.
    pub(crate) fn ring(&mut self) {
        self.unrung = 0;
        if self.page.rung().swap(1, Ordering::AcqRel) == 0 {
            // If the bell is gone, so is the pool, or a task has closed it: the next wait
            // for a message ends this process.
            let _ = self.pool_bell.write(&[1]);
        }
    }

    /// Says that this process has come to another phase of its life.
    pub(crate) fn enter(&mut self, phase: u32) {
        self.page.phase().store(phase, Ordering::Release);
        self.ring();
    }

    /// Waits to be killed, if the pool has stopped this message.
    #[inline]
    pub(crate) fn obey(&mut self, seq: u32) {
        if self.page.is_stopped(seq) {
            self.wait_for_the_end();
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

    /// Whether the message may be started.
    pub(crate) fn begin_message(&mut self, seq: u32) -> bool {
        let may = self.page.move_slot(seq, Slot::Waiting, Slot::Running);
        self.page.passed().store(seq, Ordering::Release);
        may
    }
}

fn file(descriptor: OwnedFd) -> File {
    File::from(descriptor)
}
