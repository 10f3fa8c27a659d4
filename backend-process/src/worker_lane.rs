//! [`WorkerLane`]: a worker's end of what it shares with its pool.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::lane::WorkerEnd;
use crate::message::{HEADER_LEN, Header, Kind, MAX_PAYLOAD, aligned};
use crate::outcome_writer::OutcomeWriter;
use crate::page::{LANE_LEN, Page, Slot, TASKS};
use crate::record::Malformed;
use crate::ring::Consumer;
use crate::sys::SharedMemory;

/// How long a worker that just had work looks for more before it sleeps.
const MAX_SPIN: u32 = 64;
const MIN_SPIN: u32 = 1;

/// A worker's end.
#[derive(Debug)]
pub(crate) struct WorkerLane {
    page: Page,
    tasks: Consumer,
    outcomes: OutcomeWriter,
    bell: File,
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
            outcomes: OutcomeWriter::new(memory, File::from(end.pool_bell)),
            bell: File::from(end.bell),
            spin: MAX_SPIN,
            position: 0,
        })
    }

    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// Where outcomes go.
    pub(crate) fn outcomes(&mut self) -> &mut OutcomeWriter {
        &mut self.outcomes
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

    /// The [payload](Self::payload), and where its outcomes go.
    pub(crate) fn payload_and_outcomes(
        &mut self,
        header: &Header,
    ) -> Result<(&[u8], &mut OutcomeWriter), Broken> {
        let len = usize::try_from(header.payload).map_err(|_| Broken::Malformed)?;
        let payload = self.tasks.in_place(len).ok_or(Broken::Malformed)?;
        Ok((payload, &mut self.outcomes))
    }

    /// Gives the place of the payload back.
    pub(crate) fn end_payload(&mut self, header: &Header) {
        self.pass(aligned(header.payload as usize));
    }

    /// The payload that follows the header in fragments.
    pub(crate) fn assemble(&mut self, header: &Header) -> Result<Vec<u8>, Broken> {
        let mut payload = Vec::new();
        while (payload.len() as u64) < header.payload.min(MAX_PAYLOAD) {
            let fragment = self.next_fragment()?;
            if fragment.payload == 0 {
                return Err(Broken::Malformed);
            }
            payload.extend_from_slice(self.payload(&fragment)?);
            self.end_payload(&fragment);
        }
        Ok(payload)
    }

    /// Passes over the payload of a message that will not be run.
    pub(crate) fn pass_payload(&mut self, header: &Header) -> Result<(), Broken> {
        if !header.fragmented {
            self.end_payload(header);
            return Ok(());
        }
        let mut passed = 0;
        while passed < header.payload {
            let fragment = self.next_fragment()?;
            if fragment.payload == 0 {
                // Its pool gave it up when this much was sent.
                return Ok(());
            }
            passed += fragment.payload;
            self.end_payload(&fragment);
        }
        Ok(())
    }

    fn next_fragment(&mut self) -> Result<Header, Broken> {
        let fragment = self.next_header()?;
        match fragment.kind {
            Kind::Fragment => Ok(fragment),
            _ => Err(Broken::Malformed),
        }
    }

    /// Passes over bytes of the ring and gives their place back.
    fn pass(&mut self, len: usize) {
        self.tasks.skip(len);
        self.position += len as u64;
        self.tasks.release();
        // Pairs with the fence in `Lane::wait_for_room`.
        fence(Ordering::SeqCst);
        if self.page.wants_room().load(Ordering::Relaxed) == 1 {
            self.outcomes.ring();
        }
    }

    fn wait_for(&mut self, len: usize) -> Result<(), Broken> {
        if self.tasks.available() >= len {
            return Ok(());
        }
        self.outcomes.ring_if_unrung();
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

    /// Says that this process has come to another phase of its life.
    pub(crate) fn enter(&mut self, phase: u32) {
        self.page.phase().store(phase, Ordering::Release);
        self.outcomes.ring();
    }

    /// Whether the message may be started.
    pub(crate) fn begin_message(&mut self, seq: u32) -> bool {
        let may = self.page.move_slot(seq, Slot::Waiting, Slot::Running);
        self.page.passed().store(seq, Ordering::Release);
        may
    }
}
