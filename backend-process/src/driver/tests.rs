//! A whole world for a driver, without a process: workers are queues of messages, and a
//! list of choices says what happens next. Every order of a few events is played, and
//! many random orders of many.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::prelude::*;
use taskfarm_core::remote::Indices;

use super::*;

/// What a worker of the world is like.
#[derive(Debug, Default)]
struct FakeWorker {
    /// Messages that were sent, the last one perhaps in part, by ascending number.
    messages: VecDeque<FakeMessage>,
    slots: HashMap<u32, FakeSlot>,
    /// The position that the first message has come to, once it is begun.
    at: Option<u32>,
    /// Outcomes that were written and not read.
    written: Vec<Batch>,
    last: Option<Current>,
    /// It was stopped, and does nothing more.
    halted: bool,
    killed: bool,
    bye: bool,
}

/// A message on its way.
#[derive(Debug)]
struct FakeMessage {
    header: Header,
    /// The bytes of its payload.
    len: u64,
    /// How many of them have arrived.
    arrived: u64,
    /// How many of those the worker has not taken out of the ring.
    in_ring: u64,
}

impl FakeMessage {
    fn is_whole(&self) -> bool {
        self.arrived == self.len
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FakeSlot {
    Waiting,
    Running,
    Taken,
    Stopped,
    Done,
}

/// The processes of the world.
#[derive(Debug, Default)]
struct World {
    /// How much of payloads a worker's ring holds, if that is little. It is no multiple of an
    /// item's four bytes, so messages are cut anywhere.
    ring: Option<u64>,
    workers: Vec<Option<FakeWorker>>,
    wanted: Vec<usize>,
    /// Starts of items, as (job, position); the job is the function's first number.
    started: HashSet<(i64, u32)>,
    started_twice: bool,
}

impl Outside for World {
    fn start(&mut self, slot: usize) {
        self.wanted.push(slot);
    }

    fn open(&mut self, slot: usize, seq: u32) {
        if let Some(worker) = &mut self.workers[slot] {
            worker.slots.insert(seq, FakeSlot::Waiting);
        }
    }

    fn send(&mut self, slot: usize, header: &Header, parts: Parts<'_>, sent: u64) -> Option<u64> {
        let ring = self.ring.unwrap_or(u64::MAX);
        let worker = self.workers[slot].as_mut()?;
        let used: u64 = worker.messages.iter().map(|message| message.in_ring).sum();
        let len = (4 * parts.entries.len() + parts.bytes.len()) as u64;
        let part = (ring - used).min(len - sent);
        if header.kind == Kind::Fragment {
            // No more of the last message comes.
            let message = worker.messages.back_mut()?;
            message.len = message.arrived;
            return Some(0);
        }
        if sent == 0 {
            let is_free = worker.messages.iter().all(FakeMessage::is_whole);
            assert!(is_free, "a message begins in the middle of another one");
            if part == 0 && len > 0 {
                return None;
            }
            match header.kind {
                Kind::Job => {
                    worker.messages.push_back(FakeMessage {
                        header: *header,
                        len,
                        arrived: 0,
                        in_ring: 0,
                    });
                }
                Kind::Bye => worker.bye = true,
                _ => {}
            }
        }
        if let Some(message) = worker.messages.back_mut() {
            assert!(header.kind != Kind::Job || message.header.seq == header.seq);
            assert!(header.kind != Kind::Job || message.arrived == sent);
            message.arrived += part;
            message.in_ring += part;
        }
        Some(sent + part)
    }

    fn has_met(&self, slot: usize, seq: u32) -> bool {
        let worker = self.workers[slot].as_ref();
        let first = worker.and_then(|worker| worker.messages.front());
        first.is_none_or(|first| {
            let is_begun = worker.is_some_and(|worker| worker.at.is_some());
            first.header.seq > seq || (first.header.seq == seq && is_begun)
        })
    }

    fn free_slots(&self, _: usize, _: u32) -> u32 {
        1
    }

    fn ring_at(&mut self, _: usize, _: u32) {}

    fn arm(&mut self, _: usize, _: bool) {}

    fn take_back(&mut self, slot: usize, seq: u32) -> bool {
        self.change(slot, seq, FakeSlot::Waiting, FakeSlot::Taken)
    }

    fn stop_message(&mut self, slot: usize, seq: u32) -> bool {
        self.change(slot, seq, FakeSlot::Running, FakeSlot::Stopped)
    }

    fn stop_item(&mut self, slot: usize, current: Current) -> bool {
        let worker = self.workers[slot].as_mut();
        worker.is_some_and(|worker| {
            let runs = worker.last == Some(current) && worker.at == Some(current.position);
            runs && {
                worker.slots.insert(current.seq, FakeSlot::Stopped);
                // It finds that out when the item ends, before it publishes the outcome.
                worker.halted = true;
                true
            }
        })
    }

    fn last_item(&self, slot: usize) -> Option<(Current, Nanos)> {
        Some((self.workers[slot].as_ref()?.last?, 0))
    }

    fn kill(&mut self, slot: usize) {
        if let Some(worker) = &mut self.workers[slot] {
            worker.killed = true;
        }
    }
}

impl World {
    fn change(&mut self, slot: usize, seq: u32, from: FakeSlot, to: FakeSlot) -> bool {
        let Some(worker) = &mut self.workers[slot] else {
            return false;
        };
        let state = worker.slots.get_mut(&seq).filter(|state| **state == from);
        state.map(|state| *state = to).is_some()
    }

    /// The worker takes one step: takes what has arrived of a message, begins an item, or
    /// ends the one that it has begun.
    fn step(&mut self, slot: usize) {
        let Some(worker) = &mut self.workers[slot] else {
            return;
        };
        // One that was killed may go on until its death is noticed.
        if worker.halted {
            return;
        }
        let Some(message) = worker.messages.front_mut() else {
            return;
        };
        let header = message.header;
        let state = worker.slots[&header.seq];
        if state == FakeSlot::Taken && message.is_whole() {
            worker.messages.pop_front();
            return;
        }
        if state == FakeSlot::Waiting {
            // Before it receives the payload.
            worker.slots.insert(header.seq, FakeSlot::Running);
            self.begin(slot, &header, header.first);
            return;
        }
        message.in_ring = 0;
        let (true, Some(position)) = (message.is_whole(), worker.at) else {
            return;
        };
        worker.written.push(Batch {
            seq: header.seq,
            first: position,
            outcomes: Bundle {
                bytes: Vec::new(),
                lengths: vec![0],
            },
        });
        if state == FakeSlot::Stopped {
            // It looks before an item begins, not before an outcome is published.
            worker.halted = true;
            worker.at = None;
            return;
        }
        if position + 1 < header.first + header.count {
            self.begin(slot, &header, position + 1);
        } else {
            worker.slots.insert(header.seq, FakeSlot::Done);
            worker.messages.pop_front();
            worker.at = None;
        }
    }

    /// The items of a job that run now.
    fn running(&self, job: i64) -> Vec<(i64, u32)> {
        let workers = self.workers.iter().flatten();
        let items = workers
            .filter(|worker| !worker.killed)
            .filter_map(|worker| {
                let header = worker.messages.front()?.header;
                Some((header.function[0], worker.at?))
            });
        items.filter(|item| item.0 == job).collect()
    }

    fn begin(&mut self, slot: usize, header: &Header, position: u32) {
        if let Some(worker) = &mut self.workers[slot] {
            worker.at = Some(position);
            worker.last = Some(Current {
                seq: header.seq,
                position,
            });
        }
        if !self.started.insert((header.function[0], position)) {
            self.started_twice = true;
        }
    }
}

/// A driver in its world, with what the jobs were told.
struct Play {
    driver: Driver<i64>,
    world: World,
    now: Nanos,
    keys: Vec<Key>,
    lens: Vec<u32>,
    told: HashMap<i64, HashMap<u32, &'static str>>,
    replies: HashMap<Key, i64>,
    ended: HashSet<i64>,
    /// What had started of a job when its cancellation returned.
    started_at_cancel: HashMap<usize, HashSet<(i64, u32)>>,
    /// The jobs that somebody has cancelled.
    cancelled: HashSet<i64>,
    /// What ran when its cancellation said that it was killed.
    killed: HashSet<(i64, u32)>,
    is_broken: bool,
}

impl Play {
    fn new(num_workers: usize, max_tasks: Option<u64>) -> Self {
        let settings = Settings {
            num_workers,
            max_tasks,
            exit_timeout: Duration::from_secs(1),
        };
        Self {
            driver: Driver::new(settings),
            world: World {
                workers: (0..num_workers).map(|_| None).collect(),
                ..World::default()
            },
            now: 1,
            keys: Vec::new(),
            lens: Vec::new(),
            told: HashMap::new(),
            replies: HashMap::new(),
            ended: HashSet::new(),
            started_at_cancel: HashMap::new(),
            cancelled: HashSet::new(),
            killed: HashSet::new(),
            is_broken: false,
        }
    }

    /// With rings that hold little.
    fn with_small_rings(num_workers: usize) -> Self {
        let mut play = Self::new(num_workers, None);
        play.world.ring = Some(5);
        play
    }

    fn submit(&mut self, len: u32, timeout: Option<Nanos>) {
        self.submit_bytes(len, 0, timeout);
    }

    /// Items of which the first has so many bytes.
    fn submit_bytes(&mut self, len: u32, num_bytes: usize, timeout: Option<Nanos>) {
        let number = self.keys.len() as i64;
        let job = NewJob {
            function: [number, 0, 0, 0],
            setup: None,
            timeout,
            items: Bundle {
                bytes: vec![0; num_bytes],
                lengths: {
                    let mut lengths = vec![0; len as usize];
                    lengths[0] = (num_bytes as u32) << 3;
                    lengths
                },
            },
            indices: Indices::default(),
            reply: number,
        };
        if *self.driver.phase() == Phase::Closing {
            self.cancelled.insert(number);
        }
        let key = self.driver.submit(job, self.now, &mut self.world);
        self.keys.push(key);
        self.lens.push(len);
    }

    /// One event, as `choice` says.
    fn happen(&mut self, choice: u8) {
        let slots = self.world.workers.len();
        let slot = usize::from(choice / 16) % slots;
        match choice % 9 {
            0 | 1 => self.world.step(slot),
            2 => self.look(slot),
            3 => self.launch(),
            4 => self.die(slot),
            5 => self.tick(1),
            6 => self.tick(300 * MICRO),
            7 => self.cancel(usize::from(choice / 16)),
            _ => {
                if self.world.workers[slot].is_some() {
                    self.driver.ready(slot, self.now);
                }
            }
        }
        self.check_end();
        self.hear();
    }

    fn look(&mut self, slot: usize) {
        let Some(worker) = &mut self.world.workers[slot] else {
            return;
        };
        let mut written = std::mem::take(&mut worker.written);
        let news = !written.is_empty();
        if news {
            self.driver
                .received(slot, &mut written, self.now, &mut self.world);
        }
        self.driver.looked(slot, news, self.now, &mut self.world);
    }

    /// The next start that is still wanted: the pool may have broken since it was asked for.
    fn next_wanted(&mut self) -> Option<usize> {
        let wanted = |slot: &usize| self.driver.workers()[*slot].state == State::Wanted;
        self.world.wanted.retain(wanted);
        self.world.wanted.pop()
    }

    fn launch(&mut self) {
        if let Some(slot) = self.next_wanted() {
            self.world.workers[slot] = Some(FakeWorker::default());
            self.driver.launched(slot, self.now, &mut self.world);
        }
    }

    /// A start fails: before there is a process, or before it says hello.
    fn fail_start(&mut self) {
        let lost = WorkerLost::new(1, ProcessEnd::Signaled(9));
        let failure = StartFailure::Died(lost);
        let starting = (0..self.world.workers.len()).find(|&slot| {
            let worker = self.world.workers[slot].as_ref();
            let has_begun = worker.is_some_and(|worker| worker.last.is_some());
            self.driver.workers()[slot].state == State::Starting && !has_begun
        });
        if let Some(slot) = self.next_wanted().or(starting) {
            self.world.workers[slot] = None;
            self.driver
                .start_failed(&[slot], &failure, self.now, &mut self.world);
        }
    }

    fn die(&mut self, slot: usize) {
        if self.world.workers[slot].is_none() {
            return;
        }
        self.look(slot);
        let last = self.world.workers[slot]
            .take()
            .and_then(|worker| worker.last);
        let lost = WorkerLost::new(1, ProcessEnd::Signaled(9));
        self.driver
            .died(slot, lost, last, self.now, &mut self.world);
    }

    fn tick(&mut self, by: Nanos) {
        self.now += by;
        self.driver.tick(self.now, &mut self.world);
    }

    fn cancel(&mut self, nth: usize) {
        let Some(&key) = self.keys.get(nth % self.keys.len().max(1)) else {
            return;
        };
        let nth = nth % self.keys.len();
        let before = self.world.started.clone();
        let running = self.world.running(nth as i64);
        let outcome = self.driver.cancel(key, &mut self.world);
        // Even if it came too late for what runs: what would follow does not.
        self.cancelled.insert(nth as i64);
        match outcome {
            CancelOutcome::TooLate => {}
            CancelOutcome::NotStarted | CancelOutcome::Killed => {
                self.started_at_cancel.entry(nth).or_insert(before);
            }
            other => panic!("{other:?} is no answer of a process pool"),
        }
        if outcome == CancelOutcome::Killed {
            self.killed.extend(running);
        }
    }

    fn close(&mut self, how: Shutdown) {
        if how != Shutdown::Drain {
            self.cancelled.extend(0..self.keys.len() as i64);
        }
        self.driver.shutdown(how, &mut self.world);
    }

    fn abort(&mut self) {
        self.close(Shutdown::Abort);
    }

    fn break_down(&mut self) {
        let why = "for this reason".to_owned();
        self.driver.break_down(why, &mut self.world);
        self.is_broken = true;
    }

    fn hear(&mut self) {
        let mut notes = Vec::new();
        self.driver.take_notes(&mut notes);
        for note in notes {
            if let Some(reply) = note.reply {
                assert!(self.replies.insert(note.key, reply).is_none());
            }
            let number = self.replies[&note.key];
            assert!(!self.ended.contains(&number), "news after the last");
            let told = self.told.entry(number).or_default();
            let (positions, what) = match note.news {
                News::Delivered { first, outcomes } => {
                    (first..first + outcomes.len() as u32, "delivered")
                }
                News::Lost { position, loss } => {
                    let what = match loss {
                        Loss::WorkerLost(_) => "lost",
                        Loss::TimedOut => "timed out",
                        Loss::Cancelled => "cancelled",
                        Loss::Killed => "killed",
                        _ => "undeliverable",
                    };
                    (position..position + 1, what)
                }
            };
            for position in positions {
                assert!(told.insert(position, what).is_none(), "told twice");
            }
            if note.last.is_some() {
                self.ended.insert(number);
                self.replies.remove(&note.key);
            }
        }
        assert!(!self.world.started_twice, "an item has started twice");
    }

    /// A pool that says it is finished, whenever it is asked, has no process and no news:
    /// nobody would look after them any more.
    fn check_end(&self) {
        if self.driver.is_finished() {
            let living = self.world.workers.iter().flatten().count();
            assert_eq!(living, 0, "processes are left");
            let vacant = self.driver.workers().iter().all(Worker::is_vacant);
            assert!(vacant, "starts are wanted");
            let told: usize = self.told.values().map(HashMap::len).sum();
            assert_eq!(told as u32, self.lens.iter().sum(), "news are left");
        }
    }

    /// Lets everything happen that can, and checks how it ended.
    fn finish(self) {
        self.finish_and_tell();
    }

    /// As `finish`; how each item has ended.
    fn finish_and_tell(mut self) -> HashMap<(i64, u32), &'static str> {
        let mut ends = HashMap::new();
        self.driver.shutdown(Shutdown::Drain, &mut self.world);
        for round in 0..10_000 {
            while !self.world.wanted.is_empty() {
                self.launch();
            }
            for slot in 0..self.world.workers.len() {
                self.driver.ready(slot, self.now);
                self.world.step(slot);
                self.look(slot);
                let gone = self.world.workers[slot]
                    .as_ref()
                    .is_some_and(|worker| worker.killed || worker.bye);
                if gone {
                    self.die(slot);
                    self.check_end();
                }
            }
            self.tick(MILLI);
            self.check_end();
            self.hear();
            if self.driver.is_finished() {
                break;
            }
            assert!(
                round < 9_999,
                "a closed pool never ended: {:?}",
                self.driver
            );
        }
        for (number, &len) in self.lens.iter().enumerate() {
            let told = self.told.remove(&(number as i64)).unwrap_or_default();
            assert_eq!(told.len() as u32, len, "positions that nobody was told of");
            for (position, what) in told {
                let started = self.world.started.contains(&(number as i64, position));
                match what {
                    "delivered" | "lost" | "timed out" | "killed" => {
                        assert!(started, "{what} unstarted")
                    }
                    // Nobody waits for what runs when a pool breaks.
                    "undeliverable" if self.is_broken => {}
                    _ => assert!(!started, "{what}, but it has started"),
                }
                let nobody_asked = !self.cancelled.contains(&(number as i64));
                let is_cancelled = matches!(what, "cancelled" | "killed");
                assert!(!(is_cancelled && nobody_asked), "{what} unasked");
                if let Some(before) = self.started_at_cancel.get(&number) {
                    let began_before = before.contains(&(number as i64, position));
                    assert!(!started || began_before, "started after its cancellation");
                }
                ends.insert((number as i64, position), what);
            }
        }
        ends
    }
}

/// Calls `play` with every list of `depth` choices.
fn every_order<C: Copy>(choices: &[C], depth: usize, play: &mut impl FnMut(&[C])) {
    fn go<C: Copy>(choices: &[C], depth: usize, list: &mut Vec<C>, play: &mut impl FnMut(&[C])) {
        if list.len() == depth {
            return play(list);
        }
        for &choice in choices {
            list.push(choice);
            go(choices, depth, list, play);
            list.pop();
        }
    }
    go(choices, depth, &mut Vec::new(), play);
}

const STEP_0: u8 = 0;
const STEP_1: u8 = 1 + 16 + 1;
const LOOK_0: u8 = 2;
const DIE_0: u8 = 4;
const CANCEL_0: u8 = 7;
const TICK: u8 = 6;

#[test]
fn choices_mean_what_their_names_say() {
    assert_eq!(
        [STEP_0, STEP_1 % 9, LOOK_0, DIE_0, CANCEL_0, TICK],
        [0, 0, 2, 4, 7, 6]
    );
    assert_eq!((STEP_1 / 16) % 2, 1);
}

#[test]
fn every_order_of_steps_looks_deaths_and_cancels_ends_each_item_once() {
    let choices = [STEP_0, STEP_1, LOOK_0, DIE_0, CANCEL_0, TICK];
    every_order(&choices, 6, &mut |list| {
        let mut play = Play::new(2, None);
        play.submit(2, None);
        play.submit(1, None);
        play.launch();
        play.launch();
        for &choice in list {
            play.happen(choice);
        }
        play.finish();
    });
}

#[test]
fn every_order_with_time_limits_and_one_item_per_worker_ends_each_item_once() {
    let choices = [STEP_0, LOOK_0, DIE_0, CANCEL_0, TICK];
    every_order(&choices, 6, &mut |list| {
        let mut play = Play::new(1, Some(1));
        play.submit(3, Some(200 * MICRO));
        play.launch();
        for &choice in list {
            play.happen(choice);
            play.launch();
        }
        play.finish();
    });
}

#[test]
fn every_order_with_starts_that_fail_and_shutdowns_ends_each_item_once() {
    #[derive(Clone, Copy)]
    enum Event {
        Choice(u8),
        StartFails,
        Submit,
        Close(Shutdown),
    }
    const LAUNCH: u8 = 3;
    let choices = [
        Event::Choice(STEP_0),
        Event::Choice(LOOK_0),
        Event::Choice(DIE_0),
        Event::Choice(LAUNCH),
        Event::StartFails,
        Event::Submit,
        Event::Close(Shutdown::Drain),
        Event::Close(Shutdown::CancelQueued),
        Event::Close(Shutdown::Abort),
    ];
    every_order(&choices, 5, &mut |list| {
        let mut play = Play::new(1, None);
        play.submit(2, None);
        play.launch();
        for &event in list {
            match event {
                Event::Choice(choice) => play.happen(choice),
                Event::StartFails => play.fail_start(),
                Event::Submit => play.submit(1, None),
                Event::Close(how) => play.close(how),
            }
            play.check_end();
            play.hear();
        }
        play.finish();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_order_of_many_events_ends_each_item_once(
        jobs in proptest::collection::vec((1_u32..6, any::<bool>()), 1..12),
        choices in proptest::collection::vec(any::<u8>(), 0..300),
        max_tasks in proptest::option::of(1_u64..5),
    ) {
        let mut play = Play::new(3, max_tasks);
        let mut jobs = jobs.into_iter();
        for (nth, choice) in choices.into_iter().enumerate() {
            if nth % 3 == 0
                && let Some((len, timed)) = jobs.next() {
                    play.submit(len, timed.then_some(250 * MICRO));
                }
            play.happen(choice);
        }
        for (len, _) in jobs {
            play.submit(len, None);
        }
        play.finish();
    }

    #[test]
    fn any_moment_to_abort_ends_each_item_once(
        lens in proptest::collection::vec(1_u32..6, 1..8),
        choices in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut play = Play::new(2, None);
        for len in lens {
            play.submit(len, None);
        }
        for choice in choices {
            play.happen(choice);
        }
        play.abort();
        play.finish();
    }
}

#[test]
fn three_failed_starts_in_a_row_end_everything_with_the_reason() {
    let mut play = Play::new(1, None);
    play.submit(2, None);
    for _ in 0..3 {
        let slot = play.world.wanted.pop().expect("a start is wanted");
        let failure = StartFailure::Error("no more processes".to_owned());
        play.driver
            .start_failed(&[slot], &failure, play.now, &mut play.world);
        play.tick(1_000 * MILLI);
    }
    play.hear();
    assert!(matches!(play.driver.phase(), Phase::Broken(why) if why.contains("no more processes")));
    assert_eq!(
        play.told[&0].values().copied().collect::<Vec<_>>(),
        ["undeliverable"; 2]
    );
}

#[test]
fn an_item_that_waits_behind_a_long_one_moves_to_an_idle_worker() {
    let mut play = Play::new(2, None);
    play.submit(1, None);
    play.launch();
    play.world.step(0);
    play.submit(1, None);
    play.launch();
    play.tick(300 * MICRO);
    play.world.step(1);
    assert!(play.world.started.contains(&(1, 0)), "{:?}", play.driver);
    play.finish();
}

/// One that was handed out and not sent waited there until something else happened.
#[test]
fn a_big_job_is_sent_by_the_io_thread_as_soon_as_it_is_handed_out() {
    let mut play = Play::new(1, None);
    play.submit(1, None);
    play.launch();
    play.driver.ready(0, play.now);
    let count = |play: &Play| play.driver.workers()[0].flights.len();
    // Until the worker has as much as it should.
    while count(&play) == play.keys.len() {
        play.submit_bytes(1, BIG, None);
        assert_eq!(count(&play) + 1, play.keys.len(), "the caller leaves it");
        assert!(play.driver.take_wants_io());
        play.tick(1);
        assert!(play.driver.workers()[0].outbox.is_empty(), "it is sent");
    }
    let had = count(&play);
    for _ in 0..had {
        play.world.step(0);
        play.world.step(0);
    }
    play.look(0);
    play.tick(1);
    assert_eq!(count(&play), 1, "the one that waited in the queue");
    assert!(play.driver.workers()[0].outbox.is_empty(), "it is sent");
    play.finish();
}

#[test]
fn idle_workers_whose_zygote_is_given_up_get_nothing_more() {
    let mut play = Play::new(1, None);
    play.submit(1, None);
    play.launch();
    play.driver.ready(0, play.now);
    play.world.step(0);
    play.world.step(0);
    play.look(0);
    play.hear();
    assert!(play.driver.workers()[0].flights.is_empty(), "it is idle");
    play.driver.let_idle_workers_go(&mut play.world);
    play.submit(1, None);
    assert!(play.driver.workers()[0].flights.is_empty(), "it dies");
    play.die(0);
    let ends = play.finish_and_tell();
    assert_eq!(ends[&(1, 0)], "delivered");
}

#[test]
fn a_silent_pool_has_nothing_to_wait_for() {
    let mut play = Play::new(2, None);
    play.submit(1, None);
    play.launch();
    play.driver.ready(0, play.now);
    play.world.step(0);
    for _ in 0..5 {
        play.tick(2 * MILLI);
        play.look(0);
    }
    // Once more, to see that the item was begun at all.
    let last = play.driver.next_tick().expect("a last look");
    play.tick(last - play.now);
    assert_eq!(play.driver.next_tick(), None, "one long item");
    play.world.step(0);
    play.look(0);
    play.hear();
    assert_eq!(play.driver.next_tick(), None, "idle");
    play.finish();
}

#[test]
fn a_message_that_its_worker_does_not_begin_moves_to_an_idle_one() {
    let (mut play, stopped) = one_does_not_begin();
    let exit_timeout = nanos(play.driver.settings.exit_timeout);
    play.tick(exit_timeout);
    assert!(play.driver.workers()[stopped].is_doomed());
    play.finish();
}

#[test]
fn a_worker_that_goes_on_is_trusted_again() {
    let (mut play, stopped) = one_does_not_begin();
    // It passes over the message that was taken back.
    play.world.step(stopped);
    play.tick(MILLI);
    assert!(
        !play.driver.workers()[stopped].flights.is_empty(),
        "it has work again"
    );
    let exit_timeout = nanos(play.driver.settings.exit_timeout);
    play.world.step(stopped);
    play.tick(exit_timeout);
    assert!(!play.driver.workers()[stopped].is_doomed());
    play.finish();
}

/// One of two workers does not begin its only message, which the other one gets; another
/// message waits.
fn one_does_not_begin() -> (Play, usize) {
    let mut play = Play::new(2, None);
    play.submit(1, None);
    play.submit(1, None);
    play.launch();
    play.launch();
    for slot in 0..2 {
        play.driver.ready(slot, play.now);
        play.world.step(slot);
        play.world.step(slot);
        play.look(slot);
    }
    play.hear();
    play.submit(1, None);
    let first = play
        .driver
        .workers()
        .iter()
        .position(|worker| !worker.flights.is_empty());
    let stopped = first.expect("somebody was sent it");
    play.tick(LONG_PATIENCE);
    assert!(play.driver.workers()[stopped].flights.is_empty());
    assert!(!play.driver.workers()[1 - stopped].flights.is_empty());
    play.submit(1, None);
    assert!(
        play.driver.workers()[stopped].flights.is_empty(),
        "it is not trusted"
    );
    (play, stopped)
}

#[test]
fn an_item_past_its_limit_is_told_as_such() {
    let mut play = Play::new(1, None);
    play.submit(2, Some(200 * MICRO));
    play.launch();
    play.driver.ready(0, play.now);
    play.world.step(0);
    play.tick(300 * MICRO);
    play.die(0);
    play.hear();
    assert_eq!(play.told[&0], HashMap::from([(0, "timed out")]));
    play.finish();
}

#[test]
fn an_abort_kills_what_runs() {
    let mut play = Play::new(1, None);
    play.submit(2, None);
    play.launch();
    play.driver.ready(0, play.now);
    play.world.step(0);
    play.abort();
    let worker = play.world.workers[0].as_ref();
    assert!(worker.is_some_and(|worker| worker.killed));
    play.die(0);
    play.hear();
    assert_eq!(
        play.told[&0],
        HashMap::from([(0, "killed"), (1, "cancelled")])
    );
    play.finish();
}

// ---- Rings that hold little -----------------------------------------------------------

#[test]
fn every_order_with_messages_in_pieces_ends_each_item_once() {
    let choices = [STEP_0, STEP_1, LOOK_0, DIE_0, TICK];
    every_order(&choices, 5, &mut |list| {
        let mut play = Play::with_small_rings(2);
        play.submit(3, None);
        play.submit(1, None);
        play.submit(2, None);
        play.launch();
        play.launch();
        for &choice in list {
            play.happen(choice);
        }
        play.finish();
    });
}

/// One worker with a small ring and a pace at which messages may wait behind the one that
/// runs: item 0 of job 2 runs, and a part of job 3 is sent.
fn one_runs_and_one_is_half_sent() -> Play {
    let mut play = Play::with_small_rings(1);
    play.submit(1, None);
    play.launch();
    play.driver.ready(0, play.now);
    for _ in 0..2 {
        play.world.step(0);
        play.world.step(0);
        play.look(0);
        play.submit(1, None);
    }
    play.hear();
    play.world.step(0);
    play.submit(3, None);
    let worker = play.world.workers[0].as_ref().unwrap();
    let last = worker.messages.back().unwrap();
    assert!(worker.at.is_some() && !last.is_whole(), "{worker:?}");
    play
}

#[test]
fn cancelling_a_task_that_is_half_sent_harms_no_other_one() {
    let mut play = one_runs_and_one_is_half_sent();
    play.cancel(3);
    if play.world.workers[0].as_ref().unwrap().killed {
        play.die(0);
    }
    let ends = play.finish_and_tell();
    assert_eq!(ends[&(2, 0)], "delivered", "the innocent one");
    assert_eq!([0, 1, 2].map(|at| ends[&(3, at)]), ["cancelled"; 3]);
}

/// The worker never passes the number of a message that was not sent: after a thousand of them
/// there was no slot left.
#[test]
fn tasks_that_are_cancelled_unsent_use_no_numbers_up() {
    let mut play = one_runs_and_one_is_half_sent();
    play.cancel(3);
    let next_seq = |play: &Play| play.driver.workers()[0].next_seq;
    // What is left of the ring holds nothing of this one.
    let mut before = None;
    for n in 4..10 {
        play.submit(3, None);
        let taken_off = play.driver.workers()[0].outbox.iter();
        if taken_off
            .clone()
            .any(|waiting| waiting.is_job(next_seq(&play) - 1))
        {
            assert_eq!(play.driver.workers()[0].sent, 0);
            play.cancel(n);
            assert_eq!(*before.get_or_insert(next_seq(&play)), next_seq(&play));
        }
    }
    assert!(
        before.is_some(),
        "none waited unsent: {:?}",
        play.driver.workers()
    );
    play.finish();
}

#[test]
fn every_order_of_cancels_with_a_task_half_sent_ends_each_item_once() {
    let [cancel_2, cancel_3] = [7 + 9 * 3, 7 + 9 * 5];
    assert_eq!((cancel_2 / 16, cancel_3 / 16), (2, 3));
    let choices = [STEP_0, LOOK_0, cancel_2, cancel_3, DIE_0, TICK];
    every_order(&choices, 5, &mut |list| {
        let mut play = one_runs_and_one_is_half_sent();
        for &choice in list {
            play.happen(choice);
        }
        play.finish();
    });
}

// ---- A worker that is stopped after its last look -------------------------------------

#[test]
fn what_was_killed_has_no_result_though_its_worker_publishes_one() {
    let choices = [STEP_0, LOOK_0, CANCEL_0, TICK, DIE_0];
    every_order(&choices, 6, &mut |list| {
        let mut play = Play::new(1, None);
        play.submit(2, None);
        play.launch();
        for &choice in list {
            play.happen(choice);
        }
        let killed = play.killed.clone();
        let ends = play.finish_and_tell();
        for item in killed {
            assert_ne!(ends[&item], "delivered", "{item:?} in {list:?}");
        }
    });
}

#[test]
fn a_stopped_worker_publishes_one_more_outcome() {
    // The world of the test above does what real workers do.
    let mut play = Play::new(1, None);
    play.submit(2, None);
    play.launch();
    play.world.step(0);
    play.cancel(0);
    assert_eq!(Vec::from_iter(&play.killed), [&(0, 0)]);
    assert!(play.world.workers[0].as_ref().unwrap().killed);
    play.world.step(0);
    play.world.step(0);
    assert_eq!(play.world.workers[0].as_ref().unwrap().written.len(), 1);
}

// ---- A pool that breaks ---------------------------------------------------------------

/// Plays orders of a few events in which a pool breaks while it has starts in all states.
fn break_in_every_order(events: &[u8]) {
    const LAUNCH: u8 = 3;
    const READY_0: u8 = 8;
    const BREAK: u8 = u8::MAX;
    assert_eq!((LAUNCH % 9, READY_0 % 9), (3, 8));
    every_order(events, 5, &mut |list| {
        let mut play = Play::new(2, None);
        play.submit(2, None);
        play.submit(1, None);
        if events.contains(&STEP_0) {
            play.launch();
            play.launch();
        }
        for &event in list {
            match event {
                BREAK => play.break_down(),
                event => play.happen(event),
            }
        }
        play.break_down();
        play.hear();
        assert_eq!(play.ended.len(), 2, "everything has an end at once");
        play.finish();
    });
}

#[test]
fn a_pool_that_breaks_while_workers_run_ends() {
    break_in_every_order(&[STEP_0, STEP_1, 8, TICK, u8::MAX]);
}

#[test]
fn a_pool_that_breaks_while_starts_are_wanted_ends() {
    break_in_every_order(&[3, 8, DIE_0, TICK, u8::MAX]);
    break_in_every_order(&[STEP_0, LOOK_0, DIE_0, u8::MAX]);
}
