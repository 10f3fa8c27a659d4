//! [`Lane`]: a pool's end of what it shares with one worker.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use os_pipe::{PipeReader, PipeWriter};
use rustix::pipe::fcntl_setpipe_size;

use crate::message::{HEADER_LEN, Header, Kind, aligned};
use crate::page::{self, ENTRIES, LANE_LEN, OUTCOMES, Page, TASKS};
use crate::record::{Batch, Decoder, Malformed};
use crate::ring::{Consumer, Producer};
use crate::sys::SharedMemory;

/// Payloads up to this size are contiguous in the ring, so that the worker reads them in
/// place; larger ones go in fragments.
pub(crate) const MAX_IN_PLACE: usize = TASKS.capacity / 2;

/// The most that one fragment carries: small enough that the worker copies one while the
/// pool writes the next.
const FRAGMENT: usize = TASKS.capacity / 8;

/// Pipes carry single bytes, so the smallest will do: bigger ones use up a quota that the
/// user's other programs need, too.
const PIPE_LEN: usize = 4096;

/// A pool's end: the rings, the status page, and two bells.
#[derive(Debug)]
pub(crate) struct Lane {
    page: Page,
    tasks: Producer,
    entries: Consumer,
    outcomes: Consumer,
    decoder: Decoder,
    /// Wakes the worker.
    worker_bell: PipeWriter,
    /// Kept open so that ringing for a dead worker is an error at most, never SIGPIPE.
    _worker_bell_end: PipeReader,
    /// Rung by the worker.
    bell: PipeReader,
}

/// What a worker process is given of a lane.
#[derive(Debug)]
pub(crate) struct WorkerEnd {
    pub(crate) memory: OwnedFd,
    pub(crate) bell: OwnedFd,
    pub(crate) pool_bell: OwnedFd,
}

impl WorkerEnd {
    /// The descriptors in the order in which they travel.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [
            self.memory.as_fd(),
            self.bell.as_fd(),
            self.pool_bell.as_fd(),
        ]
    }

    /// The end made of what has travelled.
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let [memory, bell, pool_bell] = descriptors.try_into().ok()?;
        Some(Self {
            memory,
            bell,
            pool_bell,
        })
    }
}

impl Lane {
    pub(crate) fn open() -> io::Result<(Self, WorkerEnd)> {
        let file = SharedMemory::create_file(LANE_LEN)?;
        let memory = Arc::new(SharedMemory::map(file.as_fd(), LANE_LEN)?);
        memory.keep_from_forks();
        let (worker_bell_end, worker_bell) = small_pipe()?;
        let (bell, pool_bell) = small_pipe()?;
        rustix::io::ioctl_fionbio(&worker_bell, true)?;
        let worker = WorkerEnd {
            memory: file,
            bell: worker_bell_end.try_clone()?.into(),
            pool_bell: pool_bell.into(),
        };
        let lane = Self {
            page: Page::new(memory.clone()),
            tasks: Producer::new(memory.clone(), TASKS),
            entries: Consumer::new(memory.clone(), ENTRIES),
            outcomes: Consumer::new(memory, OUTCOMES),
            decoder: Decoder::default(),
            worker_bell,
            _worker_bell_end: worker_bell_end,
            bell,
        };
        // The first outcome, and the hello before it, are news.
        lane.page.armed().store(1, Ordering::Relaxed);
        Ok((lane, worker))
    }

    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// The descriptor that the worker rings.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Sends as much as fits of a message whose payload is in `parts`, from byte `sent` of
    /// the payload on. Gives how much of it has been sent then, or `None` if nothing
    /// could be; the message is complete when that is the whole payload.
    pub(crate) fn send(&mut self, header: &Header, parts: [&[u8]; 2], sent: u64) -> Option<u64> {
        let len = parts[0].len() + parts[1].len();
        if len <= MAX_IN_PLACE {
            self.make_room(HEADER_LEN + aligned(len))?;
            self.put(
                &Header {
                    payload: len as u64,
                    ..*header
                },
                parts,
            );
            self.show();
            return Some(len as u64);
        }
        let mut sent = sent;
        if sent == 0 {
            // With room for the first fragment, so that "nothing sent" has one meaning.
            self.make_room(2 * HEADER_LEN + FRAGMENT)?;
            let fragmented = true;
            self.put(
                &Header {
                    payload: len as u64,
                    fragmented,
                    ..*header
                },
                [&[], &[]],
            );
        }
        while sent < len as u64 {
            let part = (len - sent as usize).min(FRAGMENT);
            if self.make_room(HEADER_LEN + aligned(part)).is_none() {
                break;
            }
            let payload = part as u64;
            self.put(
                &Header {
                    payload,
                    ..Header::new(Kind::Fragment)
                },
                cut(parts, sent as usize, part),
            );
            sent += payload;
        }
        self.show();
        Some(sent)
    }

    fn put(&mut self, header: &Header, parts: [&[u8]; 2]) {
        self.tasks.put(&header.encode());
        self.tasks.put(parts[0]);
        self.tasks.put(parts[1]);
        let len = parts[0].len() + parts[1].len();
        self.tasks.skip(aligned(len) - len);
    }

    /// Sees to it that `len` bytes fit without wrapping round.
    fn make_room(&mut self, len: usize) -> Option<()> {
        let until_end = self.tasks.until_end();
        if until_end < len || self.tasks.should_rewind() {
            self.pad(until_end)?;
        }
        self.has_room(len)?;
        self.page.wants_room().store(0, Ordering::Relaxed);
        Some(())
    }

    /// Fills the ring up to its end.
    fn pad(&mut self, until_end: usize) -> Option<()> {
        self.has_room(until_end)?;
        // A header may be too long for what is left: the worker knows that, too.
        if until_end >= HEADER_LEN {
            self.tasks.put(&Header::new(Kind::Padding).encode());
            self.tasks.skip(until_end - HEADER_LEN);
        } else {
            self.tasks.skip(until_end);
        }
        // Now, because what follows may have to wait until the worker has passed this.
        self.show();
        Some(())
    }

    /// Whether `len` bytes fit; if not, the worker rings when there is more room.
    fn has_room(&mut self, len: usize) -> Option<()> {
        if self.tasks.room_for(len) < len {
            self.wait_for_room();
            if self.tasks.room_for(len) < len {
                return None;
            }
        }
        Some(())
    }

    fn wait_for_room(&self) {
        self.page.wants_room().store(1, Ordering::Relaxed);
        // Pairs with the fence in `WorkerLane::release`: either the worker sees the wish,
        // or the look at the tail that follows sees what it has released.
        fence(Ordering::SeqCst);
    }

    /// Publishes what was put, and wakes the worker if it sleeps.
    fn show(&mut self) {
        self.tasks.publish();
        // Pairs with the fence in `WorkerLane::sleep`: either that sees the new head, or
        // this sees `asleep`.
        fence(Ordering::SeqCst);
        if self.page.asleep().load(Ordering::Relaxed) == 1
            && self.page.asleep().swap(0, Ordering::AcqRel) == 1
        {
            // A dead worker is noticed by other means.
            let _ = self.worker_bell.write(&[1]);
        }
    }

    /// Takes whatever the worker has told. After [`quiet`](Self::quiet) the bell tells
    /// when to call it again.
    pub(crate) fn receive(&mut self, batches: &mut Vec<Batch>) -> Result<(), Malformed> {
        let decoded = self
            .decoder
            .decode(&mut self.entries, &mut self.outcomes, batches);
        self.entries.release();
        self.outcomes.release();
        decoded
    }

    /// Takes the strokes out of the bell. Whether there may be more: if not, the worker has
    /// ended, or its task has closed the other end.
    pub(crate) fn quiet(&mut self) -> bool {
        let mut strokes = [0; 64];
        // Only after a stroke or the end was reported, so this does not block.
        let read = self.bell.read(&mut strokes);
        // Not before: a stroke between the two would be taken out, and the worker, which
        // had seen 0, would never ring again. A worker that sees 1 does not ring, but what
        // it has written is seen after this.
        self.page.rung().swap(0, Ordering::AcqRel);
        !matches!(read, Ok(0))
    }

    /// Whether there is something to receive.
    pub(crate) fn has_news(&self) -> bool {
        self.entries.available() > 0 || self.outcomes.available() > 0
    }

    /// Whether the worker has come to the message.
    pub(crate) fn has_met(&self, seq: u32) -> bool {
        let passed = self.page.passed().load(Ordering::Acquire);
        passed.wrapping_sub(seq).cast_signed() >= 0
    }

    /// How many messages may be sent before the slots are used up.
    pub(crate) fn free_slots(&self, next_seq: u32) -> u32 {
        let passed = self.page.passed().load(Ordering::Acquire);
        (page::NUM_SLOTS - 8).saturating_sub(next_seq.wrapping_sub(passed))
    }
}

fn small_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = os_pipe::pipe()?;
    let _ = fcntl_setpipe_size(&writer, PIPE_LEN);
    Ok((reader, writer))
}

/// `len` bytes of the two parts in a row, from byte `from` on.
fn cut([first, second]: [&[u8]; 2], from: usize, len: usize) -> [&[u8]; 2] {
    let end = from + len;
    let middle = first.len();
    [
        &first[from.min(middle)..end.min(middle)],
        &second[from.saturating_sub(middle)..end.saturating_sub(middle)],
    ]
}
