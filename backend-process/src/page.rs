//! [`Page`]: the status page that a pool and a worker share, word by word.
//!
//! Who writes what is fixed: see each accessor. Words of the worker, words of the pool and
//! words of both lie in cache lines of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use taskfarm_core::remote::{Alarm, Mark};

use crate::ring::Ring;
use crate::sys::SharedMemory;

/// How many messages may be on their way to one worker.
pub(crate) const NUM_SLOTS: u32 = 1024;

const SLOTS_AT: usize = 4096;
const TASKS_AT: usize = 8192;
const RING_LEN: usize = 4 << 20;
const ENTRIES_AT: usize = TASKS_AT + RING_LEN;
const ENTRIES_LEN: usize = 256 << 10;
const OUTCOMES_AT: usize = ENTRIES_AT + ENTRIES_LEN;
/// The bytes of a lane's memory.
pub(crate) const LANE_LEN: usize = OUTCOMES_AT + RING_LEN;

/// The ring from the pool to the worker.
pub(crate) const TASKS: Ring = Ring {
    head_at: 256,
    tail_at: 320,
    start: TASKS_AT,
    capacity: RING_LEN,
};

/// The ring from the worker to the pool that tells of outcomes. Its words lie beside those
/// of the next one, because both are written for each outcome.
pub(crate) const ENTRIES: Ring = Ring {
    head_at: 384,
    tail_at: 448,
    start: ENTRIES_AT,
    capacity: ENTRIES_LEN,
};

/// The ring from the worker to the pool that holds their bytes.
pub(crate) const OUTCOMES: Ring = Ring {
    head_at: 392,
    tail_at: 456,
    start: OUTCOMES_AT,
    capacity: RING_LEN,
};

/// The worker has not said hello.
pub(crate) const STARTING: u32 = 0;
/// The worker takes messages.
pub(crate) const READY: u32 = 1;
/// The worker has done all it was told and leaves in peace.
pub(crate) const LEAVING: u32 = 2;
/// The worker found its messages to be nonsense.
pub(crate) const CONFUSED: u32 = 3;

/// Stands in [`Page::started`] while the worker receives what the current item needs, before
/// anything of the user's runs.
pub(crate) const RECEIVING: u64 = u64::MAX;

/// What a message's slot says.
///
/// | state | entered | left |
/// |---|---|---|
/// | `Waiting` | by the pool, before it waits to be sent | by either side, and only one of them succeeds |
/// | `Running` | by the worker, when it starts the first item | by either side |
/// | `Done` | by the worker, after the last outcome | when the slot is used again |
/// | `Taken` | by the pool: the worker passes over the message | as above |
/// | `Stopped` | by the pool: the worker starts nothing more and waits for its end | never |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Slot {
    Waiting = 1,
    Running = 2,
    Done = 3,
    Taken = 4,
    Stopped = 5,
}

/// The item that a worker runs, or ran last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) seq: u32,
    pub(crate) position: u32,
}

const RUNNING: u64 = 1;
const ENDED: u64 = 2;
const STOPPED: u64 = 3;

/// What a worker looks at and writes for each item of a message: found once, used often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemWords<'a> {
    slot: &'a AtomicU32,
    current: &'a AtomicU64,
}

impl<'a> ItemWords<'a> {
    /// Tells which item runs, by its distance from this one.
    #[inline]
    pub(crate) fn running_from(&self, first: Current) -> Mark<'a> {
        Mark {
            word: self.current,
            base: pack(first, RUNNING),
            step: pack(
                Current {
                    seq: 0,
                    position: 1,
                },
                0,
            ),
        }
    }

    /// Tells that the worker must start nothing more.
    #[inline]
    pub(crate) fn stopped(&self) -> Alarm<'a> {
        Alarm {
            word: self.slot,
            value: Slot::Stopped as u32,
        }
    }

    /// Whether the worker must start nothing more.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.slot.load(Ordering::Relaxed) == Slot::Stopped as u32
    }

    /// This item, which has a time limit, runs from now on. False if the pool has stopped the
    /// one that was named before, which may be the same one while its state was made.
    pub(crate) fn begin_timed_item(&self, current: Current) -> bool {
        let before = self.current.swap(pack(current, RUNNING), Ordering::AcqRel);
        before & STOPPED != STOPPED
    }

    /// This item runs from now on.
    #[inline]
    pub(crate) fn begin_item(&self, current: Current) {
        self.current
            .store(pack(current, RUNNING), Ordering::Release);
    }
}

/// The status page.
#[derive(Clone, Debug)]
pub(crate) struct Page(Arc<SharedMemory>);

impl Page {
    pub(crate) fn new(memory: Arc<SharedMemory>) -> Self {
        Self(memory)
    }

    /// The item that runs, with a state; written by the worker, except that the pool may
    /// turn `RUNNING` into `STOPPED` for an item with a time limit.
    #[inline]
    fn current(&self) -> &AtomicU64 {
        self.0.word64(0)
    }

    /// When the current item started, if its job is timed, or else when its job started;
    /// written by the worker before `current`. In the future while the worker makes the
    /// state that the item needs: that must be done by then.
    #[inline]
    pub(crate) fn started(&self) -> &AtomicU64 {
        self.0.word64(8)
    }

    /// The last message that the worker has begun; written by the worker.
    #[inline]
    pub(crate) fn passed(&self) -> &AtomicU32 {
        self.0.word32(16)
    }

    /// The phase of its life, written by the worker.
    #[inline]
    pub(crate) fn phase(&self) -> &AtomicU32 {
        self.0.word32(20)
    }

    /// Whether it aborted because the memory limit refused it some; set by the worker.
    #[inline]
    pub(crate) fn was_refused_memory(&self) -> &AtomicU32 {
        self.0.word32(24)
    }

    /// The worker's own pid; written by the worker before it says hello.
    pub(crate) fn pid(&self) -> &AtomicU32 {
        self.0.word32(28)
    }

    /// The message at whose end the pool wants the bell rung; written by the pool.
    #[inline]
    pub(crate) fn bell_at(&self) -> &AtomicU32 {
        self.0.word32(64)
    }

    /// Whether the pool wants the bell rung at the next outcome; set by the pool.
    #[inline]
    pub(crate) fn armed(&self) -> &AtomicU32 {
        self.0.word32(68)
    }

    /// Whether the pool wants the bell rung when there is room for tasks; written by the
    /// pool.
    #[inline]
    pub(crate) fn wants_room(&self) -> &AtomicU32 {
        self.0.word32(72)
    }

    /// How long the state of a map with a time limit may take to be made, in nanoseconds;
    /// written by the pool before the worker starts.
    pub(crate) fn init_timeout(&self) -> &AtomicU64 {
        self.0.word64(80)
    }

    /// Whether the bell was rung since the pool last looked; set by the worker, cleared by
    /// the pool.
    #[inline]
    pub(crate) fn rung(&self) -> &AtomicU32 {
        self.0.word32(128)
    }

    /// Whether the worker sleeps, or is about to; set by the worker, cleared by whoever is
    /// first to end the sleep.
    #[inline]
    pub(crate) fn asleep(&self) -> &AtomicU32 {
        self.0.word32(192)
    }

    /// The number of the seat in which a thread of the pool's process waits for the next
    /// ring, or 0; set by that thread, cleared by whoever is first to end the wait.
    #[inline]
    pub(crate) fn waiter(&self) -> &AtomicU32 {
        self.0.word32(512)
    }

    #[inline]
    fn slot(&self, seq: u32) -> &AtomicU32 {
        self.0.word32(SLOTS_AT + 4 * (seq % NUM_SLOTS) as usize)
    }

    /// The pool has decided to send a message.
    pub(crate) fn open_slot(&self, seq: u32) {
        self.slot(seq)
            .store(Slot::Waiting as u32, Ordering::Release);
    }

    /// Moves a slot from one state to another, unless it is in a third one.
    #[inline]
    pub(crate) fn move_slot(&self, seq: u32, from: Slot, to: Slot) -> bool {
        self.slot(seq)
            .compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Worker: what it looks at and writes for each item of a message.
    pub(crate) fn item_words(&self, seq: u32) -> ItemWords<'_> {
        ItemWords {
            slot: self.slot(seq),
            current: self.current(),
        }
    }

    /// Worker: the item has ended. False if the pool has stopped it before: then it counts
    /// as never ended, and the worker must wait for its own end.
    pub(crate) fn end_timed_item(&self, current: Current) -> bool {
        let (running, ended) = (pack(current, RUNNING), pack(current, ENDED));
        let word = self.current();
        word.compare_exchange(running, ended, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Pool: stops the item if it still runs.
    pub(crate) fn stop_item(&self, current: Current) -> bool {
        let (running, stopped) = (pack(current, RUNNING), pack(current, STOPPED));
        let word = self.current();
        word.compare_exchange(running, stopped, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The item that runs or ran last, if any has begun.
    pub(crate) fn last_item(&self) -> Option<Current> {
        unpack(self.current().load(Ordering::Acquire))
    }

    /// Whether the current item is yet to be received.
    pub(crate) fn is_receiving(&self) -> bool {
        self.started().load(Ordering::Acquire) == RECEIVING
    }

    /// The item that runs or ran last, and when it started (or later, if another one
    /// started meanwhile: see `started`).
    pub(crate) fn last_item_and_start(&self) -> Option<(Current, u64)> {
        let current = self.last_item()?;
        Some((current, self.started().load(Ordering::Acquire)))
    }
}

fn pack(current: Current, state: u64) -> u64 {
    u64::from(current.seq) << 32 | u64::from(current.position) << 2 | state
}

fn unpack(word: u64) -> Option<Current> {
    (word & 3 != 0).then_some(Current {
        seq: (word >> 32) as u32,
        position: (word as u32) >> 2,
    })
}
