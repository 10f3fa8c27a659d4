//! [`Driver`]: every decision of a pool, without a process, a descriptor or a clock.
//!
//! It is told what happened (a job came, outcomes arrived, a worker died, time passed,
//! somebody cancels) and decides who runs what, who is killed, started or dismissed, and
//! how each item ends. What it wants done goes through [`Outside`]; what the jobs must be
//! told waits in [`take_notes`](Driver::take_notes), to be told by the I/O thread when no
//! lock is held (or by a caller in a [seat](crate::seat), which tells its own task). So all
//! orders of events can be played in a test.
//!
//! # The argument
//!
//! *Every position ends exactly once.* A position of a job is in exactly one place: in
//! `todo`, in one flight, or reported. It leaves `todo` only by [`assign`](Driver::assign)
//! into a flight; it leaves a flight only by an outcome, by a loss, or back to `todo`; and
//! it goes back only if its worker is dead or has been made, through the slot of the
//! message, never to start it.
//!
//! *Nothing runs twice.* A position that may have started is never put back: after a death
//! the status page names the item that was started last, outcomes are taken out of the
//! ring first, and a message that was begun without a named item counts as having started
//! its first one.
//!
//! *Nobody waits for ever.* As long as positions are unreported, either a living worker has
//! them (and the pool is told when it ends or speaks, or it is killed if it does not begin
//! what it has), or a worker is being started, or a time for the next attempt is set, or the
//! pool is broken and reports everything.

mod health;
mod job;
mod todo;
mod worker;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use taskfarm_core::remote::{Bundle, Loss, Setup};
use taskfarm_core::{CancelOutcome, ProcessEnd, Shutdown, WorkerLost};

use crate::message::{Header, Kind};
use crate::page::Current;
use crate::record::Batch;
use crate::stats::Stats;
use health::Health;
use job::{Job, Slab};
pub(crate) use job::{Key, NewJob};
pub(crate) use worker::State;
use worker::{Doom, Flight, Outgoing, Worker};

/// Nanoseconds on the clock that workers and pool share.
pub(crate) type Nanos = u64;

/// So many nanoseconds, or as many as there are.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

const MICRO: Nanos = 1_000;
const MILLI: Nanos = 1_000_000;

/// How soon the pool looks at a worker that has just spoken.
const LOOK_SOON: Nanos = MILLI;
/// How soon it looks for the last time, with the bell armed.
const LOOK_LAST: Nanos = MILLI;
/// How long a worker must have been silent before its waiting messages are taken back for
/// one that has nothing to do.
const PATIENCE: Nanos = 200 * MICRO;
/// The same for its only message: most workers that have not begun it just wake up.
const LONG_PATIENCE: Nanos = 10 * MILLI;
/// The work that should be on its way to a worker, in time.
const SUPPLY: Nanos = 400 * MICRO;
/// The most messages on their way to one worker.
const MAX_DEPTH: u32 = 256;
/// Messages that take longer than this wait in the queue, where the next free worker finds
/// them, and not behind another one: the pause between two of them is small beside them.
const LONG: Nanos = 5 * MILLI;
/// A job with so many bytes is handed out, and with that copied, by the I/O thread.
const BIG: usize = 64 << 10;
/// A job at which so many workers died before they began any of it is given up.
const MAX_BARREN_DEATHS: u32 = 3;
/// The wait before another worker starts after the first of these deaths; it doubles.
const BARREN_PAUSE: Nanos = MILLI;

/// What a pool is told once.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) num_workers: usize,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) exit_timeout: Duration,
}

/// What the driver wants done.
pub(crate) trait Outside {
    /// Starts a process for the slot; [`Driver::launched`] or [`Driver::died`] follows.
    fn start(&mut self, slot: usize);
    /// A message takes off: from now on it can be [taken back](Self::take_back).
    fn open(&mut self, slot: usize, seq: u32);
    /// Sends what fits of a message, as [`Lane::send`](crate::lane::Lane::send).
    fn send(&mut self, slot: usize, header: &Header, parts: Parts<'_>, sent: u64) -> Option<u64>;
    /// Whether the worker has come to the message, to begin it or to pass over it.
    fn has_met(&self, slot: usize, seq: u32) -> bool;
    /// How many messages the worker's slots can still take.
    fn free_slots(&self, slot: usize, next_seq: u32) -> u32;
    /// Tells the worker at the end of which message to ring.
    fn ring_at(&mut self, slot: usize, seq: u32);
    /// Has the worker ring at the next outcome, or not.
    fn arm(&mut self, slot: usize, armed: bool);
    /// Whether the worker will never start the message, because it had not yet.
    fn take_back(&mut self, slot: usize, seq: u32) -> bool;
    /// Whether the worker was in the message, and will not end it.
    fn stop_message(&mut self, slot: usize, seq: u32) -> bool;
    /// Whether the item was running, and will not end.
    fn stop_item(&mut self, slot: usize, current: Current) -> bool;
    /// The item that was started last, and when.
    fn last_item(&self, slot: usize) -> Option<(Current, Nanos)>;
    /// Kills the process; [`Driver::died`] follows.
    fn kill(&mut self, slot: usize);
}

/// The entries and bytes of some items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) entries: &'a [u32],
    pub(crate) bytes: &'a [u8],
}

impl Parts<'_> {
    const NONE: Self = Self {
        entries: &[],
        bytes: &[],
    };
}

/// Something to tell a job.
#[derive(Debug)]
pub(crate) struct Note<R> {
    pub(crate) key: Key,
    /// The reply, if this is the first note of the job.
    pub(crate) reply: Option<R>,
    pub(crate) news: News,
    /// The items, whose memory may be used again, if nothing follows.
    pub(crate) last: Option<Bundle>,
}

/// How positions of a job have ended.
#[derive(Debug)]
pub(crate) enum News {
    Delivered { first: u32, outcomes: Bundle },
    Lost { position: u32, loss: Loss },
}

/// Why there is no worker where one was wanted.
#[derive(Clone, Debug)]
pub(crate) enum StartFailure {
    /// There never was a process.
    Error(String),
    /// It died before it said hello.
    Died(WorkerLost),
}

/// How far a pool's life has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Takes jobs.
    Open,
    /// Takes none, and ends what it has.
    Closing,
    /// Cannot run anything, for this reason.
    Broken(String),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Driver<R> {
    settings: Settings,
    phase: Phase,
    jobs: Slab<R>,
    /// Jobs with something to do; entries may be stale.
    queue: VecDeque<Key>,
    workers: Vec<Worker>,
    setups: Vec<(u64, Weak<Setup>)>,
    notes: Vec<Note<R>>,
    health: Health,
    stats: Stats,
    /// Whether something waits for the I/O thread.
    wants_io: bool,
    /// Whether the I/O thread should look in a while, because an idle worker was sent
    /// something: it may not be able to begin it.
    wants_patrol: bool,
}

impl<R> Driver<R> {
    pub(crate) fn new(settings: Settings) -> Self {
        let workers = (0..settings.num_workers)
            .map(|_| Worker::vacant())
            .collect();
        Self {
            settings,
            phase: Phase::Open,
            jobs: Slab::default(),
            queue: VecDeque::new(),
            workers,
            setups: Vec::new(),
            notes: Vec::new(),
            health: Health::default(),
            stats: Stats::default(),
            wants_io: false,
            wants_patrol: false,
        }
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    pub(crate) fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// Whether the I/O thread should look, because of what a caller's call has changed.
    pub(crate) fn take_wants_io(&mut self) -> bool {
        std::mem::take(&mut self.wants_io) || !self.notes.is_empty()
    }

    /// Whether it should look in a while.
    pub(crate) fn take_wants_patrol(&mut self) -> bool {
        std::mem::take(&mut self.wants_patrol)
    }

    pub(crate) fn take_notes(&mut self, notes: &mut Vec<Note<R>>) {
        notes.append(&mut self.notes);
    }

    /// The worker that has this job and nothing else, and so speaks of this job next.
    pub(crate) fn only_worker_of(&self, key: Key) -> Option<usize> {
        let mut workers = self.workers.iter();
        workers.position(|worker| worker.has_only(key))
    }

    /// Whether the worker has anything of this job.
    pub(crate) fn has_flight(&self, slot: usize, key: Key) -> bool {
        let mut flights = self.workers[slot].flights.iter();
        flights.any(|flight| flight.key == key)
    }

    /// What there is to tell a job that ends with its first note.
    pub(crate) fn take_only_note(&mut self, key: Key) -> Option<(R, News, Bundle)> {
        let is_it = |note: &Note<R>| note.key == key && note.reply.is_some() && note.last.is_some();
        let at = self.notes.iter().position(is_it)?;
        let note = self.notes.remove(at);
        Some((note.reply?, note.news, note.last?))
    }

    /// The encoded bytes of the items that a worker has and has not ended.
    pub(crate) fn bytes_in_flight(&self, slot: usize) -> usize {
        let flights = self.workers[slot].flights.iter();
        let num_bytes = flights.filter_map(|flight| {
            let job = self.jobs.get(flight.key)?;
            Some(job.num_bytes(flight.next..flight.end))
        });
        num_bytes.sum()
    }

    /// The index in its map of the item that a worker started last, if it may still run.
    pub(crate) fn index_of(&self, slot: usize, last_item: Current) -> Option<usize> {
        let mut flights = self.workers[slot].flights.iter();
        let flight = flights.find(|flight| flight.was_begun(Some(last_item)))?;
        Some(self.jobs.get(flight.key)?.index_of(last_item.position))
    }

    /// Whether a closed pool has no process and no news any more.
    pub(crate) fn is_finished(&self) -> bool {
        let over = self.phase != Phase::Open && self.jobs.is_empty() && self.notes.is_empty();
        over && self.workers.iter().all(Worker::is_vacant)
    }

    // ---- Events -----------------------------------------------------------------------

    /// A job came. `None` if it was ended at once, which the notes tell.
    pub(crate) fn submit(&mut self, job: NewJob<R>, now: Nanos, out: &mut impl Outside) -> Key {
        if let Some(setup) = &job.setup {
            self.remember_setup(setup);
        }
        let is_big = job.items.bytes.len() >= BIG;
        let key = self.jobs.insert(Job::new(job));
        match &self.phase {
            Phase::Open => {
                self.enqueue_last(key);
                if is_big {
                    // Whoever submits may prepare the next one while the I/O thread copies it.
                    self.wants_io = true;
                } else {
                    self.dispatch(now, out);
                }
            }
            Phase::Closing => self.lose_all_todo(key, &Loss::Cancelled),
            Phase::Broken(why) => {
                let loss = Loss::Undeliverable(why.clone());
                self.lose_all_todo(key, &loss);
            }
        }
        key
    }

    /// The process of the slot exists, or will in a moment: its lane takes messages.
    pub(crate) fn launched(&mut self, slot: usize, now: Nanos, out: &mut impl Outside) {
        self.workers[slot].launched(now);
        self.stats.started += 1;
        out.arm(slot, true);
        self.dispatch(now, out);
    }

    /// The worker said hello.
    pub(crate) fn ready(&mut self, slot: usize, now: Nanos) {
        if self.workers[slot].ready() {
            self.health.note_hello();
            let empty_since = self.workers[slot].empty_since.take();
            let was_empty = empty_since.map_or(0, |since| now.saturating_sub(since));
            self.stats.replacing += Duration::from_nanos(was_empty);
        }
    }

    /// Whether any worker has ever said hello.
    pub(crate) fn had_workers(&self) -> bool {
        self.health.had_workers
    }

    /// Whether a worker has messages.
    pub(crate) fn is_busy(&self) -> bool {
        let mut ready = self
            .workers
            .iter()
            .filter(|worker| worker.state == State::Ready);
        ready.any(|worker| !worker.flights.is_empty())
    }

    /// Outcomes arrived.
    pub(crate) fn received(
        &mut self,
        slot: usize,
        batches: &mut Vec<Batch>,
        now: Nanos,
        out: &mut impl Outside,
    ) {
        for batch in batches.drain(..) {
            if !self.deliver(slot, batch) {
                self.protocol_broken(slot, out);
                return;
            }
        }
        self.workers[slot].spoke(now);
    }

    /// The worker's bytes make no sense.
    pub(crate) fn protocol_broken(&mut self, slot: usize, out: &mut impl Outside) {
        self.doom(slot, Doom::Protocol, out);
    }

    /// All bytes that the worker has written were taken; there were some, or not.
    pub(crate) fn looked(&mut self, slot: usize, news: bool, now: Nanos, out: &mut impl Outside) {
        let worker = &mut self.workers[slot];
        if worker.flights.is_empty() {
            worker.look = None;
            out.arm(slot, true);
        } else if news {
            worker.look = Some(now + LOOK_SOON);
            worker.silent_looks = 0;
            out.arm(slot, false);
        } else if worker.look.is_some_and(|at| at <= now) {
            worker.silent_looks += 1;
            worker.look = match worker.silent_looks {
                1 => Some(now + LOOK_LAST),
                _ => None,
            };
            out.arm(slot, true);
        }
    }

    /// Who forked the workers is about to be killed, and they will die with it: those that have
    /// nothing to do get nothing more.
    pub(crate) fn let_idle_workers_go(&mut self, out: &mut impl Outside) {
        for slot in 0..self.workers.len() {
            let worker = &self.workers[slot];
            if worker.state == State::Ready && worker.flights.is_empty() {
                self.doom(slot, Doom::Stuck, out);
            }
        }
    }

    /// Not the I/O thread but a caller has looked at this worker: wakes the former, unless
    /// all that is left to do is to wait for the bells of workers, and for what it knows of.
    pub(crate) fn hand_over(&mut self, slot: usize) {
        let rests = self.phase == Phase::Open
            && self.queue.is_empty()
            && self.workers[slot].is_idle()
            // Nobody has messages that this worker could run meanwhile.
            && self.workers.iter().all(|worker| worker.waiting() == 0);
        self.wants_io |= !rests;
    }

    /// The process ended; everything that it had written was [received](Self::received).
    pub(crate) fn died(
        &mut self,
        slot: usize,
        lost: WorkerLost,
        last_item: Option<Current>,
        now: Nanos,
        out: &mut impl Outside,
    ) {
        self.bury(slot, &lost, last_item, now);
        self.dispatch(now, out);
    }

    /// For one reason, processes could not be started, or died before they said hello.
    pub(crate) fn start_failed(
        &mut self,
        slots: &[usize],
        failure: &StartFailure,
        now: Nanos,
        out: &mut impl Outside,
    ) {
        let (why, was_killed) = match failure {
            StartFailure::Error(why) => (why.clone(), false),
            StartFailure::Died(lost) => {
                let was_killed = lost.ended == ProcessEnd::Signaled(libc::SIGKILL);
                (lost.to_string(), was_killed)
            }
        };
        self.health.note_failure(was_killed, now);
        for &slot in slots {
            let flights = std::mem::take(&mut self.workers[slot].flights);
            self.requeue(flights);
            let empty_since = self.workers[slot].empty_since;
            self.workers[slot].vacate();
            self.workers[slot].empty_since = empty_since;
            self.workers[slot].replace = self.phase == Phase::Open;
            self.workers[slot].not_before = self.health.back_off().map(|wait| now + wait);
        }
        let count = |state: State| {
            let workers = self.workers.iter();
            workers.filter(|worker| worker.state == state).count()
        };
        if count(State::Ready) == 0 && self.health.is_hopeless(count(State::Starting), now) {
            self.break_down(format!("no worker process can be started: {why}"), out);
            return;
        }
        self.dispatch(now, out);
    }

    /// Time passed: kills what runs too long, ends what has to end.
    pub(crate) fn tick(&mut self, now: Nanos, out: &mut impl Outside) {
        for slot in 0..self.workers.len() {
            self.check_limit(slot, now, out);
            self.check_stuck(slot, now, out);
            let worker = &self.workers[slot];
            let State::Leaving { until } = worker.state else {
                continue;
            };
            if until <= now {
                out.kill(slot);
                self.workers[slot].state = State::Leaving { until: Nanos::MAX };
            }
        }
        self.stop_setups();
        self.dispatch(now, out);
        self.rebalance(now, out);
        self.dismiss(now, out);
    }

    /// When [`tick`](Self::tick) should be called next, unless something happens before.
    pub(crate) fn next_tick(&self) -> Option<Nanos> {
        let waiting = !self.queue.is_empty();
        let open = self.phase == Phase::Open;
        let due = |worker: &Worker| worker.next_tick(waiting || (open && worker.replace));
        let workers = self.workers.iter().filter_map(due);
        let stuck = self
            .workers
            .iter()
            .filter_map(|worker| self.stuck_at(worker));
        workers.chain(stuck).chain(self.next_rebalance()).min()
    }

    /// Nobody wants the job any more.
    pub(crate) fn cancel(&mut self, key: Key, out: &mut impl Outside) -> CancelOutcome {
        if self.jobs.get_mut(key).is_none_or(|job| job.left == 0) {
            return CancelOutcome::TooLate;
        }
        let outcome = self.withdraw_job(key, true, out);
        self.wants_io = true;
        outcome
    }

    /// Takes no more jobs.
    pub(crate) fn shutdown(&mut self, how: Shutdown, out: &mut impl Outside) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
        self.wants_io = true;
        let kill = match how {
            Shutdown::Drain => return,
            Shutdown::Abort => true,
            _ => false,
        };
        for key in self.jobs.keys() {
            self.withdraw_job(key, kill, out);
        }
    }

    /// Nothing can be run any more: ends every item with this reason.
    pub(crate) fn break_down(&mut self, why: String, out: &mut impl Outside) {
        let loss = Loss::Undeliverable(why.clone());
        self.phase = Phase::Broken(why);
        for slot in 0..self.workers.len() {
            for flight in std::mem::take(&mut self.workers[slot].flights) {
                self.lose_range(flight.key, flight.next..flight.end, &loss);
            }
            match self.workers[slot].state {
                State::Vacant => {}
                // It was asked for and is not there; whoever was to start it finds this.
                State::Wanted => self.workers[slot].vacate(),
                _ => self.doom(slot, Doom::Protocol, out),
            }
        }
        for key in self.jobs.keys() {
            self.lose_all_todo(key, &loss);
        }
    }

    // ---- Handing out ------------------------------------------------------------------

    fn enqueue_last(&mut self, key: Key) {
        if let Some(job) = self.jobs.get_mut(key)
            && !job.queued
        {
            job.queued = true;
            self.queue.push_back(key);
        }
    }

    fn enqueue_first(&mut self, key: Key) {
        if let Some(job) = self.jobs.get_mut(key)
            && !job.queued
        {
            job.queued = true;
            self.queue.push_front(key);
        }
    }

    /// Gives waiting jobs to workers that have room, and starts workers that are missing.
    fn dispatch(&mut self, now: Nanos, out: &mut impl Outside) {
        for slot in 0..self.workers.len() {
            if !self.workers[slot].outbox.is_empty() {
                self.pump(slot, now, out);
            }
        }
        while let Some(&key) = self.queue.front() {
            if self.jobs.get_mut(key).is_none_or(|job| job.todo.is_empty()) {
                self.queue.pop_front();
                if let Some(job) = self.jobs.get_mut(key) {
                    job.queued = false;
                }
                continue;
            }
            let Some(slot) = self.roomiest(out) else {
                break;
            };
            self.assign(slot, key, now, out);
        }
        self.start_missing(now, out);
    }

    /// The worker with the fewest messages, if any has room for one more.
    fn roomiest(&self, out: &impl Outside) -> Option<usize> {
        let mut best: Option<(usize, usize)> = None;
        for (slot, worker) in self.workers.iter().enumerate() {
            let load = worker.flights.len();
            if worker.has_room() && best.is_none_or(|(_, least)| load < least) {
                best = Some((slot, load));
            }
        }
        let (slot, _) = best?;
        (out.free_slots(slot, self.workers[slot].next_seq) > 0).then_some(slot)
    }

    /// Sends the next part of the first job to the worker.
    fn assign(&mut self, slot: usize, key: Key, now: Nanos, out: &mut impl Outside) {
        let worker = &mut self.workers[slot];
        let Some(job) = self.jobs.get_mut(key) else {
            return;
        };
        let Some(range) = job.take_todo(worker.budget) else {
            return;
        };
        if job.todo.is_empty() {
            job.queued = false;
            self.queue.pop_front();
        }
        if let Some(setup) = &job.setup
            && !worker.setups.contains(&setup.id)
        {
            worker.setups.push(setup.id);
            worker.outbox.push_back(Outgoing::Setup(setup.clone()));
        }
        if let Some(budget) = &mut worker.budget {
            *budget -= u64::from(range.end - range.start);
        }
        let timed = job.timeout.is_some();
        self.wants_patrol |= worker.flights.is_empty();
        let seq = worker.take_off(key, range, timed, now);
        if let Some(timeout) = job.timeout {
            worker.limit_at(now.saturating_add(timeout));
            self.wants_io = true;
        }
        out.open(slot, seq);
        worker.outbox.push_back(Outgoing::Job { seq });
        out.ring_at(slot, worker.bell_seq());
        self.pump(slot, now, out);
    }

    /// Sends what fits of what waits for one worker.
    fn pump(&mut self, slot: usize, now: Nanos, out: &mut impl Outside) {
        let worker = &mut self.workers[slot];
        while let Some(outgoing) = worker.outbox.front() {
            let (header, parts) = match outgoing {
                Outgoing::Setup(setup) => (
                    Header {
                        setup: setup.id,
                        ..Header::new(Kind::Setup)
                    },
                    Parts {
                        entries: &[],
                        bytes: &setup.context,
                    },
                ),
                Outgoing::Stop(setup) => (
                    Header {
                        setup: *setup,
                        ..Header::new(Kind::Stop)
                    },
                    Parts::NONE,
                ),
                Outgoing::Abandon => (Header::new(Kind::Fragment), Parts::NONE),
                Outgoing::Bye => (Header::new(Kind::Bye), Parts::NONE),
                Outgoing::Job { seq } => {
                    let flight = worker
                        .flights
                        .iter()
                        .rev()
                        .find(|flight| flight.seq == *seq);
                    let Some(flight) = flight else {
                        worker.outbox.pop_front();
                        continue;
                    };
                    let Some(job) = self.jobs.get(flight.key) else {
                        worker.outbox.pop_front();
                        continue;
                    };
                    job.message(*seq, flight.begin..flight.end)
                }
            };
            let len = (4 * parts.entries.len() + parts.bytes.len()) as u64;
            let sent = out.send(slot, &header, parts, worker.sent);
            if sent.is_some_and(|sent| worker.sent > 0 || sent < len) {
                worker.last_taken = now;
            }
            match sent {
                Some(sent) if sent == len => {
                    worker.outbox.pop_front();
                    worker.sent = 0;
                }
                Some(sent) => {
                    worker.sent = sent;
                    return;
                }
                None => return,
            }
        }
    }

    /// Starts workers for what waits, and in the place of those that died.
    fn start_missing(&mut self, now: Nanos, out: &mut impl Outside) {
        if matches!(self.phase, Phase::Broken(_)) {
            return;
        }
        let waiting = self.workers.iter().map(Worker::waiting).sum::<usize>();
        let todo: usize = self.queue.iter().take(self.workers.len()).count();
        let coming = self
            .workers
            .iter()
            .filter(|worker| worker.is_coming())
            .count();
        let mut missing = (waiting + todo).saturating_sub(coming);
        for slot in 0..self.workers.len() {
            let worker = &mut self.workers[slot];
            worker.not_before = worker.not_before.filter(|at| *at > now);
            let is_wanted = missing > 0 || (worker.replace && self.phase == Phase::Open);
            if is_wanted && worker.may_start(now) {
                worker.start(self.settings.max_tasks);
                self.wants_io = true;
                out.start(slot);
                missing = missing.saturating_sub(1);
            }
        }
    }

    // ---- Balance ----------------------------------------------------------------------

    /// Takes messages that wait behind a long one back for workers that have nothing to do.
    fn rebalance(&mut self, now: Nanos, out: &mut impl Outside) {
        if !self.queue.is_empty() {
            return;
        }
        loop {
            let idle = self.workers.iter().any(Worker::is_idle);
            let Some(slot) = self.victim(now).filter(|_| idle) else {
                return;
            };
            if !self.take_half(slot, out) {
                return;
            }
            self.dispatch(now, out);
        }
    }

    /// The worker with the most messages waiting behind one that takes long.
    fn victim(&self, now: Nanos) -> Option<usize> {
        let slots = (0..self.workers.len()).filter(|&slot| {
            let patience = self.workers[slot].out_of_patience();
            patience.is_some_and(|at| at <= now)
        });
        slots.max_by_key(|&slot| self.workers[slot].flights.len())
    }

    fn next_rebalance(&self) -> Option<Nanos> {
        if !self.queue.is_empty() || !self.workers.iter().any(Worker::is_idle) {
            return None;
        }
        let busy = self.workers.iter();
        busy.filter_map(Worker::out_of_patience).min()
    }

    /// Whether at least one message could be taken back.
    fn take_half(&mut self, slot: usize, out: &mut impl Outside) -> bool {
        let half = self.workers[slot].flights.len() / 2;
        let mut taken = VecDeque::new();
        for _ in 0..half.max(1) {
            let worker = &mut self.workers[slot];
            let Some(seq) = worker.flights.back().map(|flight| flight.seq) else {
                break;
            };
            if !out.take_back(slot, seq) {
                break;
            }
            taken.extend(worker.flights.pop_back());
            taken.back().inspect(|flight| worker.refund(flight));
            if worker.flights.is_empty() {
                worker.suspect = Some(seq);
            }
        }
        let any = !taken.is_empty();
        taken.make_contiguous().reverse();
        self.workers[slot].tried_taking = !any;
        self.requeue(taken);
        any
    }

    // ---- Ends -------------------------------------------------------------------------

    /// Whether the outcomes are those of a message that the worker has.
    fn deliver(&mut self, slot: usize, batch: Batch) -> bool {
        let worker = &mut self.workers[slot];
        let Some(at) = worker
            .flights
            .iter()
            .position(|flight| flight.seq == batch.seq)
        else {
            return false;
        };
        let flight = &mut worker.flights[at];
        let count = batch.outcomes.len() as u32;
        if batch.first != flight.next || count > flight.end - flight.next {
            return false;
        }
        flight.next += count;
        let (key, is_stopped) = (flight.key, flight.stopped);
        if flight.next == flight.end {
            worker.land(at);
        }
        if is_stopped {
            // Somebody was told that it is killed.
            self.lose_range(key, batch.first..batch.first + count, &Loss::Killed);
            return true;
        }
        worker.items_done += u64::from(count);
        self.stats.items += u64::from(count);
        self.report(
            key,
            count,
            News::Delivered {
                first: batch.first,
                outcomes: batch.outcomes,
            },
        );
        true
    }

    /// Notes how `count` positions have ended.
    fn report(&mut self, key: Key, count: u32, news: News) {
        let Some(job) = self.jobs.get_mut(key) else {
            return;
        };
        job.left -= count;
        let is_last = job.left == 0;
        let reply = job.reply.take();
        let last = is_last
            .then(|| self.jobs.remove(key).map(Job::into_items))
            .flatten();
        self.notes.push(Note {
            key,
            reply,
            news,
            last,
        });
    }

    fn lose_range(&mut self, key: Key, range: std::ops::Range<u32>, loss: &Loss) {
        for position in range {
            let loss = loss.clone();
            self.report(key, 1, News::Lost { position, loss });
        }
    }

    fn lose_all_todo(&mut self, key: Key, loss: &Loss) {
        let Some(job) = self.jobs.get_mut(key) else {
            return;
        };
        for range in std::mem::take(&mut job.todo) {
            self.lose_range(key, range, loss);
        }
    }

    /// Puts flights that never started back, in their order, before everything else.
    fn requeue(&mut self, flights: VecDeque<Flight>) {
        for flight in flights.into_iter().rev() {
            let Some(job) = self.jobs.get_mut(flight.key) else {
                continue;
            };
            if job.cancelled {
                self.lose_range(flight.key, flight.next..flight.end, &Loss::Cancelled);
                continue;
            }
            if flight.next < flight.end {
                job.todo.put_first(flight.next..flight.end);
                self.enqueue_first(flight.key);
            }
        }
    }

    /// Settles what a dead worker had.
    fn bury(&mut self, slot: usize, lost: &WorkerLost, last_item: Option<Current>, now: Nanos) {
        let worker = &mut self.workers[slot];
        let doom = worker.doom();
        let left_in_peace = matches!(worker.state, State::Leaving { .. });
        let mut flights = std::mem::take(&mut worker.flights);
        worker.vacate();
        worker.replace = self.phase == Phase::Open;
        if !left_in_peace {
            self.stats.replaced += 1;
            worker.empty_since = Some(now);
        }
        let begun = flights
            .iter()
            .position(|flight| flight.was_begun(last_item));
        let blamed = begun.and_then(|at| flights.remove(at));
        // A kill from outside may meet any worker.
        let was_killed = lost.ended == ProcessEnd::Signaled(libc::SIGKILL);
        let unbegun = match blamed {
            None if doom.is_none() && !was_killed => {
                let first = flights.front();
                let barren = first.filter(|flight| flight.next == flight.begin);
                barren.map(|flight| flight.key)
            }
            _ => None,
        };
        self.requeue(flights);
        if let Some(flight) = blamed {
            self.blame(flight, doom, lost);
        }
        if let Some(key) = unbegun {
            self.note_barren_death(key, slot, lost, now);
        }
    }

    /// A worker died when this job was next and had not begun: perhaps that cannot even be
    /// received.
    fn note_barren_death(&mut self, key: Key, slot: usize, lost: &WorkerLost, now: Nanos) {
        let Some(job) = self.jobs.get_mut(key) else {
            return;
        };
        job.barren_deaths += 1;
        if job.barren_deaths < MAX_BARREN_DEATHS {
            let pause = BARREN_PAUSE << job.barren_deaths;
            self.workers[slot].not_before = Some(now + pause);
            return;
        }
        let loss = Loss::Undeliverable(format!(
            "{MAX_BARREN_DEATHS} workers died before they could begin it; the last one, {lost}"
        ));
        self.lose_all_todo(key, &loss);
    }

    /// The first position of the flight ran when its worker died.
    fn blame(&mut self, flight: Flight, doom: Option<Doom>, lost: &WorkerLost) {
        let loss = match doom {
            None => Loss::WorkerLost(lost.clone()),
            Some(Doom::TimedOut) => Loss::TimedOut,
            Some(Doom::Cancelled) => Loss::Killed,
            Some(Doom::Stuck) => Loss::WorkerLost(lost.clone()),
            Some(Doom::Protocol) => {
                Loss::WorkerLost(WorkerLost::new(lost.pid, ProcessEnd::Protocol))
            }
        };
        let rest = Flight {
            next: flight.next + 1,
            ..flight
        };
        self.stats.lost += 1;
        self.lose_range(rest.key, rest.next - 1..rest.next, &loss);
        self.requeue(VecDeque::from([rest]));
    }

    /// Takes back what has not started of a job, and may kill what has.
    fn withdraw_job(&mut self, key: Key, kill: bool, out: &mut impl Outside) -> CancelOutcome {
        let mut outcome = CancelOutcome::TooLate;
        if let Some(job) = self.jobs.get_mut(key) {
            job.cancelled = true;
            if !job.todo.is_empty() {
                outcome = CancelOutcome::NotStarted;
            }
        }
        self.lose_all_todo(key, &Loss::Cancelled);
        for slot in 0..self.workers.len() {
            for flight in self.workers[slot].flights_of(key) {
                if out.take_back(slot, flight.seq) {
                    self.withdraw(slot, &flight);
                    if outcome == CancelOutcome::TooLate {
                        outcome = CancelOutcome::NotStarted;
                    }
                } else if kill && out.stop_message(slot, flight.seq) {
                    self.workers[slot].stop_flight(flight.seq);
                    self.doom(slot, Doom::Cancelled, out);
                    outcome = CancelOutcome::Killed;
                }
            }
        }
        outcome
    }

    /// Forgets a message that its worker will not start.
    fn withdraw(&mut self, slot: usize, flight: &Flight) {
        let worker = &mut self.workers[slot];
        worker.flights.retain(|other| other.seq != flight.seq);
        worker.refund(flight);
        match worker.outbox.front_mut() {
            // The worker, when it comes to it, waits for the rest of a payload that is about
            // to go.
            Some(first) if worker.sent > 0 && first.is_job(flight.seq) => {
                *first = Outgoing::Abandon;
                worker.sent = 0;
            }
            _ => worker.withdraw_unsent(flight.seq),
        }
        self.lose_range(flight.key, flight.next..flight.end, &Loss::Cancelled);
    }

    fn doom(&mut self, slot: usize, doom: Doom, out: &mut impl Outside) {
        if self.workers[slot].condemn(doom) {
            out.kill(slot);
        }
    }

    /// Kills the worker if its item has run too long.
    fn check_limit(&mut self, slot: usize, now: Nanos, out: &mut impl Outside) {
        let worker = &mut self.workers[slot];
        if worker.limit.is_none_or(|at| at > now) {
            return;
        }
        worker.limit = None;
        if worker.is_doomed() {
            return;
        }
        let timed = |seq| {
            worker
                .flights
                .iter()
                .find(|flight| flight.seq == seq && flight.timed)
        };
        let running = out.last_item(slot).and_then(|(current, started)| {
            let flight = timed(current.seq)?;
            (current.position >= flight.next).then_some((current, started, flight.key))
        });
        let Some((current, started, key)) = running else {
            // Between two items, or in a message without a limit: look again as soon as an
            // item that starts now could have run too long.
            let timeouts = worker.flights.iter().filter(|flight| flight.timed);
            let soonest = timeouts
                .filter_map(|flight| self.jobs.get(flight.key)?.timeout)
                .min();
            if let Some(timeout) = soonest {
                self.workers[slot].limit_at(now.saturating_add(timeout));
            }
            return;
        };
        let Some(timeout) = self.jobs.get(key).and_then(|job| job.timeout) else {
            return;
        };
        let end = started.saturating_add(timeout);
        if end > now {
            // Not later: the item starts anew when the state that it needs is made.
            self.workers[slot].limit_at(end.min(now.saturating_add(timeout)));
        } else if out.stop_item(slot, current) {
            self.stats.timed_out += 1;
            self.doom(slot, Doom::TimedOut, out);
        } else {
            self.workers[slot].limit_at(now.saturating_add(timeout));
        }
    }

    /// When a worker that was sent something is taken to be stuck, unless it has begun it:
    /// in an exit hook that hangs, or because it was stopped.
    fn stuck_at(&self, worker: &Worker) -> Option<Nanos> {
        let has_some = !worker.flights.is_empty() && !worker.tried_replacing;
        let may_be = worker.state == State::Ready && (has_some || worker.suspect.is_some());
        let last_sign = worker.last_word.max(worker.last_taken);
        may_be.then_some(last_sign.saturating_add(nanos(self.settings.exit_timeout)))
    }

    /// Replaces a worker that does not begin what it was sent; nothing is lost by that.
    fn check_stuck(&mut self, slot: usize, now: Nanos, out: &mut impl Outside) {
        let worker = &mut self.workers[slot];
        if worker.suspect.is_some_and(|seq| out.has_met(slot, seq)) {
            worker.suspect = None;
        }
        if self.stuck_at(&self.workers[slot]).is_none_or(|at| at > now) {
            return;
        }
        let worker = &mut self.workers[slot];
        worker.tried_replacing = true;
        let first = worker.flights.front().map(|flight| flight.seq);
        if first.is_some_and(|seq| out.take_back(slot, seq)) {
            let first = worker.flights.pop_front();
            self.requeue(first.into_iter().collect());
            self.doom(slot, Doom::Stuck, out);
        } else if first.is_none() {
            self.doom(slot, Doom::Stuck, out);
        }
    }

    /// Says good-bye to workers that have run all they may, or that nobody needs any more.
    fn dismiss(&mut self, now: Nanos, out: &mut impl Outside) {
        let closing = self.phase != Phase::Open && self.jobs.is_empty();
        let until = now.saturating_add(nanos(self.settings.exit_timeout));
        for slot in 0..self.workers.len() {
            let worker = &mut self.workers[slot];
            let spent = worker.budget == Some(0);
            if (closing || spent) && worker.say_good_bye(until) {
                self.pump(slot, now, out);
            }
        }
    }

    // ---- Setups -----------------------------------------------------------------------

    /// Whether some job had this setup already.
    pub(crate) fn knows_setup(&self, setup: &Setup) -> bool {
        self.setups.iter().any(|(id, _)| *id == setup.id)
    }

    fn remember_setup(&mut self, setup: &Arc<Setup>) {
        if !self.knows_setup(setup) {
            self.setups.push((setup.id, Arc::downgrade(setup)));
        }
    }

    /// Has workers stop what they keep for setups that are gone. Whoever drops the last
    /// owner of one wakes the I/O thread.
    fn stop_setups(&mut self) {
        let workers = &mut self.workers;
        self.setups.retain(|(id, setup)| {
            let lives = setup.strong_count() > 0;
            if !lives {
                workers.iter_mut().for_each(|worker| worker.stop(*id));
            }
            lives
        });
    }
}

#[cfg(test)]
mod tests;
