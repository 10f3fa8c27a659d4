//! The crew at work on closures, real threads and real queues.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use super::*;

/// Longer than any step of a test takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Run,
    Cancelled,
}

/// A closure that is told how its job ends.
struct Task(Box<dyn FnOnce(End) + Send>);

impl Work for Task {
    fn run(self) {
        (self.0)(End::Run);
    }

    fn cancel(self) {
        (self.0)(End::Cancelled);
    }
}

/// A crew that ends as a pool does.
struct Owner(Arc<Crew<Task>>);

impl Owner {
    fn new(num_workers: usize) -> Self {
        Self::with(num_workers, |_| ())
    }

    fn with(num_workers: usize, adjust: impl FnOnce(&mut ThreadOptions)) -> Self {
        let mut options = ThreadOptions {
            name: "test".to_owned(),
            stack_size: None,
            on_start: None,
            on_stop: None,
        };
        adjust(&mut options);
        Self(Crew::new(num_workers, options))
    }

    fn spawn(&self, job: impl FnOnce(End) + Send + 'static) {
        assert!(self.try_spawn(job), "an open crew takes jobs");
    }

    fn try_spawn(&self, job: impl FnOnce(End) + Send + 'static) -> bool {
        self.0.spawn(Task(Box::new(job))).is_ok()
    }

    /// Makes one worker wait until the sender is used or dropped.
    fn block_a_worker(&self) -> Sender<()> {
        let (release, released) = mpsc::channel();
        let (started, has_started) = mpsc::channel();
        self.spawn(move |_| {
            started.send(()).unwrap();
            let _ = released.recv();
        });
        next(&has_started);
        release
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close(Shutdown::Drain);
        self.0.join();
    }
}

fn next<T>(receiver: &Receiver<T>) -> T {
    receiver
        .recv_timeout(DEADLINE)
        .expect("it comes within the deadline")
}

#[test]
fn threads_start_with_the_work_and_no_more_than_needed() {
    let owner = Owner::new(4);
    assert_eq!(owner.0.num_threads(), 0);
    let mut releases = Vec::new();
    for threads in 1..=3 {
        releases.push(owner.block_a_worker());
        assert_eq!(owner.0.num_threads(), threads);
    }
}

#[test]
fn as_many_jobs_as_workers_run_at_the_same_time() {
    let owner = Owner::new(8);
    for _ in 0..50 {
        let meeting = Arc::new(Barrier::new(8));
        let (done, is_done) = mpsc::channel();
        for _ in 0..8 {
            let (meeting, done) = (Arc::clone(&meeting), done.clone());
            owner.spawn(move |_| {
                meeting.wait();
                done.send(()).unwrap();
            });
        }
        (0..8).for_each(|_| next(&is_done));
    }
    assert_eq!(owner.0.num_threads(), 8);
}

#[test]
fn jobs_spawned_by_a_job_run_at_the_same_time_too() {
    let owner = Owner::new(4);
    let (done, is_done) = mpsc::channel();
    let crew = Arc::clone(&owner.0);
    owner.spawn(move |_| {
        let meeting = Arc::new(Barrier::new(4));
        for _ in 0..3 {
            let (meeting, done) = (Arc::clone(&meeting), done.clone());
            let job = move |_| {
                meeting.wait();
                done.send(()).unwrap();
            };
            assert!(crew.spawn(Task(Box::new(job))).is_ok());
        }
        meeting.wait();
    });
    (0..3).for_each(|_| next(&is_done));
}

#[test]
fn one_worker_keeps_the_order_of_spawning() {
    let owner = Owner::new(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let release = owner.block_a_worker();
    for number in 0..1000 {
        let order = Arc::clone(&order);
        owner.spawn(move |_| order.lock().unwrap().push(number));
    }
    drop(release);
    drop(owner);
    let order = Arc::into_inner(order).unwrap().into_inner().unwrap();
    // Each so many jobs one overtakes, so that a busy deque does not starve the injector.
    let overtaking = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(overtaking < 1000 / 30, "{overtaking}");
    assert_eq!(order.iter().collect::<HashSet<_>>().len(), 1000);
}

#[test]
fn every_job_of_many_spawners_runs_once() {
    const JOBS: usize = 20_000;
    let owner = Owner::new(3);
    let runs: Arc<Vec<AtomicUsize>> =
        Arc::new((0..4 * JOBS).map(|_| AtomicUsize::new(0)).collect());
    std::thread::scope(|scope| {
        for spawner in 0..4 {
            let (owner, runs) = (&owner, &runs);
            scope.spawn(move || {
                for job in 0..JOBS {
                    let runs = Arc::clone(runs);
                    owner.spawn(move |_| {
                        runs[spawner * JOBS + job].fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    drop(owner);
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
}

#[test]
fn outside_jobs_get_a_turn_beside_a_job_that_spawns_itself_for_ever() {
    fn again(crew: &Arc<Crew<Task>>, stop: &Arc<AtomicUsize>) {
        if stop.load(Ordering::Relaxed) == 0 {
            let (next, stop) = (Arc::clone(crew), Arc::clone(stop));
            let _ = crew.spawn(Task(Box::new(move |_| again(&next, &stop))));
        }
    }
    let owner = Owner::new(1);
    let stop = Arc::new(AtomicUsize::new(0));
    let (crew, its_stop) = (Arc::clone(&owner.0), Arc::clone(&stop));
    owner.spawn(move |_| again(&crew, &its_stop));
    let (done, is_done) = mpsc::channel();
    owner.spawn(move |_| done.send(()).unwrap());
    next(&is_done);
    stop.store(1, Ordering::Relaxed);
}

#[test]
fn dropping_finishes_what_was_queued_and_joins_the_threads() {
    let stopped = Arc::new(AtomicUsize::new(0));
    let its_stopped = Arc::clone(&stopped);
    let owner = Owner::with(2, |options| {
        options.on_stop = Some(Box::new(move |_| {
            std::thread::sleep(Duration::from_millis(20));
            its_stopped.fetch_add(1, Ordering::Relaxed);
        }));
    });
    let runs = Arc::new(AtomicUsize::new(0));
    let releases = [owner.block_a_worker(), owner.block_a_worker()];
    for _ in 0..100 {
        let runs = Arc::clone(&runs);
        owner.spawn(move |_| {
            runs.fetch_add(1, Ordering::Relaxed);
        });
    }
    drop(releases);
    drop(owner);
    assert_eq!(runs.load(Ordering::Relaxed), 100);
    assert_eq!(stopped.load(Ordering::Relaxed), 2);
}

#[test]
fn after_shutdown_jobs_are_handed_back_and_queued_ones_run() {
    let owner = Owner::new(1);
    let release = owner.block_a_worker();
    let (ended, ends) = mpsc::channel();
    let sender = ended.clone();
    owner.spawn(move |end| sender.send(end).unwrap());
    owner.0.close(Shutdown::Drain);
    assert!(!owner.try_spawn(|_| unreachable!()));
    drop(release);
    assert_eq!(next(&ends), End::Run);
}

#[test]
fn cancel_queued_ends_queued_jobs_while_the_worker_is_busy() {
    let owner = Owner::new(1);
    let release = owner.block_a_worker();
    let (ended, ends) = mpsc::channel();
    for _ in 0..100 {
        let ended = ended.clone();
        owner.spawn(move |end| ended.send(end).unwrap());
    }
    owner.0.close(Shutdown::CancelQueued);
    assert!((0..100).all(|_| next(&ends) == End::Cancelled));
    drop(release);
}

#[test]
fn cancel_queued_reaches_the_deques_of_workers() {
    let owner = Owner::new(1);
    let (ended, ends) = mpsc::channel();
    let crew = Arc::clone(&owner.0);
    owner.spawn(move |_| {
        for _ in 0..10 {
            let ended = ended.clone();
            let job = Task(Box::new(move |end| ended.send(end).unwrap()));
            assert!(crew.spawn(job).is_ok());
        }
        crew.close(Shutdown::CancelQueued);
    });
    assert!((0..10).all(|_| next(&ends) == End::Cancelled));
}

#[test]
fn a_job_may_end_the_pool_that_runs_it() {
    let owner = Owner::new(2);
    let (ended, ends) = mpsc::channel();
    let (give, given) = mpsc::channel::<Owner>();
    owner.spawn(move |_| {
        drop(given.recv_timeout(DEADLINE).unwrap());
        ended.send(()).unwrap();
    });
    give.send(owner).unwrap();
    next(&ends);
}

#[test]
fn spawning_against_shutdown_loses_nothing() {
    for round in 0..300 {
        let owner = Owner::new(2);
        let [accepted, ended] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let ended = Arc::clone(&ended);
                        let job = move |_| {
                            ended.fetch_add(1, Ordering::Relaxed);
                        };
                        if !owner.try_spawn(job) {
                            break;
                        }
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let how = [Shutdown::Drain, Shutdown::CancelQueued][round % 2];
            std::thread::sleep(Duration::from_micros(20));
            owner.0.close(how);
        });
        drop(owner);
        assert_eq!(
            accepted.load(Ordering::Relaxed),
            ended.load(Ordering::Relaxed)
        );
    }
}

#[test]
fn panicking_hooks_and_jobs_leave_the_worker_alive() {
    let owner = Owner::with(1, |options| {
        options.on_start = Some(Box::new(|_| panic!("start")));
        options.on_stop = Some(Box::new(|_| panic!("stop")));
    });
    owner.spawn(|_| panic!("a job must not, but does"));
    let (done, is_done) = mpsc::channel();
    owner.spawn(move |_| done.send(()).unwrap());
    next(&is_done);
    assert_eq!(owner.0.num_threads(), 1);
}

#[test]
fn without_any_thread_jobs_are_handed_back() {
    let owner = Owner::with(2, |options| options.stack_size = Some(usize::MAX / 4));
    for _ in 0..3 {
        assert!(!owner.try_spawn(|_| unreachable!()));
    }
    assert_eq!(owner.0.num_threads(), 0);
}

#[test]
fn threads_are_named_and_counted() {
    let owner = Owner::new(2);
    let (name, names) = mpsc::channel();
    owner.spawn(move |_| {
        let thread = std::thread::current();
        name.send(thread.name().unwrap().to_owned()).unwrap();
    });
    assert_eq!(next(&names), "test-0");
}

#[test]
fn an_impatient_owner_leaves_a_busy_thread_behind() {
    let owner = Owner::new(1);
    let release = owner.block_a_worker();
    owner.0.close(Shutdown::Drain);
    let soon = Some(Instant::now() + Duration::from_millis(10));
    assert!(!owner.0.join_until(soon));
    drop(release);
    assert!(owner.0.join_until(Some(Instant::now() + DEADLINE)));
}
