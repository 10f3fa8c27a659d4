//! [`Lanes`]: the lanes of all workers, and what a driver wants done to them.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use crate::driver::{Nanos, Outside, Parts};
use crate::lane::Lane;
use crate::message::Header;
use crate::page::{Current, Slot};
use crate::seat::Seat;
use crate::sys;

/// The lanes of a pool's workers, by slot.
#[derive(Debug)]
pub(crate) struct Lanes {
    slots: Vec<Option<Running>>,
    /// The slots that a process was asked for.
    pub(crate) to_start: Vec<usize>,
    /// The processes that this one cannot kill: whoever forked them must.
    pub(crate) to_kill: Vec<u32>,
}

/// A worker process, or one that is about to be.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) lane: Lane,
    /// Unlike that of any other lane of this pool.
    pub(crate) id: u64,
    pub(crate) pid: Option<u32>,
    pub(crate) pidfd: Option<OwnedFd>,
    /// When it must have said hello.
    pub(crate) hello_by: Option<Nanos>,
    /// Whether its bell is gone, so that the pool looks by itself.
    pub(crate) is_mute: bool,
    /// Where a caller waits for the worker's next word.
    pub(crate) seat: Option<Seat>,
    /// The number of the last seat.
    pub(crate) last_seat: u32,
    /// To be killed, as soon as it is known whom to kill.
    pub(crate) kill: bool,
}

impl Lanes {
    pub(crate) fn new(num_workers: usize) -> Self {
        Self {
            slots: (0..num_workers).map(|_| None).collect(),
            to_start: Vec::new(),
            to_kill: Vec::new(),
        }
    }

    pub(crate) fn get(&self, slot: usize) -> Option<&Running> {
        self.slots.get(slot)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Running> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(crate) fn put(&mut self, slot: usize, running: Running) {
        self.slots[slot] = Some(running);
    }

    pub(crate) fn take(&mut self, slot: usize) -> Option<Running> {
        self.slots[slot].take()
    }

    /// The slots that have a lane.
    pub(crate) fn occupied(&self) -> Vec<usize> {
        let slots = 0..self.slots.len();
        slots.filter(|&slot| self.slots[slot].is_some()).collect()
    }

    pub(crate) fn find(&self, wanted: impl Fn(&Running) -> bool) -> Option<usize> {
        let found = |running: &Option<Running>| running.as_ref().is_some_and(&wanted);
        self.slots.iter().position(found)
    }

    /// Takes the seats that fit.
    pub(crate) fn take_seats(&mut self, fits: impl Fn(usize, &Seat) -> bool) -> Vec<Seat> {
        let slots = self.slots.iter_mut().enumerate();
        let seats = slots.filter_map(|(slot, running)| {
            let seat = &mut running.as_mut()?.seat;
            seat.take_if(|seat| fits(slot, seat))
        });
        seats.collect()
    }

    pub(crate) fn pid(&self, slot: usize) -> Option<u32> {
        self.slots[slot].as_ref()?.pid
    }

    /// The pid that the worker itself has told: it may work before its zygote was heard.
    pub(crate) fn own_pid(&self, slot: usize) -> Option<u32> {
        let page = self.slots[slot].as_ref()?.lane.page();
        Some(page.pid().load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    pub(crate) fn last_item_of(&self, slot: usize) -> Option<(Current, Nanos)> {
        let running = self.slots[slot].as_ref()?;
        running.lane.page().last_item_and_start()
    }

    /// Whether some worker cannot ring.
    pub(crate) fn any_is_mute(&self) -> bool {
        self.slots.iter().flatten().any(|running| running.is_mute)
    }

    /// When the next process that has not said hello is late.
    pub(crate) fn next_hello(&self) -> Option<Nanos> {
        let lanes = self.slots.iter().flatten();
        lanes.filter_map(|running| running.hello_by).min()
    }
}

impl Running {
    /// Kills the process now, or as soon as it has one; gives the pid if that must be left
    /// to whoever forked it: without a pidfd the number may be a stranger's, and a program
    /// that gave up rights since it started its workers may not.
    #[must_use = "the process may still be to kill"]
    pub(crate) fn kill(&mut self) -> Option<u32> {
        self.kill = true;
        let pidfd = self.pidfd.as_ref();
        match pidfd.map(|pidfd| pidfd_send_signal(pidfd, Signal::KILL)) {
            Some(Ok(()) | Err(Errno::SRCH)) => None,
            Some(Err(_)) | None => self.pid,
        }
    }
}

impl Outside for Lanes {
    fn start(&mut self, slot: usize) {
        self.to_start.push(slot);
    }

    fn open(&mut self, slot: usize, seq: u32) {
        if let Some(running) = &self.slots[slot] {
            running.lane.page().open_slot(seq);
        }
    }

    fn send(&mut self, slot: usize, header: &Header, parts: Parts<'_>, sent: u64) -> Option<u64> {
        let running = self.slots[slot].as_mut()?;
        let entries = sys::as_bytes(parts.entries);
        running.lane.send(header, [entries, parts.bytes], sent)
    }

    fn has_met(&self, slot: usize, seq: u32) -> bool {
        let running = self.slots[slot].as_ref();
        running.is_some_and(|running| running.lane.has_met(seq))
    }

    fn free_slots(&self, slot: usize, next_seq: u32) -> u32 {
        let running = self.slots[slot].as_ref();
        running.map_or(0, |running| running.lane.free_slots(next_seq))
    }

    fn ring_at(&mut self, slot: usize, seq: u32) {
        if let Some(running) = &self.slots[slot] {
            let bell_at = running.lane.page().bell_at();
            bell_at.store(seq, Ordering::Relaxed);
        }
    }

    fn arm(&mut self, slot: usize, armed: bool) {
        if let Some(running) = &self.slots[slot] {
            let word = running.lane.page().armed();
            word.store(u32::from(armed), Ordering::Relaxed);
        }
    }

    fn take_back(&mut self, slot: usize, seq: u32) -> bool {
        let running = self.slots[slot].as_ref();
        running.is_some_and(|running| {
            let page = running.lane.page();
            page.move_slot(seq, Slot::Waiting, Slot::Taken)
        })
    }

    fn stop_message(&mut self, slot: usize, seq: u32) -> bool {
        let running = self.slots[slot].as_ref();
        running.is_some_and(|running| {
            let page = running.lane.page();
            page.move_slot(seq, Slot::Running, Slot::Stopped)
        })
    }

    fn stop_item(&mut self, slot: usize, current: Current) -> bool {
        let running = self.slots[slot].as_ref();
        running.is_some_and(|running| running.lane.page().stop_item(current))
    }

    fn last_item(&self, slot: usize) -> Option<(Current, Nanos)> {
        self.last_item_of(slot)
    }

    fn kill(&mut self, slot: usize) {
        let running = self.slots[slot].as_mut();
        self.to_kill.extend(running.and_then(Running::kill));
    }
}
