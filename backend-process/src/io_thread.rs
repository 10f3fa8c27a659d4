//! The I/O thread: waits for everything at once, tells the driver, and tells the jobs.
//!
//! One thread for all workers of a pool. It never runs user code, never blocks on a
//! worker, and sleeps without a time limit when nothing is due. (One task on an idle pool
//! passes it by: see [`seat`](crate::seat).) Should it panic all the
//! same (a bug here, or in the program's logger), it breaks the pool: everything ends, with
//! that reason.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::time::Timespec;
use taskfarm_core::remote::Reply;
use taskfarm_core::{ProcessEnd, WorkerLost};

use crate::builder::StartMethod;
use crate::driver::{Key, Nanos, Note, Outside, StartFailure, State};
use crate::exit_code;
use crate::lane::{Lane, WorkerEnd};
use crate::lanes::Running;
use crate::page::{self, Page};
use crate::pool::{Inner, Shared, tell};
use crate::start::{Event, Starter};
use crate::sys;

/// How often the pool looks at workers that cannot ring.
const MUTE_INTERVAL: Nanos = 10_000_000;

/// What an event of epoll is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Wake,
    Zygote,
    /// The bell of the lane with this id.
    Bell(u64),
    /// The end of the process of the lane with this id.
    End(u64),
}

impl Token {
    fn to_number(self) -> u64 {
        match self {
            Self::Wake => 0,
            Self::Zygote => 1,
            Self::Bell(lane) => lane << 2 | 2,
            Self::End(lane) => lane << 2 | 3,
        }
    }

    fn from_number(number: u64) -> Self {
        match (number & 3, number >> 2) {
            (0, _) => Self::Wake,
            (1, _) => Self::Zygote,
            (2, lane) => Self::Bell(lane),
            (_, lane) => Self::End(lane),
        }
    }
}

/// How long a worker may take, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// To say hello.
    pub(crate) start: Nanos,
    /// To make the state of a map with a time limit.
    pub(crate) init: Nanos,
}

/// Starts the thread.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    starter: Starter,
    timeouts: Timeouts,
) -> io::Result<JoinHandle<()>> {
    let mut thread = IoThread::new(shared, starter, timeouts)?;
    std::thread::Builder::new()
        .name("taskfarm-io".to_owned())
        .spawn(move || {
            sys::block_all_signals();
            let caught = catch_unwind(AssertUnwindSafe(|| thread.run()));
            if let Err(panic) = caught {
                thread.collapse(&*panic);
            }
        })
}

/// See the [module](self).
pub(crate) struct IoThread {
    shared: Arc<Shared>,
    epoll: OwnedFd,
    starter: Starter,
    timeouts: Timeouts,
    next_lane: u64,
    zygote_watched: bool,
    oom_kills: u64,
    /// Replies of jobs that have been told something, but not all.
    held: HashMap<Key, Reply>,
    /// The workers that have died, until those in their place are started.
    buried: Vec<Running>,
    /// A lane for the next worker, once one has died.
    spare: Option<(Lane, WorkerEnd)>,
}

impl IoThread {
    fn new(shared: Arc<Shared>, starter: Starter, timeouts: Timeouts) -> io::Result<Self> {
        let thread = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            starter,
            timeouts,
            next_lane: 1,
            zygote_watched: false,
            oom_kills: sys::count_oom_kills(),
            held: HashMap::new(),
            buried: Vec::new(),
            spare: None,
            shared,
        };
        thread.watch(thread.shared.wake.as_fd(), Token::Wake)?;
        thread.watch(thread.shared.patrol.timer(), Token::Wake)?;
        Ok(thread)
    }

    fn watch(&self, descriptor: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.to_number());
        Ok(epoll::add(
            &self.epoll,
            descriptor,
            data,
            epoll::EventFlags::IN,
        )?)
    }

    fn unwatch(&self, descriptor: BorrowedFd<'_>) {
        // It was watched, and is still open.
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    fn run(&mut self) {
        let shared = self.shared.clone();
        let mut tokens: Vec<Token> = Vec::new();
        let mut notes = Vec::new();
        loop {
            let events = self.read_events(&tokens);
            let mut inner = shared.inner.lock();
            for event in events {
                self.handle(event, &mut inner);
            }
            self.quiet_bells(&tokens, &mut inner);
            self.look_at_all(&mut inner);
            let Inner { driver, lanes, .. } = &mut *inner;
            driver.tick(sys::monotonic_nanos(), lanes);
            let to_start = std::mem::take(&mut lanes.to_start);
            let to_kill = std::mem::take(&mut lanes.to_kill);
            driver.take_wants_io();
            driver.take_wants_patrol();
            driver.take_notes(&mut notes);
            // After the last change, and dropped when all that is known was told.
            let (seats, was_rung) = inner.close_stale_seats();
            let Inner { driver, lanes, .. } = &mut *inner;
            // After the notes, which are told below: nobody would wake this thread again.
            let finished = driver.is_finished();
            let mute = lanes.any_is_mute();
            let next = driver
                .next_tick()
                .into_iter()
                .chain(lanes.next_hello())
                .chain(mute.then(|| sys::monotonic_nanos() + MUTE_INTERVAL))
                .min();
            drop(inner);
            let has_started = !to_start.is_empty();
            for pid in to_kill {
                self.starter.kill(pid);
            }
            // First of all: who is told something may want this CPU.
            for slot in to_start {
                self.start(slot);
            }
            self.tell(&mut notes);
            let some_died = !self.buried.is_empty();
            self.buried.clear();
            if some_died && has_started {
                self.spare = self.spare.take().or_else(|| Lane::open().ok());
            }
            drop(seats);
            if finished {
                break;
            }
            // What is due may have changed with the processes that were started. What jobs
            // did when they were told wakes this thread by itself.
            let timeout = if has_started || was_rung {
                Some(0)
            } else {
                next
            };
            tokens = self.wait(timeout);
        }
        self.starter.close();
    }

    /// The thread has panicked: nothing may wait for it. What it was about to tell ended as
    /// dropped when it unwound; everything else ends now.
    fn collapse(&mut self, panic: &(dyn Any + Send)) {
        let said = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("something that is not a string");
        let why = format!("the pool's own thread panicked: {said}");
        let shared = self.shared.clone();
        let mut notes = Vec::new();
        let mut inner = shared.inner.lock();
        let Inner { driver, lanes, .. } = &mut *inner;
        driver.break_down(why, lanes);
        driver.take_notes(&mut notes);
        let workers = lanes.occupied().into_iter();
        let workers: Vec<Running> = workers.filter_map(|slot| lanes.take(slot)).collect();
        drop(inner);
        self.tell(&mut notes);
        for worker in workers {
            if let (Some(pid), Some(pidfd)) = (worker.pid, &worker.pidfd) {
                self.starter.end(pid, pidfd.as_fd());
            }
        }
        self.starter.close();
    }

    // ---- Waiting ----------------------------------------------------------------------

    /// Waits until something happens, or the time comes.
    fn wait(&self, until: Option<Nanos>) -> Vec<Token> {
        let left = until.map(|until| until.saturating_sub(sys::monotonic_nanos()));
        let timeout = left.map(|nanos| Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (nanos % 1_000_000_000) as _,
        });
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        let waited = epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref());
        if waited.is_err() {
            events.clear();
        }
        let tokens = events
            .iter()
            .map(|event| Token::from_number(event.data.u64()));
        tokens.collect()
    }

    /// What the zygote and the ends of executed workers say.
    fn read_events(&mut self, tokens: &[Token]) -> Vec<Event> {
        let mut events = Vec::new();
        for token in tokens {
            match token {
                Token::Wake => {
                    let mut count = [0; 8];
                    let _ = rustix::io::read(&self.shared.wake, &mut count);
                    self.shared.patrol.quiet();
                }
                Token::Zygote => self.starter.read(&mut events),
                Token::Bell(_) => {}
                Token::End(lane) => {
                    let inner = self.shared.inner.lock();
                    let slot = inner.lanes.find(|running| running.id == *lane);
                    let pid = slot.and_then(|slot| inner.lanes.pid(slot));
                    drop(inner);
                    events.extend(pid.map(|pid| self.starter.reap(pid)));
                }
            }
        }
        events
    }

    // ---- Workers ----------------------------------------------------------------------

    /// Starts a process for the slot.
    fn start(&mut self, slot: usize) {
        if self.shared.inner.lock().driver.workers()[slot].state != State::Wanted {
            // The pool broke since it was asked for.
            return;
        }
        let id = self.next_lane;
        self.next_lane += 1;
        let opened = self.spare.take().map_or_else(Lane::open, Ok);
        let opened = opened.and_then(|(lane, end)| {
            self.watch(lane.bell(), Token::Bell(id))?;
            let init_timeout = lane.page().init_timeout();
            init_timeout.store(self.timeouts.init, Ordering::Relaxed);
            Ok((lane, end))
        });
        let event = match opened {
            Ok((lane, end)) => {
                let now = sys::monotonic_nanos();
                let mut inner = self.shared.inner.lock();
                let running = Running {
                    lane,
                    id,
                    pid: None,
                    pidfd: None,
                    hello_by: Some(now.saturating_add(self.timeouts.start)),
                    is_mute: false,
                    seat: None,
                    last_seat: 0,
                    kill: false,
                };
                let Inner { driver, lanes, .. } = &mut *inner;
                lanes.put(slot, running);
                driver.launched(slot, now, lanes);
                drop(inner);
                self.starter.start(id, &end)
            }
            Err(error) => {
                let failure = StartFailure::Error(error.to_string());
                let mut inner = self.shared.inner.lock();
                let Inner { driver, lanes, .. } = &mut *inner;
                driver.start_failed(&[slot], &failure, sys::monotonic_nanos(), lanes);
                None
            }
        };
        self.watch_zygote();
        if let Some(event) = event {
            let shared = self.shared.clone();
            self.handle(event, &mut shared.inner.lock());
        }
    }

    fn watch_zygote(&mut self) {
        if let (Some(socket), false) = (self.starter.socket(), self.zygote_watched) {
            self.zygote_watched = self.watch(socket, Token::Zygote).is_ok();
        }
    }

    fn handle(&mut self, event: Event, inner: &mut Inner) {
        match event {
            Event::Forked { lane, pid, pidfd } => {
                let Some(slot) = inner.lanes.find(|running| running.id == lane) else {
                    return;
                };
                let executed = self.starter.method() == StartMethod::Exec;
                if let (true, Some(pidfd)) = (executed, &pidfd)
                    && let Err(error) = self.watch(pidfd.as_fd(), Token::End(lane))
                {
                    // Its death would go unnoticed.
                    self.starter.end(pid, pidfd.as_fd());
                    let why = format!("its process cannot be watched: {error}");
                    return self.handle(Event::NotForked { lane, why }, inner);
                }
                if let Some(running) = inner.lanes.get_mut(slot) {
                    running.pid = Some(pid);
                    running.pidfd = pidfd;
                    if running.kill {
                        inner.lanes.kill(slot);
                    }
                }
            }
            Event::NotForked { lane, why } => {
                if let Some(slot) = inner.lanes.find(|running| running.id == lane) {
                    let Inner { driver, lanes, .. } = inner;
                    lanes.take(slot);
                    let failure = StartFailure::Error(why);
                    driver.start_failed(&[slot], &failure, sys::monotonic_nanos(), lanes);
                }
            }
            Event::Ended { pid, ended } => {
                if let Some(slot) = inner.lanes.find(|running| running.pid == Some(pid)) {
                    self.bury(slot, pid, ended, inner);
                }
            }
            Event::ZygoteLost { why, agreed } => self.lose_zygote(&why, agreed, inner),
        }
    }

    /// A worker has ended: takes what it has left.
    fn bury(&mut self, slot: usize, pid: u32, ended: ProcessEnd, inner: &mut Inner) {
        inner.receive(slot, sys::monotonic_nanos());
        let Inner { driver, lanes, .. } = inner;
        let Some(running) = lanes.take(slot) else {
            return;
        };
        let page = running.lane.page();
        let phase = page.phase().load(Ordering::Acquire);
        let lost = WorkerLost::new(pid, self.judge(ended, page, phase, running.kill));
        let now = sys::monotonic_nanos();
        let state = driver.workers()[slot].state;
        if phase == page::STARTING && matches!(state, State::Starting | State::Wanted) {
            let failure = match exit_code::explain(ended) {
                None => StartFailure::Died(lost),
                Some(why) => StartFailure::Error(format!("process {pid} left at once: {why}")),
            };
            driver.start_failed(&[slot], &failure, now, lanes);
        } else {
            // A kill from outside says nothing about an item that was yet to be received.
            let was_killed = lost.ended == ProcessEnd::Signaled(libc::SIGKILL);
            let spared = was_killed && page.is_receiving();
            let last_item = page.last_item().filter(|_| !spared);
            driver.died(slot, lost, last_item, now, lanes);
        }
        self.buried.push(running);
    }

    /// How a worker really ended, as far as anybody can tell.
    fn judge(&mut self, ended: ProcessEnd, page: &Page, phase: u32, ours: bool) -> ProcessEnd {
        if phase == page::CONFUSED {
            return ProcessEnd::Protocol;
        }
        match ended {
            ProcessEnd::Signaled(libc::SIGKILL) if !ours => {
                let oom_kills = sys::count_oom_kills();
                let killed_for_memory = oom_kills > self.oom_kills;
                self.oom_kills = oom_kills;
                if killed_for_memory {
                    return ProcessEnd::OutOfMemory;
                }
                ended
            }
            ProcessEnd::Signaled(libc::SIGABRT)
                if page.was_refused_memory().load(Ordering::Relaxed) == 1 =>
            {
                ProcessEnd::MemoryLimit
            }
            _ => ended,
        }
    }

    /// Without the zygote, its workers die; this waits for them. The next start brings a new
    /// one.
    fn lose_zygote(&mut self, why: &str, agreed: bool, inner: &mut Inner) {
        self.zygote_watched = false;
        let mut without_process = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(1);
        for slot in inner.lanes.occupied() {
            let Some(running) = inner.lanes.get_mut(slot) else {
                continue;
            };
            // Who forked it is gone, so what this may not kill nobody can.
            let _ = running.kill();
            let Some(pid) = running.pid else {
                inner.lanes.take(slot);
                without_process.push(slot);
                continue;
            };
            if let Some(pidfd) = &running.pidfd {
                let left = deadline.saturating_duration_since(Instant::now());
                let _ = sys::wait_readable(&[pidfd.as_fd()], Some(left));
            }
            self.bury(slot, pid, ProcessEnd::Signaled(libc::SIGKILL), inner);
        }
        if !without_process.is_empty() {
            let Inner { driver, lanes, .. } = inner;
            let failure = StartFailure::Error(why.to_owned());
            driver.start_failed(&without_process, &failure, sys::monotonic_nanos(), lanes);
        }
        if !agreed {
            log::warn!("taskfarm-process: {why}");
        }
    }

    // ---- Outcomes ---------------------------------------------------------------------

    fn quiet_bells(&mut self, tokens: &[Token], inner: &mut Inner) {
        for token in tokens {
            let Token::Bell(lane) = token else {
                continue;
            };
            if let Some(slot) = inner.lanes.find(|running| running.id == *lane)
                && let Some(running) = inner.lanes.get_mut(slot)
                && !running.lane.quiet()
            {
                // It would be reported again and again, and never mean a stroke.
                self.unwatch(running.lane.bell());
                running.is_mute = true;
            }
        }
    }

    /// Takes whatever workers have written, whether they have rung or not.
    fn look_at_all(&mut self, inner: &mut Inner) {
        let now = sys::monotonic_nanos();
        for slot in inner.lanes.occupied() {
            self.greet(slot, now, inner);
            let news = inner.receive(slot, now);
            let Inner { driver, lanes, .. } = inner;
            driver.looked(slot, news, now, lanes);
        }
    }

    /// Notices a worker's hello, or that it is late.
    fn greet(&mut self, slot: usize, now: Nanos, inner: &mut Inner) {
        let Inner { driver, lanes, .. } = inner;
        let Some(running) = lanes.get_mut(slot) else {
            return;
        };
        let Some(hello_by) = running.hello_by else {
            return;
        };
        if running.lane.page().phase().load(Ordering::Acquire) != page::STARTING {
            running.hello_by = None;
            driver.ready(slot, now);
        } else if hello_by <= now {
            self.be_late(slot, now, inner);
        }
    }

    /// A process has not said hello in time.
    fn be_late(&mut self, slot: usize, now: Nanos, inner: &mut Inner) {
        let Inner { driver, lanes, .. } = inner;
        let Some(running) = lanes.get_mut(slot) else {
            return;
        };
        running.hello_by = None;
        if !driver.had_workers() {
            let after = Duration::from_nanos(self.timeouts.start);
            self.starter.give_up();
            driver.break_down(
                format!(
                    "the worker process did not answer within {after:?}; if the feature `entry` \
                     of taskfarm-process is off, `main` must begin with \
                     `taskfarm_process::init()`"
                ),
                lanes,
            );
        } else if running.pid.is_some() {
            lanes.kill(slot);
        } else if driver.is_busy() {
            // The zygote does not answer, but its end would be that of its workers.
            running.hello_by = Some(now.saturating_add(self.timeouts.start));
        } else {
            driver.let_idle_workers_go(lanes);
            self.starter.give_up();
        }
    }

    /// Tells jobs how their items ended, while no lock is held.
    fn tell(&mut self, notes: &mut Vec<Note<Reply>>) {
        for note in notes.drain(..) {
            let reply = note.reply.or_else(|| self.held.remove(&note.key));
            let Some(mut reply) = reply else {
                continue;
            };
            tell(&mut reply, note.news);
            match note.last {
                Some(items) => {
                    drop(reply);
                    self.shared.recycle(items);
                }
                None => {
                    self.held.insert(note.key, reply);
                }
            }
        }
    }
}
