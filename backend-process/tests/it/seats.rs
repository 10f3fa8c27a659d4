//! A caller that waits for its one task is woken by the worker itself: whatever else may end
//! the wait, and that nothing is lost by it.
//!
//! Each case makes sure that the caller waits so before it goes on.

use std::fmt::Debug;
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use taskfarm_core::{
    CancelOutcome, Executor, Handle, ProcessEnd, SameBinaryExt, Shutdown, TaskError, TaskErrorKind,
};
use taskfarm_process::{ProcessPool, StartMethod};

use crate::Case;
use crate::scratch::{Scratch, append, lines};
use crate::support::{
    eventually, idle_workers, num_sleeps_of, pool, signal, stop, warm_up, worker_at,
};

pub(crate) const CASES: &[Case] = &[
    (
        "seats::a_killed_worker_ends_the_wait",
        a_killed_worker_ends_the_wait,
    ),
    (
        "seats::an_abort_of_the_pool_ends_the_wait",
        an_abort_of_the_pool_ends_the_wait,
    ),
    (
        "seats::a_pool_that_is_dropped_waits_for_the_task",
        a_pool_that_is_dropped_waits_for_the_task,
    ),
    (
        "seats::a_cancelled_neighbour_does_not_disturb_the_wait",
        a_cancelled_neighbour_does_not_disturb_the_wait,
    ),
    (
        "seats::a_wait_whose_time_runs_out_leaves_the_task_unharmed",
        a_wait_whose_time_runs_out,
    ),
    (
        "seats::a_task_that_moves_to_another_worker_takes_the_wait_along",
        a_task_that_moves_to_another_worker,
    ),
    (
        "seats::a_big_result_comes_in_pieces",
        a_big_result_comes_in_pieces,
    ),
    ("seats::many_threads_wait_for_one_worker", |method| {
        check_many_threads(method, 1)
    }),
    ("seats::many_threads_wait_for_two_workers", |method| {
        check_many_threads(method, 2)
    }),
    (
        "seats::workers_that_die_under_many_threads_end_each_wait_once",
        workers_that_die_under_many_threads,
    ),
    (
        "seats::a_task_on_an_idle_pool_leaves_the_io_thread_asleep",
        a_task_on_an_idle_pool_leaves_the_io_thread_asleep,
    ),
];

/// Longer than any case may take.
const LONG: Duration = Duration::from_secs(1000);

/// The system call that a thread of this process is in, with its arguments, as the kernel
/// writes it.
fn system_call(thread: i32) -> String {
    let path = format!("/proc/self/task/{thread}/syscall");
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Whether the thread sleeps at a word that it shares with another process.
fn is_seated(thread: i32) -> bool {
    let call = system_call(thread);
    let mut words = call.split_whitespace();
    let is_futex = words.next() == Some(&libc::SYS_futex.to_string());
    // `FUTEX_WAIT` without `FUTEX_PRIVATE_FLAG`; what the standard library does is private.
    is_futex && words.nth(1) == Some("0x0")
}

/// Joins the task on a thread of its own; returns when that waits at the worker.
fn join_seated<R, E>(handle: Handle<'static, R, E>) -> JoinHandle<Result<R, TaskError<E>>>
where
    R: Send + 'static,
    E: Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let joiner = thread::spawn(move || {
        // SAFETY: no memory is involved.
        sender.send(unsafe { libc::gettid() }).unwrap();
        handle.join()
    });
    let thread = receiver.recv().unwrap();
    eventually("the caller waits at the worker", || {
        is_seated(thread).then_some(())
    });
    joiner
}

/// Ends when there is a line in the file.
fn wait_for_a_line(path: &str) {
    eventually("it may go on", || (!lines(path).is_empty()).then_some(()));
}

/// A task that runs until there is a line in the file.
fn held(pool: &ProcessPool, path: &str) -> Handle<'static, u32> {
    pool.submit(path.to_owned(), |path| {
        wait_for_a_line(&path);
        7
    })
}

/// A pool works as before.
#[track_caller]
fn check_alive(pool: &ProcessPool) {
    for n in 0..20_u32 {
        assert_eq!(pool.submit(n, |n| n + 1).join().unwrap(), n + 1);
    }
}

#[track_caller]
fn kind<R: Debug>(result: Result<R, TaskError>) -> TaskErrorKind {
    result.unwrap_err().into_kind()
}

fn a_killed_worker_ends_the_wait(method: StartMethod) {
    let pool = pool(method, 1);
    let worker = warm_up(&pool, 1)[0].pid;
    let joiner = join_seated(pool.submit((), |()| thread::sleep(LONG)));
    // One that had not begun it would cost nobody anything: another worker would sleep.
    worker_at(&pool, 0);
    signal(worker, libc::SIGKILL);
    match kind(joiner.join().unwrap()) {
        TaskErrorKind::WorkerLost(lost) => {
            assert_eq!(lost.ended, ProcessEnd::Signaled(libc::SIGKILL));
        }
        other => panic!("{other:?}"),
    }
    check_alive(&pool);
}

fn an_abort_of_the_pool_ends_the_wait(method: StartMethod) {
    let pool = pool(method, 1);
    warm_up(&pool, 1);
    let joiner = join_seated(pool.submit((), |()| thread::sleep(LONG)));
    pool.shutdown(Shutdown::Abort);
    assert!(joiner.join().unwrap().unwrap_err().is_cancelled());
}

fn a_pool_that_is_dropped_waits_for_the_task(method: StartMethod) {
    let scratch = Scratch::new();
    let go = scratch.file("go");
    let pool = pool(method, 1);
    warm_up(&pool, 1);
    let joiner = join_seated(held(&pool, &go));
    let closer = thread::spawn(|| drop(pool));
    append(&go, "go");
    assert_eq!(joiner.join().unwrap().unwrap(), 7);
    closer.join().unwrap();
}

fn a_cancelled_neighbour_does_not_disturb_the_wait(method: StartMethod) {
    let scratch = Scratch::new();
    let go = scratch.file("go");
    let pool = pool(method, 1);
    warm_up(&pool, 1);
    let joiner = join_seated(held(&pool, &go));
    let neighbours: Vec<_> = (0..5_u32).map(|n| pool.submit(n, |n| n)).collect();
    for neighbour in &neighbours[..4] {
        assert_eq!(neighbour.cancel(), CancelOutcome::NotStarted);
    }
    append(&go, "go");
    assert_eq!(joiner.join().unwrap().unwrap(), 7);
    let results: Vec<_> = neighbours.into_iter().map(Handle::join).collect();
    assert!(results[..4].iter().all(Result::is_err), "{results:?}");
    assert_eq!(*results[4].as_ref().unwrap(), 4);
}

fn a_wait_whose_time_runs_out(method: StartMethod) {
    let scratch = Scratch::new();
    let go = scratch.file("go");
    let pool = pool(method, 1);
    warm_up(&pool, 1);
    let mut handle = held(&pool, &go);
    for _ in 0..10 {
        let waited = handle.join_timeout(Duration::from_millis(2));
        handle = waited.expect_err("nothing lets it go on");
    }
    let joiner = join_seated(handle);
    append(&go, "go");
    assert_eq!(joiner.join().unwrap().unwrap(), 7);
    check_alive(&pool);
    assert_eq!(pool.stats().replaced, 0);
}

fn a_task_that_moves_to_another_worker(method: StartMethod) {
    let pool = pool(method, 2);
    let workers = warm_up(&pool, 2);
    // Of two that have nothing to do, the first one is sent a task.
    stop(workers[0].pid);
    let joiner = join_seated(pool.submit((), |()| std::process::id()));
    assert_eq!(joiner.join().unwrap().unwrap(), workers[1].pid);
    signal(workers[0].pid, libc::SIGCONT);
    idle_workers(&pool, 2);
    check_alive(&pool);
}

fn a_big_result_comes_in_pieces(method: StartMethod) {
    const LEN: usize = 20 << 20;
    let scratch = Scratch::new();
    let go = scratch.file("go");
    let pool = pool(method, 1);
    warm_up(&pool, 1);
    let big = pool.submit(go.clone(), |go| {
        wait_for_a_line(&go);
        ByteBuf::from(vec![5; LEN])
    });
    let joiner = join_seated(big);
    append(&go, "go");
    let bytes = joiner.join().unwrap().unwrap();
    assert!(bytes.len() == LEN && bytes.iter().all(|byte| *byte == 5));
    check_alive(&pool);
}

fn check_many_threads(method: StartMethod, num_workers: usize) {
    const NUM_THREADS: u32 = 6;
    let pool = pool(method, num_workers);
    warm_up(&pool, num_workers);
    let start = Barrier::new(NUM_THREADS as usize);
    let run = |thread: u32| {
        start.wait();
        for n in 0..200 {
            let n = 1000 * thread + n;
            let handle = pool.submit(n, |n| n + 1);
            // Some give up at once, and wait again.
            let result = match n % 3 {
                0 => handle
                    .join_timeout(Duration::ZERO)
                    .or_else(|handle| Ok(handle.join())),
                1 => handle
                    .join_timeout(Duration::from_micros(20))
                    .or_else(|handle| Ok(handle.join())),
                _ => Ok(handle.join()),
            };
            let result: Result<_, Handle<'_, u32>> = result;
            assert_eq!(result.unwrap().unwrap(), n + 1);
        }
    };
    thread::scope(|scope| {
        for thread in 0..NUM_THREADS {
            scope.spawn(move || run(thread));
        }
    });
    assert_eq!(pool.stats().replaced, 0);
}

fn workers_that_die_under_many_threads(method: StartMethod) {
    let pool = pool(method, 2);
    warm_up(&pool, 2);
    let run = |thread: u32| {
        let mut num_lost = 0;
        for n in 0..60 {
            let n = 1000 * thread + n;
            let result = pool.submit(n, |n| match n % 20 {
                7 => std::process::abort(),
                _ => n + 1,
            });
            match result.join() {
                Ok(result) => assert_eq!(result, n + 1),
                Err(error) => {
                    assert_eq!(n % 20, 7, "{error}");
                    num_lost += 1;
                }
            }
        }
        assert_eq!(num_lost, 3);
    };
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || run(thread));
        }
    });
    check_alive(&pool);
}

/// Without seats, each task wakes it at least once.
fn a_task_on_an_idle_pool_leaves_the_io_thread_asleep(method: StartMethod) {
    const ROUNDS: u64 = 40;
    let scratch = Scratch::new();
    let pool = pool(method, 1);
    warm_up(&pool, 1);
    let (before, started) = (num_sleeps_of("taskfarm-io"), Instant::now());
    for round in 0..ROUNDS {
        let go = scratch.file(&round.to_string());
        let joiner = join_seated(held(&pool, &go));
        append(&go, "go");
        assert_eq!(joiner.join().unwrap().unwrap(), 7);
    }
    let sleeps = num_sleeps_of("taskfarm-io") - before;
    // The patrol looks from time to time.
    let patrols = started.elapsed().as_millis() as u64 / 50 + 1;
    assert!(
        sleeps <= ROUNDS / 4 + patrols,
        "{sleeps} wake-ups of the I/O thread, up to {patrols} of which are the patrol's"
    );
}
