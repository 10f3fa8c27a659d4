//! [`Faulty`]: a small thread pool with one fault of choice.

use std::collections::VecDeque;
use std::fs::File;
use std::marker::PhantomData;
use std::mem;
use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use taskfarm_core::remote::{Bundle, KeptState};
use taskfarm_core::{
    BuildError, Capabilities, Executor, ExecutorId, InProcess, Job, SameBinary, Shutdown,
    TimeLimits, num_workers,
};

/// What is wrong with the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Takes jobs in a random order. Allowed.
    RandomOrder,
    /// Drops every third job and says that it took it.
    DropsJobs,
    /// Leaks every third job.
    ForgetsJobs,
    /// Hands every third job back although it is open.
    RefusesNowAndThen,
    /// Waits in `spawn` until the job has run.
    WaitsForTheJob,
    /// Runs another waiting job in `spawn`, if it is called on a worker.
    RunsOthersMeanwhile,
    /// Waits in `spawn` while many jobs wait.
    BlocksWhenFull,
    /// Never comes back from `spawn`, but runs the job.
    BlocksForEver,
    /// Runs jobs in `spawn`, and claims to have workers.
    RunsOnCaller,
    /// Has more workers than it says.
    TooManyWorkers,
    /// Has fewer workers than it says.
    TooFewWorkers,
    /// Gives each job to a certain worker, even if that one is busy and another is not.
    DealsJobsOut,
    /// Takes zero workers for one.
    AcceptsZeroWorkers,
    /// Gives all pools one identity.
    SharesIdentity,
    /// Goes on as if nothing had happened.
    IgnoresShutdown,
    /// Drops jobs after a shutdown instead of handing them back.
    RefusesSilently,
    /// Runs what waits although it was told to cancel it.
    RunsAfterShutdown,
    /// Never comes back from its drop.
    HangsInDrop,
    /// Leaks what waits when it is shut down.
    LosesJobsOnShutdown,
    /// Waits in `shutdown` for what runs.
    WaitsInShutdown,
    /// Does not tell running tasks of an abort.
    IgnoresAbort,
    /// Leaks what waits when it is dropped.
    LosesJobsOnDrop,
    /// Joins its threads from one of them.
    JoinsItself,
    /// Leaves a thread behind.
    LeaksThread,
    /// Leaves a descriptor behind.
    LeaksDescriptor,
    /// Leaves a dead child process behind.
    LeaksChild,
    /// Takes no more jobs once a task has panicked.
    PoisonedByPanic,
    /// Loses a worker with each panic.
    WorkerDiesOfPanic,
    /// Runs every job twice. Only one whose jobs travel can.
    RunsTwice,
    /// Gives the outcomes of a job in the wrong order. Only one whose jobs travel can.
    MixesOutcomes,
    /// Gives no outcomes for a job in which something panicked. Only one whose jobs travel
    /// can.
    SwallowsPanics,
}

/// A pool of threads over one queue. With the reach `SameBinary` its jobs travel: from this
/// process to itself.
pub(crate) struct Faulty<R = InProcess> {
    reach: PhantomData<fn() -> R>,
    id: ExecutorId,
    fault: Fault,
    num_workers: NonZeroUsize,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    fault: Fault,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// With their numbers.
    waiting: VecDeque<(usize, Job)>,
    num_spawned: usize,
    num_running: usize,
    num_ended: usize,
    is_shut_down: bool,
    /// A poor man's dice.
    dice: usize,
}

thread_local! {
    static IS_WORKER: AtomicBool = const { AtomicBool::new(false) };
    static HAS_PANICKED: AtomicBool = const { AtomicBool::new(false) };
}

/// Whether any worker of any pool has seen a panic.
static ANY_PANICKED: AtomicBool = AtomicBool::new(false);

/// A reach that the pool can have.
pub(crate) trait Runs: 'static {
    fn capabilities() -> Capabilities;
    fn run(job: Job, fault: Fault);
}

impl Runs for InProcess {
    fn capabilities() -> Capabilities {
        Capabilities::in_process()
    }

    fn run(job: Job, _: Fault) {
        job.run();
    }
}

impl Runs for SameBinary {
    fn capabilities() -> Capabilities {
        Capabilities::in_process().with_time_limits(TimeLimits::None)
    }

    fn run(job: Job, fault: Fault) {
        let Ok(mut job) = job.into_remote(Bundle::default()) else {
            return;
        };
        HAS_PANICKED.with(|it| it.store(false, Ordering::Relaxed));
        let context = job.setup.as_ref().map(|setup| setup.context.clone());
        let context = context.unwrap_or_default();
        let mut kept = None;
        let mut call = || job.function.call_whole(&job.items, &context, &mut kept);
        let mut outcomes = call();
        if fault == Fault::RunsTwice {
            outcomes = call();
        }
        kept.into_iter().for_each(KeptState::stop);
        if fault == Fault::MixesOutcomes {
            outcomes = reversed(&outcomes);
        }
        let has_panicked = HAS_PANICKED.with(|it| it.load(Ordering::Relaxed));
        if fault != Fault::SwallowsPanics || !has_panicked {
            job.reply.deliver(0, outcomes).expect("they fit");
        }
    }
}

fn reversed(outcomes: &Bundle) -> Bundle {
    let mut reversed = Bundle::default();
    let mut end = outcomes.bytes.len();
    for at in (0..outcomes.len()).rev() {
        let start = end - outcomes.len_at(at);
        reversed
            .bytes
            .extend_from_slice(&outcomes.bytes[start..end]);
        reversed.lengths.push(outcomes.lengths[at]);
        end = start;
    }
    reversed
}

impl<R: Runs> Faulty<R> {
    pub(crate) fn new(fault: Fault, requested: usize) -> Result<Self, BuildError> {
        watch_panics();
        let requested = match fault {
            Fault::AcceptsZeroWorkers => requested.max(1),
            _ => requested,
        };
        let num_workers = num_workers(Some(requested))?;
        let shared = Arc::new(Shared {
            fault,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let num_threads = match fault {
            Fault::RunsOnCaller => 0,
            Fault::TooManyWorkers => num_workers.get() + 2,
            Fault::TooFewWorkers => 1,
            _ => num_workers.get(),
        };
        let start = |index| {
            let shared = shared.clone();
            thread::spawn(move || shared.work(index, R::run))
        };
        leak(fault);
        Ok(Self {
            reach: PhantomData,
            id: identity(fault),
            fault,
            num_workers,
            threads: (0..num_threads).map(start).collect(),
            shared,
        })
    }
}

fn identity(fault: Fault) -> ExecutorId {
    static ONE: LazyLock<ExecutorId> = LazyLock::new(|| ExecutorId::new("one for all"));
    match fault {
        Fault::SharesIdentity => ONE.clone(),
        _ => ExecutorId::new("faulty"),
    }
}

fn leak(fault: Fault) {
    match fault {
        Fault::LeaksThread => drop(thread::spawn(|| thread::sleep(Duration::from_secs(100)))),
        Fault::LeaksDescriptor => mem::forget(File::open("/dev/null").expect("it can be opened")),
        Fault::LeaksChild => drop(Command::new("true").spawn().expect("it can be run")),
        _ => {}
    }
}

/// Notes on which threads panics were seen: `Job::run` lets none out.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_WORKER.with(|it| it.load(Ordering::Relaxed)) {
                HAS_PANICKED.with(|it| it.store(true, Ordering::Relaxed));
                ANY_PANICKED.store(true, Ordering::Relaxed);
            }
            next(info);
        }));
    });
    ANY_PANICKED.store(false, Ordering::Relaxed);
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the lock")
    }

    fn work(&self, index: usize, run: fn(Job, Fault)) {
        IS_WORKER.with(|it| it.store(true, Ordering::Relaxed));
        while let Some(job) = self.next(index) {
            run(job, self.fault);
            let mut state = self.lock();
            state.num_running -= 1;
            state.num_ended += 1;
            drop(state);
            self.changed.notify_all();
            let has_panicked = HAS_PANICKED.with(|it| it.load(Ordering::Relaxed));
            if has_panicked && self.fault == Fault::WorkerDiesOfPanic {
                return;
            }
        }
    }

    /// The next job, when there is one; `None` after a shutdown.
    fn next(&self, index: usize) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.take(self.fault, index) {
                state.num_running += 1;
                return Some(job);
            }
            if state.is_shut_down {
                return None;
            }
            state = self.changed.wait(state).expect("as above");
        }
    }
}

impl State {
    fn take(&mut self, fault: Fault, index: usize) -> Option<Job> {
        let at = match fault {
            _ if self.waiting.is_empty() => return None,
            Fault::RandomOrder => {
                self.dice = self.dice.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                (self.dice >> 16) % self.waiting.len()
            }
            // The pools that it is tested with have two workers.
            Fault::DealsJobsOut => self
                .waiting
                .iter()
                .position(|(number, _)| number % 2 == index)?,
            _ => 0,
        };
        self.waiting.remove(at).map(|(_, job)| job)
    }
}

impl<R: Runs> Executor for Faulty<R> {
    type Reach = R;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut state = self.shared.lock();
        state.num_spawned += 1;
        let is_third = state.num_spawned.is_multiple_of(3);
        let is_poisoned = ANY_PANICKED.load(Ordering::Relaxed);
        let is_worker = IS_WORKER.with(|it| it.load(Ordering::Relaxed));
        match self.fault {
            Fault::RefusesSilently if state.is_shut_down => {
                drop(state);
                drop(job);
                return Ok(());
            }
            Fault::IgnoresShutdown => {}
            Fault::RefusesNowAndThen if is_third => return Err(job),
            Fault::PoisonedByPanic if is_poisoned => return Err(job),
            _ if state.is_shut_down => return Err(job),
            _ => {}
        }
        match self.fault {
            Fault::DropsJobs if is_third => {
                drop(state);
                drop(job);
                return Ok(());
            }
            Fault::ForgetsJobs if is_third => {
                mem::forget(job);
                return Ok(());
            }
            Fault::RunsOnCaller => {
                drop(state);
                job.run();
                return Ok(());
            }
            Fault::BlocksWhenFull => {
                while state.waiting.len() > 20 {
                    state = self.shared.changed.wait(state).expect("as above");
                }
            }
            _ => {}
        }
        let number = state.num_spawned;
        state.waiting.push_back((number, job));
        self.shared.changed.notify_all();
        match self.fault {
            Fault::BlocksForEver => loop {
                state = self.shared.changed.wait(state).expect("as above");
            },
            Fault::WaitsForTheJob => {
                while state.num_ended < number {
                    state = self.shared.changed.wait(state).expect("as above");
                }
            }
            Fault::RunsOthersMeanwhile if is_worker => {
                let other = state.waiting.pop_front();
                drop(state);
                other.into_iter().for_each(|(_, job)| job.run());
            }
            _ => {}
        }
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn capabilities(&self) -> Capabilities {
        R::capabilities()
    }

    fn shutdown(&self, how: Shutdown) {
        let mut state = self.shared.lock();
        state.is_shut_down = self.fault != Fault::IgnoresShutdown;
        self.shared.changed.notify_all();
        if self.fault == Fault::WaitsInShutdown {
            while state.num_running > 0 {
                state = self.shared.changed.wait(state).expect("as above");
            }
        }
        if how == Shutdown::Drain || self.fault == Fault::RunsAfterShutdown {
            return;
        }
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        match self.fault {
            Fault::LosesJobsOnShutdown => mem::forget(waiting),
            _ => waiting.into_iter().for_each(|(_, job)| job.cancel()),
        }
        if how == Shutdown::Abort && self.fault != Fault::IgnoresAbort {
            self.id.abort();
        }
    }
}

impl<R> Drop for Faulty<R> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.is_shut_down = true;
            mem::take(&mut state.waiting)
        };
        self.shared.changed.notify_all();
        match self.fault {
            Fault::LosesJobsOnDrop => mem::forget(waiting),
            Fault::HangsInDrop => loop {
                thread::park();
            },
            _ => waiting.into_iter().for_each(|(_, job)| job.cancel()),
        }
        for thread in self.threads.drain(..) {
            let is_self = thread.thread().id() == thread::current().id();
            if !is_self || self.fault == Fault::JoinsItself {
                thread.join().expect("workers do not panic");
            }
        }
    }
}
