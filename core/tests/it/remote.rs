//! Jobs that leave the process, on an executor whose "processes" are threads.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use taskfarm_core::remote::{Bundle, Function, KeptState, Loss, RemoteJob, WaitHook};
use taskfarm_core::{
    CancelOutcome, ErrorPolicy, Executor, ExecutorId, Job, ProcessEnd, SameBinary, SameBinaryExt,
    TaskErrorKind, WorkerLost,
};

/// Miri runs some thousand times slower.
const fn unless_miri(many: usize, few: usize) -> usize {
    if cfg!(miri) { few } else { many }
}

/// Workers that know nothing but bytes and addresses.
struct Wire {
    id: ExecutorId,
    jobs: Mutex<mpsc::Sender<RemoteJob>>,
}

type Kept = HashMap<u64, Option<Box<dyn KeptState>>>;

impl Wire {
    fn new(num_workers: usize) -> Self {
        let (sender, receiver) = mpsc::channel::<RemoteJob>();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..num_workers {
            let receiver = receiver.clone();
            std::thread::spawn(move || {
                let mut kept = Kept::new();
                loop {
                    let job = receiver.lock().unwrap().recv();
                    let Ok(job) = job else { break };
                    work(job, &mut kept);
                }
                kept.into_values().flatten().for_each(KeptState::stop);
            });
        }
        Self {
            id: ExecutorId::new("wire"),
            jobs: Mutex::new(sender),
        }
    }
}

fn work(mut job: RemoteJob, kept: &mut Kept) {
    let setup = job.setup.as_deref();
    let id = setup.map_or(0, |setup| setup.id);
    let context = setup.map_or(&[][..], |setup| &setup.context);
    let mut state = kept.remove(&id).flatten();
    // SAFETY: the addresses come from this very process.
    let function = unsafe { Function::from_addresses(job.function.addresses()) };
    let outcomes = function.call_whole(&job.items, context, &mut state);
    if id != 0 {
        kept.insert(id, state);
    }
    job.reply.deliver(0, outcomes).unwrap();
}

impl Executor for Wire {
    type Reach = SameBinary;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let job = job.into_remote(Bundle::default())?;
        self.jobs.lock().unwrap().send(job).unwrap();
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::new(2).unwrap()
    }
}

#[test]
fn maps_run_elsewhere() {
    let wire = Wire::new(2);
    let num_items = unless_miri(10_000, 100);
    let doubled: Vec<u64> = wire.map(0..num_items as u64, |n| n * 2).collect().unwrap();
    assert_eq!(doubled.len(), num_items);
    assert!(doubled.iter().zip((0..).step_by(2)).all(|(a, b)| *a == b));
    let ordered: Vec<u64> = wire
        .map(0_u64.., |n| n)
        .ordered()
        .unwrap()
        .take(num_items / 2)
        .map(Result::unwrap)
        .collect();
    assert!(ordered.iter().zip(0..).all(|(a, b)| *a == b));
    let scaled: Vec<u64> = wire
        .context(7_u64)
        .map(vec![1, 2, 3], |c, n: u64| c * n)
        .collect()
        .unwrap();
    assert_eq!(scaled, [7, 14, 21]);
    let num_counts = unless_miri(100, 20);
    let counts: Vec<usize> = wire
        .init(Vec::<u8>::new)
        .map(0..num_counts as u8, |seen, n| {
            seen.push(n);
            seen.len()
        })
        .collect()
        .unwrap();
    assert_eq!(counts.len(), num_counts);
    assert!(*counts.iter().max().unwrap() > num_counts * 2 / 5);
}

#[test]
fn failures_keep_their_kind_and_index() {
    let wire = Wire::new(2);
    let outcomes = wire
        .try_map(0..50_u32, |n| match n {
            7 => Err(format!("seven of {n}")),
            9 => panic!("nine"),
            _ => Ok(n),
        })
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    assert_eq!(outcomes.len(), 50);
    assert_eq!(
        outcomes[7].as_ref().unwrap_err().to_string(),
        "item 7 failed: seven of 7"
    );
    let nine = outcomes[9].as_ref().unwrap_err();
    assert!(
        matches!(nine.kind(), TaskErrorKind::Panicked(panic) if panic.message() == "nine" && panic.location().unwrap().contains("remote.rs"))
    );
    let error = wire
        .try_map(0..50_u32, |n| {
            if n == 20 {
                Err("twenty".to_owned())
            } else {
                Ok(n)
            }
        })
        .collect::<Vec<_>>()
        .unwrap_err();
    assert_eq!(error.to_string(), "item 20 failed: twenty");
}

#[test]
fn submits_run_elsewhere() {
    let wire = Wire::new(2);
    let num_tasks = unless_miri(100, 10) as u32;
    let handles: Vec<_> = (0..num_tasks).map(|n| wire.submit(n, |n| n + 1)).collect();
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.join().unwrap(), n + 1);
    }
    let (sender, receiver) = mpsc::channel();
    wire.submit(1_u8, |n| n + 1)
        .on_done(move |result| sender.send(result.unwrap()).unwrap());
    let deadline = Duration::from_secs(unless_miri(10, 600) as u64);
    assert_eq!(receiver.recv_timeout(deadline).unwrap(), 2);
}

/// Loses the item with the value 13 on its first attempt, and everything on cancel.
struct Lossy(Wire, Mutex<u32>);

impl Executor for Lossy {
    type Reach = SameBinary;

    fn id(&self) -> &ExecutorId {
        &self.0.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut job = job.into_remote(Bundle::default())?;
        if job.items.bytes == [13] {
            let mut attempts = self.1.lock().unwrap();
            *attempts += 1;
            if *attempts == 1 {
                job.reply.lose(
                    0,
                    Loss::WorkerLost(WorkerLost::new(4711, ProcessEnd::Signaled(9))),
                );
                return Ok(());
            }
        }
        self.0.jobs.lock().unwrap().send(job).unwrap();
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.0.parallelism()
    }
}

#[test]
fn a_lost_item_is_reported_or_tried_again() {
    let lossy = Lossy(Wire::new(2), Mutex::new(0));
    let outcomes = lossy
        .map(0..20_u8, |n| n)
        .chunk_size(1)
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    assert_eq!(
        outcomes[13].as_ref().unwrap_err().to_string(),
        "item 13 was lost with its worker: process 4711 was killed by signal 9"
    );
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
        19
    );
    *lossy.1.lock().unwrap() = 0;
    let all: Vec<u8> = lossy
        .map(0..20_u8, |n| n)
        .chunk_size(1)
        .retries(1)
        .collect()
        .unwrap();
    assert_eq!(all.len(), 20);
}

#[test]
fn cancel_asks_the_backend() {
    /// A job that never runs, and whether it was cancelled.
    type Held = Mutex<(Option<RemoteJob>, bool)>;
    struct Stuck(ExecutorId, Mutex<Vec<Arc<Held>>>);
    impl Executor for Stuck {
        type Reach = SameBinary;
        fn id(&self) -> &ExecutorId {
            &self.0
        }
        fn spawn(&self, job: Job) -> Result<(), Job> {
            let mut job = job.into_remote(Bundle::default())?;
            let held = Arc::new(Held::default());
            let inside = held.clone();
            // Not under the lock: the hook is called at once if the deadline has passed.
            job.reply.on_cancel(move || {
                let mut held = inside.lock().unwrap();
                held.1 = true;
                if let Some(mut job) = held.0.take() {
                    job.reply.lose(0, Loss::Killed);
                }
                CancelOutcome::Killed
            });
            let mut place = held.lock().unwrap();
            match place.1 {
                true => job.reply.lose(0, Loss::Killed),
                false => place.0 = Some(job),
            }
            drop(place);
            self.1.lock().unwrap().push(held);
            Ok(())
        }
        fn parallelism(&self) -> NonZeroUsize {
            NonZeroUsize::MIN
        }
    }
    let stuck = Stuck(ExecutorId::new("stuck"), Mutex::default());
    let handle = stuck.submit(1_u8, |n| n);
    assert_eq!(handle.cancel(), CancelOutcome::Killed);
    assert!(handle.join().unwrap_err().is_cancelled());
    let error = stuck
        .map(0..10_u8, |n| n)
        .deadline(Duration::from_millis(20))
        .collect::<Vec<_>>()
        .unwrap_err();
    assert!(
        error.first().unwrap().is_timeout() || error.first().unwrap().is_cancelled(),
        "{error}"
    );
}

/// A backend that tells a job on the thread that joins it, and does so only if that has no
/// deadline.
#[test]
fn a_thread_that_joins_may_be_told_by_itself() {
    struct Desk(Mutex<Option<RemoteJob>>);
    impl WaitHook for Desk {
        fn wait(&self, deadline: Option<Instant>) {
            let job = match deadline {
                None => self.0.lock().unwrap().take(),
                Some(_) => None,
            };
            if let Some(mut job) = job {
                let thread = std::thread::current().id();
                job.reply
                    .lose(0, Loss::Undeliverable(format!("{thread:?}")));
            }
        }
    }
    struct Desks(ExecutorId, Mutex<Vec<Weak<Desk>>>);
    impl Executor for Desks {
        type Reach = SameBinary;
        fn id(&self) -> &ExecutorId {
            &self.0
        }
        fn spawn(&self, job: Job) -> Result<(), Job> {
            let job = job.into_remote(Bundle::default())?;
            let desk = Arc::new(Desk(Mutex::new(None)));
            job.reply.on_wait(desk.clone());
            self.1.lock().unwrap().push(Arc::downgrade(&desk));
            *desk.0.lock().unwrap() = Some(job);
            Ok(())
        }
        fn parallelism(&self) -> NonZeroUsize {
            NonZeroUsize::MIN
        }
    }
    let desks = Desks(ExecutorId::new("desks"), Mutex::default());
    let handle = desks.submit(1_u8, |n| n);
    // A hook that returns at once does not shorten the wait.
    let started = Instant::now();
    let timeout = Duration::from_millis(20);
    let handle = handle.join_timeout(timeout).unwrap_err();
    assert!(started.elapsed() >= timeout);
    let error = handle.join().unwrap_err().to_string();
    let thread = format!("{:?}", std::thread::current().id());
    assert!(error.contains(&thread), "{error}");
    // It is forgotten with the reply.
    let desk = &desks.1.lock().unwrap()[0];
    assert!(desk.upgrade().is_none());
}

/// Results that wait for their turn are bounded in bytes, not only in number.
#[test]
#[cfg_attr(miri, ignore = "moves dozens of MiB")]
fn big_results_behind_a_slow_item_hold_back_the_others() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    const MIB: usize = 1 << 20;
    // 64 MiB may wait; what was under way when that was found out comes on top.
    const MOST: usize = 200;
    fn work(n: usize) -> (usize, String) {
        let started = STARTED.fetch_add(1, Ordering::SeqCst) + 1;
        if n > 0 {
            return (started, " ".repeat(MIB));
        }
        // Until too many have started, or long enough for that.
        let deadline = Instant::now() + Duration::from_millis(1000);
        while STARTED.load(Ordering::SeqCst) <= MOST && Instant::now() < deadline {
            std::thread::yield_now();
        }
        (STARTED.load(Ordering::SeqCst), String::new())
    }
    let wire = Wire::new(2);
    let mut results = wire.map(0.., work as fn(usize) -> _).ordered().unwrap();
    let (started, _) = results.next().unwrap().unwrap();
    assert!(started <= MOST, "{started} MiB wait behind the first item");
}
