//! [`Worker`]: what a driver knows of one worker, and the states that it goes through.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use taskfarm_core::remote::Setup;

use super::{Key, LONG, LONG_PATIENCE, MAX_DEPTH, Nanos, PATIENCE, SUPPLY};
use crate::page::Current;

/// Where a worker is in its life.
///
/// ```text
/// Vacant ──start──► Wanted ──launched──► Starting ──ready──► Ready ──say_good_bye──► Leaving
///   ▲                 │                     │                  │                       │
///   │                 │                     ├───── condemn ────┤                       │
///   │                 │                     ▼                  ▼                       │
///   │                 │                   Doomed ◄─────────────┘                       │
///   └────── vacate ───┴─────────────────────┴──────────────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is no process. Left by `start`, not before `not_before`.
    Vacant,
    /// A process was asked for; it has no lane yet, so no flights.
    Wanted,
    /// The lane takes messages; the process has not said hello.
    Starting,
    /// The process runs what it is sent.
    Ready,
    /// It was told to go, has no flights, and is killed at `until`.
    Leaving { until: Nanos },
    /// It was killed, and its death is yet to be noticed. It is sent nothing more.
    Doomed(Doom),
}

/// Why a worker was killed by its own pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doom {
    TimedOut,
    Cancelled,
    Protocol,
    Stuck,
}

/// A message that a worker has, or is being sent.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) seq: u32,
    pub(crate) key: Key,
    /// The first position of the message.
    pub(crate) begin: u32,
    /// The first position without an outcome.
    pub(crate) next: u32,
    /// The position after the last.
    pub(crate) end: u32,
    pub(crate) timed: bool,
    /// Whether its worker was stopped in it: what it ends from then on counts as killed.
    pub(crate) stopped: bool,
}

impl Flight {
    /// Whether its position `next` may have started, given the item that was started last.
    pub(crate) fn was_begun(&self, last_item: Option<Current>) -> bool {
        last_item.is_some_and(|last| last.seq == self.seq && last.position >= self.next)
    }
}

/// What waits to be sent to a worker.
#[derive(Debug)]
pub(super) enum Outgoing {
    Setup(Arc<Setup>),
    Job {
        seq: u32,
    },
    /// The rest of the payload of the last job does not come.
    Abandon,
    Stop(u64),
    Bye,
}

impl Outgoing {
    pub(super) fn is_job(&self, wanted: u32) -> bool {
        matches!(self, Self::Job { seq } if *seq == wanted)
    }
}

/// One place for a worker process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) state: State,
    /// The items that had an outcome.
    pub(crate) items_done: u64,
    /// By ascending `seq`; the first one runs.
    pub(crate) flights: VecDeque<Flight>,
    pub(super) outbox: VecDeque<Outgoing>,
    /// How much of the payload of the first of `outbox` was sent.
    pub(super) sent: u64,
    pub(super) next_seq: u32,
    /// How many flights it should have at most.
    depth: u32,
    /// The setups that were sent to it.
    pub(super) setups: Vec<u64>,
    /// How many more items it may run.
    pub(super) budget: Option<u64>,
    /// When the pool looks whether it has written something, unless it rings before.
    pub(crate) look: Option<Nanos>,
    pub(super) silent_looks: u32,
    /// When it last spoke, or was given the first message after a pause.
    pub(super) last_word: Nanos,
    /// When it last took a part of a payload that its ring cannot hold.
    pub(super) last_taken: Nanos,
    pub(super) tried_taking: bool,
    pub(super) tried_replacing: bool,
    /// The message that was taken back though it was its only one: until it comes to that,
    /// it may not be able to run, and gets nothing more.
    pub(super) suspect: Option<u32>,
    /// The flights that have landed since `last_word`.
    landed: u32,
    /// The mean time of a message.
    pace: Option<Nanos>,
    /// When its current item may have run too long.
    pub(super) limit: Option<Nanos>,
    /// When the one before has ended without being told to, until this one says hello.
    pub(super) empty_since: Option<Nanos>,
    /// For a vacant one: when it may start again.
    pub(super) not_before: Option<Nanos>,
    /// For a vacant one: whether it takes the place of one that died, so that the pool is
    /// at full strength again before there is work for it.
    pub(super) replace: bool,
}

impl Worker {
    pub(super) fn vacant() -> Self {
        Self {
            state: State::Vacant,
            items_done: 0,
            flights: VecDeque::new(),
            outbox: VecDeque::new(),
            sent: 0,
            next_seq: 1,
            depth: 1,
            setups: Vec::new(),
            budget: None,
            look: None,
            silent_looks: 0,
            last_word: 0,
            last_taken: 0,
            tried_taking: false,
            tried_replacing: false,
            suspect: None,
            landed: 0,
            pace: None,
            limit: None,
            empty_since: None,
            not_before: None,
            replace: false,
        }
    }

    // ---- Transitions ------------------------------------------------------------------

    pub(super) fn start(&mut self, max_tasks: Option<u64>) {
        debug_assert_eq!(self.state, State::Vacant);
        *self = Self {
            state: State::Wanted,
            budget: max_tasks,
            empty_since: self.empty_since,
            ..Self::vacant()
        };
    }

    pub(super) fn launched(&mut self, now: Nanos) {
        if self.state == State::Wanted {
            self.state = State::Starting;
            self.last_word = now;
        }
    }

    /// Whether this was the first hello.
    pub(super) fn ready(&mut self) -> bool {
        let first = self.state == State::Starting;
        if first {
            self.state = State::Ready;
        }
        first
    }

    /// Forgets a message of which nothing was sent. The worker will never pass its number, so
    /// the next one gets it: or numbers would run out.
    pub(super) fn withdraw_unsent(&mut self, seq: u32) {
        let before = self.outbox.len();
        self.outbox.retain(|waiting| !waiting.is_job(seq));
        if self.outbox.len() < before {
            // None was given since, because a worker with an outbox has no room.
            debug_assert_eq!(self.next_seq, seq.wrapping_add(1));
            self.next_seq = seq;
        }
    }

    /// Whether it could be told to go.
    pub(super) fn say_good_bye(&mut self, until: Nanos) -> bool {
        let may = matches!(self.state, State::Starting | State::Ready) && self.flights.is_empty();
        if may {
            self.state = State::Leaving { until };
            self.outbox.push_back(Outgoing::Bye);
        }
        may
    }

    /// Whether there is a process to kill that was not killed before.
    pub(super) fn condemn(&mut self, doom: Doom) -> bool {
        let may = !matches!(self.state, State::Vacant | State::Doomed(_));
        if may {
            self.state = State::Doomed(doom);
        }
        may
    }

    /// The setup is not needed any more.
    pub(super) fn stop(&mut self, setup: u64) {
        if let Some(at) = self.setups.iter().position(|kept| *kept == setup) {
            self.setups.swap_remove(at);
            self.outbox.push_back(Outgoing::Stop(setup));
        }
    }

    pub(super) fn vacate(&mut self) {
        debug_assert!(self.flights.is_empty());
        *self = Self::vacant();
    }

    // ---- Questions --------------------------------------------------------------------

    pub(super) fn is_vacant(&self) -> bool {
        self.state == State::Vacant
    }

    pub(super) fn is_doomed(&self) -> bool {
        matches!(self.state, State::Doomed(_))
    }

    pub(super) fn doom(&self) -> Option<Doom> {
        match self.state {
            State::Doomed(doom) => Some(doom),
            _ => None,
        }
    }

    pub(super) fn may_start(&self, now: Nanos) -> bool {
        self.is_vacant() && self.not_before.is_none_or(|at| at <= now)
    }

    /// Whether it will take jobs soon.
    pub(super) fn is_coming(&self) -> bool {
        self.state == State::Wanted || (self.state == State::Starting && self.flights.is_empty())
    }

    fn takes_jobs(&self) -> bool {
        let is_up = matches!(self.state, State::Starting | State::Ready);
        is_up && self.budget != Some(0) && self.suspect.is_none()
    }

    pub(super) fn has_room(&self) -> bool {
        self.takes_jobs() && self.outbox.is_empty() && (self.flights.len() as u32) < self.depth
    }

    pub(super) fn is_idle(&self) -> bool {
        self.takes_jobs() && self.flights.is_empty() && self.outbox.is_empty()
    }

    /// Whether it runs this job, or is about to, and then rests.
    pub(super) fn has_only(&self, key: Key) -> bool {
        let is_alone = self.flights.len() == 1 && self.flights[0].key == key;
        is_alone && self.state == State::Ready && self.outbox.is_empty()
    }

    /// The messages behind the one that runs.
    pub(super) fn waiting(&self) -> usize {
        match self.state {
            State::Starting | State::Ready => self.flights.len().saturating_sub(1),
            _ => 0,
        }
    }

    /// From when on its messages should be taken back for an idle worker, if there are any
    /// that can be: even the first one may not have begun, if the process does not run.
    pub(super) fn out_of_patience(&self) -> Option<Nanos> {
        let is_up = matches!(self.state, State::Starting | State::Ready);
        let has_some = is_up && !self.flights.is_empty() && self.outbox.is_empty();
        let can_be = has_some && !self.tried_taking;
        let patience = match self.flights.len() {
            1 => LONG_PATIENCE,
            _ => PATIENCE,
        };
        can_be.then_some(self.last_word + patience)
    }

    pub(super) fn flights_of(&self, key: Key) -> Vec<Flight> {
        let flights = self.flights.iter().filter(|flight| flight.key == key);
        flights.cloned().collect()
    }

    /// When something is due, if nothing happens before; `is_wanted` if a vacant one
    /// should start.
    pub(super) fn next_tick(&self, is_wanted: bool) -> Option<Nanos> {
        let exit = match self.state {
            State::Leaving { until } if until != Nanos::MAX => Some(until),
            _ => None,
        };
        let start = self.not_before.filter(|_| self.is_vacant() && is_wanted);
        [exit, start, self.look, self.limit]
            .into_iter()
            .flatten()
            .min()
    }

    // ---- Flights ----------------------------------------------------------------------

    /// A message takes off; its number comes back.
    pub(super) fn take_off(&mut self, key: Key, range: Range<u32>, timed: bool, now: Nanos) -> u32 {
        if self.flights.is_empty() {
            self.last_word = now;
            self.landed = 0;
        }
        self.tried_taking = false;
        self.tried_replacing = false;
        let seq = self.next_seq;
        self.next_seq = self.next_seq.wrapping_add(1);
        self.flights.push_back(Flight {
            seq,
            key,
            begin: range.start,
            next: range.start,
            end: range.end,
            timed,
            stopped: false,
        });
        seq
    }

    /// The worker will not end what it has begun of this message.
    pub(super) fn stop_flight(&mut self, seq: u32) {
        let mut flights = self.flights.iter_mut();
        if let Some(flight) = flights.find(|flight| flight.seq == seq) {
            flight.stopped = true;
        }
    }

    /// The flight was taken back: the worker may run as many other items.
    pub(super) fn refund(&mut self, flight: &Flight) {
        if let Some(budget) = &mut self.budget {
            *budget += u64::from(flight.end - flight.next);
        }
    }

    /// The flight at this index has all its outcomes.
    pub(super) fn land(&mut self, at: usize) {
        self.flights.remove(at);
        self.landed += 1;
    }

    /// The message after which the bell should ring: half of the supply is left then.
    pub(super) fn bell_seq(&self) -> u32 {
        self.next_seq
            .wrapping_sub(1 + self.flights.len() as u32 / 2)
    }

    /// Some outcomes came: learns how fast it is, and how much it should have in supply.
    pub(super) fn spoke(&mut self, now: Nanos) {
        self.tried_taking = false;
        self.tried_replacing = false;
        if self.landed > 0 {
            let each = now.saturating_sub(self.last_word) / Nanos::from(self.landed);
            let pace = self.pace.map_or(each, |pace| (3 * pace + each) / 4).max(1);
            self.pace = Some(pace);
            let wanted = u32::try_from(SUPPLY / pace).unwrap_or(u32::MAX);
            let least = if pace > LONG { 1 } else { 2 };
            self.depth = wanted.min(2 * self.depth).clamp(least, MAX_DEPTH);
            self.landed = 0;
        }
        self.last_word = now;
    }

    /// Something may have run too long at this time.
    pub(super) fn limit_at(&mut self, at: Nanos) {
        self.limit = Some(self.limit.map_or(at, |limit| limit.min(at)));
    }
}
