//! [`ProcessPool`]: the executor, and what its callers share with its I/O thread.

use std::fmt;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use taskfarm_core::remote::{Bundle, Loss, RemoteJob, Reply, WaitHook};
use taskfarm_core::{
    BuildError, CancelOutcome, Capabilities, Executor, ExecutorId, Job, SameBinary, Shutdown,
    TimeLimits,
};

use crate::builder::Builder;
use crate::driver::{Driver, Key, Nanos, NewJob, News, Phase, Settings, State, nanos};
use crate::image;
use crate::info::{RunningItem, WorkerInfo, WorkerState};
use crate::io_thread::{self, Timeouts};
use crate::lanes::Lanes;
use crate::patrol::Patrol;
use crate::record::Batch;
use crate::start::Starter;
use crate::stats::Stats;
use crate::sys::{self, Original};

/// Worker processes that may crash.
///
/// See the [crate documentation](crate) for what it promises. Workers start when there is
/// something to do. Dropping the pool waits until everything that was accepted has ended,
/// lets the workers leave, and reaps them. It belongs to the process that opened it: in a
/// copy of that process, made by `fork`, it refuses everything.
///
/// # Examples
///
/// ```
/// use taskfarm_core::SameBinaryExt;
/// use taskfarm_process::ProcessPool;
///
/// let pool = ProcessPool::new(2)?;
/// let squares: Vec<u64> = pool.map(1..=4_u64, |n| n * n).collect()?;
/// assert_eq!(squares, [1, 4, 9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProcessPool {
    shared: Arc<Shared>,
    id: ExecutorId,
    num_workers: NonZeroUsize,
    io: Mutex<Io>,
}

/// The I/O thread starts with the first job.
#[derive(Debug)]
enum Io {
    Waiting(Starter, Timeouts),
    Running(JoinHandle<()>),
    Over,
}

/// What callers and the I/O thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inner: Mutex<Inner>,
    /// Wakes the I/O thread.
    pub(crate) wake: OwnedFd,
    /// Wakes it in a while.
    pub(crate) patrol: Patrol,
    closed: AtomicBool,
    started: AtomicBool,
    buffers: Mutex<Vec<Bundle>>,
    /// The process that opened the pool. A copy of it, made by somebody's `fork`, owns no
    /// workers, has no I/O thread, and may hold `inner` locked for ever.
    original: Original,
}

/// The driver, and what it drives.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) driver: Driver<Reply>,
    pub(crate) lanes: Lanes,
    /// Memory for what arrives.
    batches: Vec<Batch>,
}

impl ProcessPool {
    /// A pool of `num_workers` processes.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new(num_workers: usize) -> Result<Self, BuildError> {
        Self::builder().num_workers(num_workers).build()
    }

    /// A pool with options.
    pub fn builder() -> Builder {
        #[cfg(feature = "entry")]
        std::hint::black_box(&crate::entry::constructor::CONSTRUCTOR);
        Builder::new()
    }

    pub(crate) fn open(options: Builder, num_workers: NonZeroUsize) -> Result<Self, BuildError> {
        let failed = |error: std::io::Error| {
            BuildError::new(format!("the pool's process cannot be forked: {error}"))
        };
        sys::fill_standard_descriptors()
            .map_err(|error| BuildError::new(format!("/dev/null cannot be opened: {error}")))?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC.union(EventfdFlags::NONBLOCK));
        let wake = wake.map_err(|error| BuildError::new(format!("eventfd failed: {error}")))?;
        let patrol = Patrol::new()
            .map_err(|error| BuildError::new(format!("timerfd_create failed: {error}")))?;
        let original = Original::mark();
        let original =
            original.map_err(|error| BuildError::new(format!("mmap failed: {error}")))?;
        let starter = Starter::new(options.start, options.memory_limit, options.output);
        let starter = starter.map_err(failed)?;
        let driver = Driver::new(Settings {
            num_workers: num_workers.get(),
            max_tasks: options.max_tasks,
            exit_timeout: options.exit_timeout,
        });
        let lanes = Lanes::new(num_workers.get());
        Ok(Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(Inner {
                    driver,
                    lanes,
                    batches: Vec::new(),
                }),
                wake,
                patrol,
                closed: AtomicBool::new(false),
                started: AtomicBool::new(false),
                buffers: Mutex::new(Vec::new()),
                original,
            }),
            id: ExecutorId::new("process-pool"),
            num_workers,
            io: Mutex::new(Io::Waiting(
                starter,
                Timeouts {
                    start: nanos(options.start_timeout),
                    init: nanos(options.init_timeout),
                },
            )),
        })
    }

    /// What each living worker is doing. Usable at any time, while a map runs, too.
    ///
    /// ```
    /// use taskfarm_core::SameBinaryExt;
    /// use taskfarm_process::ProcessPool;
    ///
    /// let pool = ProcessPool::new(1)?;
    /// pool.submit(1, |n: i32| n + 1).join()?;
    /// assert_eq!(pool.workers()[0].items_done, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn workers(&self) -> Vec<WorkerInfo> {
        if !self.shared.original.is_here() {
            return Vec::new();
        }
        let inner = self.shared.inner.lock();
        let slots = 0..self.num_workers.get();
        slots.filter_map(|slot| inner.describe(slot)).collect()
    }

    /// What the pool has seen so far.
    pub fn stats(&self) -> Stats {
        if !self.shared.original.is_here() {
            return Stats::default();
        }
        self.shared.inner.lock().driver.stats()
    }

    /// Starts the I/O thread with the first job.
    fn start_io(&self) -> std::io::Result<()> {
        let mut io = self.io.lock();
        if let Io::Waiting(..) = *io
            && let Io::Waiting(starter, timeouts) = std::mem::replace(&mut *io, Io::Over)
        {
            *io = Io::Running(io_thread::spawn(self.shared.clone(), starter, timeouts)?);
            self.shared.started.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl Executor for ProcessPool {
    type Reach = SameBinary;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        if self.shared.closed.load(Ordering::Acquire) || !self.shared.original.is_here() {
            return Err(job);
        }
        if !self.shared.started.load(Ordering::Acquire) && self.start_io().is_err() {
            return Err(job);
        }
        let buffer = self.shared.buffers.lock().pop().unwrap_or_default();
        let job = job.into_remote(buffer)?;
        self.shared.submit(job);
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process()
            .with_time_limits(TimeLimits::Kill)
            .with_crash_isolation(true)
    }

    fn shutdown(&self, how: Shutdown) {
        if !self.shared.original.is_here() {
            return;
        }
        self.shared.closed.store(true, Ordering::Release);
        if how == Shutdown::Abort {
            self.id.abort();
        }
        self.shared.shutdown(how);
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        if !self.shared.original.is_here() {
            return;
        }
        self.shutdown(Shutdown::Drain);
        match std::mem::replace(self.io.get_mut(), Io::Over) {
            Io::Waiting(mut starter, _) => starter.close(),
            // The last owner may be a job's end, on the I/O thread itself.
            Io::Running(thread) if thread.thread().id() != std::thread::current().id() => {
                let _ = thread.join();
            }
            Io::Running(_) | Io::Over => {}
        }
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool")
            .field("num_workers", &self.num_workers)
            .finish_non_exhaustive()
    }
}

/// How a cancellation, and a thread that waits, find their job. Read and written while
/// [`Shared::inner`] is locked.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// 0 before the job has a key, [`CANCELLED`] if it never gets one.
    key: AtomicU64,
    shared: Weak<Shared>,
}

const CANCELLED: u64 = u64::MAX;

impl Ticket {
    /// The key of the job, if it has one.
    pub(crate) fn key(&self) -> Option<Key> {
        let key = self.key.load(Ordering::Relaxed);
        (key != 0 && key != CANCELLED).then(|| Key::from_number(key))
    }

    fn cancel(&self) -> CancelOutcome {
        match self.shared.upgrade() {
            Some(shared) => shared.cancel(self),
            None => CancelOutcome::TooLate,
        }
    }
}

impl WaitHook for Ticket {
    fn wait(&self, deadline: Option<Instant>) {
        if let Some(shared) = self.shared.upgrade()
            && shared.original.is_here()
        {
            shared.wait_for(self, deadline);
        }
    }
}

impl Shared {
    fn submit(self: &Arc<Self>, job: RemoteJob) {
        let RemoteJob {
            function,
            setup,
            timeout,
            items,
            reply,
        } = job;
        if items.is_empty() {
            return;
        }
        let function = match image::offsets(&function) {
            Ok(offsets) => offsets,
            Err(why) => return lose_all(reply, &Loss::Undeliverable(why.to_owned())),
        };
        let ticket = Arc::new(Ticket {
            key: AtomicU64::new(0),
            shared: Arc::downgrade(self),
        });
        let cancel = ticket.clone();
        reply.on_cancel(move || cancel.cancel());
        reply.on_wait(ticket.clone());
        let timeout = timeout.map(nanos);
        let job = NewJob {
            function,
            setup,
            timeout,
            items,
            indices: reply.indices().clone(),
            reply,
        };
        let mut inner = self.inner.lock();
        let refusal = match inner.driver.phase() {
            _ if ticket.key.load(Ordering::Relaxed) == CANCELLED => Some(Loss::Cancelled),
            Phase::Open => None,
            Phase::Closing => Some(Loss::Cancelled),
            Phase::Broken(why) => Some(Loss::Undeliverable(why.clone())),
        };
        if let Some(loss) = refusal {
            drop(inner);
            return lose_all(job.reply, &loss);
        }
        let Inner { driver, lanes, .. } = &mut *inner;
        if let Some(setup) = &job.setup
            && !driver.knows_setup(setup)
        {
            let shared = Arc::downgrade(self);
            setup.on_last_drop(move || {
                if let Some(shared) = shared.upgrade() {
                    shared.wake();
                }
            });
        }
        let key = driver.submit(job, sys::monotonic_nanos(), lanes);
        ticket.key.store(key.to_number(), Ordering::Relaxed);
        self.unlock(inner);
    }

    fn cancel(&self, ticket: &Ticket) -> CancelOutcome {
        if !self.original.is_here() {
            return CancelOutcome::TooLate;
        }
        let mut inner = self.inner.lock();
        let key = ticket.key.load(Ordering::Relaxed);
        if key == 0 {
            ticket.key.store(CANCELLED, Ordering::Relaxed);
            return CancelOutcome::NotStarted;
        }
        inner.receive_all();
        let Inner { driver, lanes, .. } = &mut *inner;
        let outcome = driver.cancel(Key::from_number(key), lanes);
        self.unlock(inner);
        outcome
    }

    fn shutdown(&self, how: Shutdown) {
        let mut inner = self.inner.lock();
        inner.receive_all();
        let Inner { driver, lanes, .. } = &mut *inner;
        driver.shutdown(how, lanes);
        self.unlock(inner);
    }

    /// Unlocks, and wakes the I/O thread if there is something for it to do.
    pub(crate) fn unlock(&self, mut inner: parking_lot::MutexGuard<'_, Inner>) {
        let wake = inner.driver.take_wants_io();
        let patrol = inner.driver.take_wants_patrol();
        drop(inner);
        if patrol {
            self.patrol.order(sys::monotonic_nanos());
        }
        if wake {
            self.wake();
        }
    }

    /// Has the I/O thread look.
    fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Keeps the memory of a bundle for a later job.
    pub(crate) fn recycle(&self, mut bundle: Bundle) {
        const MAX_BUFFERS: usize = 64;
        const MAX_BYTES: usize = 4 << 20;
        if bundle.bytes.capacity() <= MAX_BYTES {
            let mut buffers = self.buffers.lock();
            if buffers.len() < MAX_BUFFERS {
                bundle.clear();
                buffers.push(bundle);
            }
        }
    }
}

impl Inner {
    /// Takes what all workers have written, so that what is finished counts as finished
    /// before anything is killed.
    fn receive_all(&mut self) {
        let now = sys::monotonic_nanos();
        for slot in self.lanes.occupied() {
            if self.receive(slot, now) {
                self.looked(slot, true, now);
            }
        }
    }

    /// Takes what a worker has written; whether there was something.
    pub(crate) fn receive(&mut self, slot: usize, now: Nanos) -> bool {
        let Self {
            driver,
            lanes,
            batches,
        } = self;
        let Some(running) = lanes.get_mut(slot) else {
            return false;
        };
        if !running.lane.has_news() {
            return false;
        }
        let received = running.lane.receive(batches);
        driver.received(slot, batches, now, lanes);
        batches.clear();
        if received.is_err() {
            driver.protocol_broken(slot, lanes);
        }
        true
    }

    /// Whether a worker has written something that nobody has taken.
    pub(crate) fn has_news(&self, slot: usize) -> bool {
        let running = self.lanes.get(slot);
        running.is_some_and(|running| running.lane.has_news())
    }

    /// Does on a caller's thread what the I/O thread does after a look, and leaves it the rest.
    pub(crate) fn looked(&mut self, slot: usize, news: bool, now: Nanos) {
        let Self { driver, lanes, .. } = self;
        driver.looked(slot, news, now, lanes);
        driver.hand_over(slot);
    }

    fn describe(&self, slot: usize) -> Option<WorkerInfo> {
        let worker = &self.driver.workers()[slot];
        let pid = self.lanes.pid(slot).or_else(|| self.lanes.own_pid(slot))?;
        let state = match worker.state {
            State::Vacant => return None,
            State::Wanted | State::Starting => WorkerState::Starting,
            State::Ready if worker.flights.is_empty() => WorkerState::Idle,
            State::Ready => WorkerState::Busy,
            State::Leaving { .. } => WorkerState::Leaving,
            State::Doomed(_) => WorkerState::Dying,
        };
        let item = self
            .lanes
            .last_item_of(slot)
            .and_then(|(current, started)| {
                let index = self.driver.index_of(slot, current)?;
                let ago = sys::monotonic_nanos().saturating_sub(started);
                Some(RunningItem {
                    index,
                    since: Instant::now() - Duration::from_nanos(ago),
                })
            });
        Some(WorkerInfo {
            pid,
            state,
            item,
            items_done: worker.items_done,
            bytes_in_flight: self.driver.bytes_in_flight(slot),
        })
    }
}

/// Tells a job how some of its positions have ended. Not while a lock is held.
pub(crate) fn tell(reply: &mut Reply, news: News) {
    match news {
        News::Delivered { first, outcomes } => {
            // The driver has checked that they fit; core checks once more.
            if reply.deliver(first as usize, outcomes).is_err() {
                log::error!("taskfarm-process: outcomes that do not fit their job");
            }
        }
        News::Lost { position, loss } => reply.lose(position as usize, loss),
    }
}

fn lose_all(mut reply: Reply, loss: &Loss) {
    let missing: Vec<usize> = reply.missing().collect();
    for position in missing {
        reply.lose(position, loss.clone());
    }
}
