//! Defects that were found and mended: one case each, named by what went wrong.

use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use taskfarm_core::{
    CancelOutcome, ErrorPolicy, Handle, ProcessEnd, SameBinaryExt, TaskError, TaskErrorKind,
};
use taskfarm_process::StartMethod;

use crate::Case;
use crate::scratch::{Scratch, append, lines};
use crate::support::{builder, eventually, pool, worker_at};

pub(crate) const CASES: &[Case] = &[
    (
        "bugs::an_ignored_sigchld_hid_deaths",
        an_ignored_sigchld_hid_deaths,
    ),
    (
        "bugs::children_reaped_by_a_stranger_hid_deaths",
        children_reaped_by_a_stranger_hid_deaths,
    ),
    (
        "bugs::prints_went_to_the_protocol_when_stdout_was_closed",
        prints_went_to_the_protocol,
    ),
    (
        "bugs::an_abort_in_the_drop_of_a_result_cost_the_neighbours",
        an_abort_in_the_drop_of_a_result,
    ),
    (
        "bugs::a_context_whose_decoding_panicked_killed_workers",
        a_context_whose_decoding_panicked,
    ),
    (
        "bugs::a_cancel_elsewhere_held_finished_outcomes_back",
        a_cancel_elsewhere_held_finished_outcomes_back,
    ),
    (
        "bugs::a_context_was_dropped_on_the_thread_of_the_pool",
        a_context_was_dropped_on_the_thread_of_the_pool,
    ),
    (
        "bugs::a_panic_of_the_thread_of_the_pool_hung_everything",
        a_panic_of_the_thread_of_the_pool,
    ),
    (
        "bugs::a_copy_of_the_process_used_the_pool_of_the_original",
        a_copy_of_the_process_used_the_pool,
    ),
    (
        "bugs::a_task_that_closed_its_bell_burned_a_core_of_the_pool",
        a_task_that_closed_its_bell,
    ),
    (
        "bugs::a_program_that_gave_up_root_could_not_kill",
        a_program_that_gave_up_root,
    ),
    (
        "bugs::memory_limits_were_blamed_by_guessing",
        memory_limits_were_blamed_by_guessing,
    ),
    (
        "bugs::a_memory_limit_above_the_users_own_stopped_every_worker",
        a_memory_limit_above_the_users_own,
    ),
    (
        "bugs::few_descriptors_stopped_every_worker",
        few_descriptors_stopped_every_worker,
    ),
    (
        "bugs::a_zygote_with_threads_forked",
        a_zygote_with_threads_forked,
    ),
    (
        "bugs::tasks_that_were_taken_back_wore_their_worker_out",
        tasks_that_were_taken_back,
    ),
];

/// The outcome of a task that must end soon.
#[track_caller]
fn outcome<R, E: std::fmt::Debug>(handle: Handle<'_, R, E>) -> Result<R, TaskError<E>> {
    match handle.join_timeout(Duration::from_secs(20)) {
        Ok(outcome) => outcome,
        Err(_) => panic!("the task never ended"),
    }
}

/// Dies of item 1, and gives any other back.
fn die_of_1(n: u32) -> u32 {
    if n == 1 {
        std::process::abort();
    }
    n
}

#[track_caller]
fn how_it_ended<R: std::fmt::Debug, E: std::fmt::Debug>(
    outcome: Result<R, TaskError<E>>,
) -> ProcessEnd {
    match outcome.unwrap_err().kind() {
        TaskErrorKind::WorkerLost(lost) => lost.ended,
        other => panic!("{other:?}"),
    }
}

fn an_ignored_sigchld_hid_deaths(method: StartMethod) {
    // SAFETY: no handler is involved.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let pool = pool(method, 1);
    assert_eq!(outcome(pool.submit(0, die_of_1)).unwrap(), 0);
    let expected = match method {
        // The kernel has forgotten how this process's own children ended.
        StartMethod::Exec => ProcessEnd::Unknown,
        _ => ProcessEnd::Signaled(libc::SIGABRT),
    };
    assert_eq!(how_it_ended(outcome(pool.submit(1, die_of_1))), expected);
    // A task's own children can be waited for.
    let child = pool.submit((), |()| {
        let status = std::process::Command::new("true").status();
        status.unwrap().success()
    });
    assert!(outcome(child).unwrap());
}

fn children_reaped_by_a_stranger_hid_deaths(method: StartMethod) {
    let pool = pool(method, 1);
    std::thread::spawn(|| {
        loop {
            let mut status = 0;
            // SAFETY: the pointer is to this frame.
            if unsafe { libc::waitpid(-1, &raw mut status, 0) } < 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
    assert_eq!(outcome(pool.submit(0, die_of_1)).unwrap(), 0);
    let ended = how_it_ended(outcome(pool.submit(1, die_of_1)));
    let seen = ended == ProcessEnd::Signaled(libc::SIGABRT);
    let stolen = method == StartMethod::Exec && ended == ProcessEnd::Unknown;
    assert!(seen || stolen, "{ended:?}");
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
}

fn prints_went_to_the_protocol(method: StartMethod) {
    for descriptor in 0..3 {
        // SAFETY: nothing owns them.
        unsafe { libc::close(descriptor) };
    }
    let report = || {
        let pool = pool(method, 2);
        let printed = pool
            .map(0..100_u32, |n| {
                println!("task {n} says something rather long, and then says it again");
                eprintln!("task {n} complains");
                n
            })
            .collect();
        let printed: Vec<u32> = printed.map_err(|error| error.to_string())?;
        let links = outcome(pool.submit((), |()| {
            let link = |number| std::fs::read_link(format!("/proc/self/fd/{number}"));
            (0..3).all(|number| link(number).is_ok_and(|link| link.ends_with("null")))
        }));
        match (printed.len(), pool.stats().replaced, links) {
            (100, 0, Ok(true)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    if report() != Ok(()) {
        // There is nowhere to say more.
        std::process::exit(3);
    }
}

/// A context that tells where it is dropped, and then panics.
struct Touchy(u32);

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Touchy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self)
    }
}

static PARENT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
static DROPPED_ON: std::sync::Mutex<Option<std::thread::ThreadId>> = std::sync::Mutex::new(None);

impl Drop for Touchy {
    fn drop(&mut self) {
        if std::process::id() == PARENT.load(std::sync::atomic::Ordering::Relaxed) {
            *DROPPED_ON.lock().unwrap() = Some(std::thread::current().id());
            panic!("a drop that panics");
        }
    }
}

fn a_context_was_dropped_on_the_thread_of_the_pool(method: StartMethod) {
    PARENT.store(std::process::id(), std::sync::atomic::Ordering::Relaxed);
    let pool = pool(method, 1);
    let mut items = pool
        .context(Touchy(1))
        .map(0..3_u32, |_, n| {
            std::thread::sleep(Duration::from_millis(u64::from(n) * 100))
        })
        .chunk_size(1)
        .as_completed()
        .unwrap();
    assert!(items.next().unwrap().1.is_ok());
    let abandoned = std::panic::AssertUnwindSafe(|| drop(items));
    let _ = std::panic::catch_unwind(abandoned);
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
    let dropped_on = *DROPPED_ON.lock().unwrap();
    assert_eq!(dropped_on, Some(std::thread::current().id()));
}

/// A logger, and a waker, that panic.
struct Panics;

impl log::Log for Panics {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        panic!("a logger that panics");
    }

    fn flush(&self) {}
}

impl Wake for Panics {
    fn wake(self: std::sync::Arc<Self>) {
        panic!("a waker that panics, which is logged");
    }
}

fn a_panic_of_the_thread_of_the_pool(method: StartMethod) {
    let pool = pool(method, 1);
    let sleep = |_: u32| std::thread::sleep(Duration::from_millis(100));
    let mut first = std::pin::pin!(pool.submit(1, sleep));
    let second = pool.submit(2, |_: u32| std::thread::sleep(Duration::from_secs(1000)));
    log::set_logger(&Panics).unwrap();
    log::set_max_level(log::LevelFilter::Error);
    let waker = Waker::from(std::sync::Arc::new(Panics));
    assert!(Future::poll(first.as_mut(), &mut Context::from_waker(&waker)).is_pending());
    let error = outcome(second).unwrap_err();
    let reason = "the pool's own thread panicked: a logger that panics";
    assert!(error.to_string().contains(reason), "{error}");
    let error = outcome(pool.submit(3, sleep)).unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
    drop(pool);
    assert_eq!(crate::support::children(), Vec::<u32>::new());
}

fn a_copy_of_the_process_used_the_pool(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
    let waiting = pool.submit(0, |_: u32| std::thread::sleep(Duration::from_secs(1000)));
    worker_at(&pool, 0);
    // SAFETY: the child calls nothing but the pool's own functions, and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = outcome(pool.submit(3, die_of_1)).is_err();
        let harmless = waiting.cancel() == CancelOutcome::TooLate && pool.workers().is_empty();
        drop(pool);
        // SAFETY: ends the child.
        unsafe { libc::_exit(if refused && harmless { 42 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to this frame.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(libc::WEXITSTATUS(status), 42, "{status:#x}");
    assert_eq!(waiting.cancel(), CancelOutcome::Killed);
    for n in 3..20 {
        assert_eq!(outcome(pool.submit(n, die_of_1)).unwrap(), n);
    }
    assert_eq!(pool.stats().items, 18);
}

fn a_task_that_closed_its_bell(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
    let mut items = pool
        .map([0, 0, 1000], |millis: u64| {
            // SAFETY: a rude task, which owns none of them.
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
            std::thread::sleep(Duration::from_millis(millis));
        })
        .chunk_size(3)
        .as_completed()
        .unwrap();
    let (before, started) = (cpu_time(), Instant::now());
    // Finished items are seen while the last one runs, though nobody can ring.
    assert!(items.next().unwrap().1.is_ok());
    assert!(items.next().unwrap().1.is_ok());
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    assert!(items.next().unwrap().1.is_ok());
    let used = cpu_time() - before;
    assert!(used < started.elapsed() / 4, "{used:?}");
}

/// What this process has used so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to this frame.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

fn a_program_that_gave_up_root(method: StartMethod) {
    // SAFETY: no memory is involved.
    let is_root = unsafe { libc::geteuid() } == 0;
    // Executed workers have nobody else to kill them: PROTOCOL.md says so.
    if !is_root || method == StartMethod::Exec {
        return;
    }
    let pool = pool(method, 1);
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
    let nobody = 65534;
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::setuid(nobody) }, 0);
    let sleep = |n: u32| {
        if n == 1 {
            std::thread::sleep(Duration::from_secs(1000));
        }
    };
    let limited = pool.map(0..3, sleep).timeout(Duration::from_millis(500));
    let outcomes = limited.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    let error = outcomes[1].as_ref().unwrap_err();
    assert!(
        matches!(error.kind(), TaskErrorKind::TimedOut(_)),
        "{error}"
    );
    let asleep = pool.submit(1, sleep);
    worker_at(&pool, 0);
    assert_eq!(asleep.cancel(), CancelOutcome::Killed);
    assert!(outcome(asleep).is_err());
}

fn memory_limits_were_blamed_by_guessing(method: StartMethod) {
    let pool = builder(method, 1).memory_limit(256 << 20).build().unwrap();
    let at_once = pool.submit(1 << 30, |len: usize| vec![1_u8; len].len());
    assert_eq!(how_it_ended(outcome(at_once)), ProcessEnd::MemoryLimit);
    let growing = pool.submit((), |()| {
        let mut bytes = Vec::new();
        while std::process::id() != 0 {
            bytes.extend_from_slice(&[1_u8; 1 << 16]);
        }
        bytes.len()
    });
    assert_eq!(how_it_ended(outcome(growing)), ProcessEnd::MemoryLimit);
    let near = pool.submit(205 << 20, |len: usize| {
        let bytes = std::hint::black_box(vec![1_u8; len]);
        if bytes.len() == len {
            std::process::abort();
        }
    });
    assert_eq!(
        how_it_ended(outcome(near)),
        ProcessEnd::Signaled(libc::SIGABRT)
    );
    // A fork of a worker aborts as any other process.
    let forked = pool.submit((), |()| {
        // SAFETY: the worker has one thread, and the child ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no memory is involved; it fails, and leaves a word behind.
            unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    1 << 60,
                    0,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            std::process::abort();
        }
        let mut status = 0;
        // SAFETY: the pointer is to this frame.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        libc::WTERMSIG(status)
    });
    assert_eq!(outcome(forked).unwrap(), libc::SIGABRT);
}

/// Sets the soft and hard limit.
fn set_limit(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the pointer is to this frame.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

fn a_memory_limit_above_the_users_own(method: StartMethod) {
    set_limit(libc::RLIMIT_DATA, 512 << 20, 512 << 20);
    // Root may raise its limits; nobody else may.
    // SAFETY: no memory is involved.
    unsafe { libc::setuid(65534) };
    let pool = builder(method, 1).memory_limit(1 << 30).build().unwrap();
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
}

fn few_descriptors_stopped_every_worker(method: StartMethod) {
    set_limit(libc::RLIMIT_NOFILE, 40, 4096);
    let pool = pool(method, 1);
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
    how_it_ended(outcome(pool.submit(1, die_of_1)));
    assert_eq!(outcome(pool.submit(3, die_of_1)).unwrap(), 3);
}

const STARTS_A_THREAD: &str = "TASKFARM_IT_STARTS_A_THREAD";

/// What a C++ library with a thread of its own does.
#[used]
// SAFETY: the section holds pointers to functions, which the loader calls once each.
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

extern "C" fn construct() {
    if std::env::var_os(STARTS_A_THREAD).is_some() {
        std::thread::spawn(|| std::thread::sleep(Duration::from_secs(1000)));
    }
}

fn a_zygote_with_threads_forked(method: StartMethod) {
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var(STARTS_A_THREAD, "1") };
    let pool = pool(method, 1);
    let outcome = outcome(pool.submit(2, die_of_1));
    if method == StartMethod::Zygote {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("starts a thread before `main`"), "{error}");
        assert!(error.contains("StartMethod::Exec"), "{error}");
    } else {
        assert_eq!(outcome.unwrap(), 2);
    }
}

fn tasks_that_were_taken_back(method: StartMethod) {
    let pool = builder(method, 1).max_tasks_per_worker(30).build().unwrap();
    let pid = |_: u32| std::process::id();
    let mut pids: Vec<u32> = (0..20)
        .map(|n| outcome(pool.submit(n, pid)).unwrap())
        .collect();
    // Quick ones, so that the worker is given a few at a time.
    let running = pool.submit(0, |_: u32| {
        std::thread::sleep(Duration::from_millis(100));
        std::process::id()
    });
    worker_at(&pool, 0);
    let waiting: Vec<_> = (0..20).map(|n| pool.submit(n, pid)).collect();
    for handle in waiting {
        assert_eq!(handle.cancel(), CancelOutcome::NotStarted);
    }
    pids.push(outcome(running).unwrap());
    pids.extend((21..30).map(|n| outcome(pool.submit(n, pid)).unwrap()));
    assert_eq!(pids, [pids[0]; 30]);
    assert_ne!(outcome(pool.submit(0, pid)).unwrap(), pids[0]);
}

/// Aborts a worker that drops it.
#[derive(Debug)]
struct AbortsInDrop(u32);

impl Serialize for AbortsInDrop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AbortsInDrop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self)
    }
}

impl Drop for AbortsInDrop {
    fn drop(&mut self) {
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        if self.0 % 3 == 1 && name.trim() == "taskfarm-worker" {
            std::process::abort();
        }
    }
}

fn an_abort_in_the_drop_of_a_result(method: StartMethod) {
    let pool = pool(method, 2);
    let map = pool.map(0..12, AbortsInDrop).chunk_size(6);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(result) => assert!(result.0 == n && n % 3 != 1),
            Err(error) => {
                assert_eq!(n % 3, 1, "{error}");
                assert!(
                    matches!(error.kind(), TaskErrorKind::WorkerLost(_)),
                    "{error}"
                );
            }
        }
    }
}

/// A context that cannot be decoded.
struct Undecodable;

impl Serialize for Undecodable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("what is this?")
    }
}

fn a_context_whose_decoding_panicked(method: StartMethod) {
    let pool = pool(method, 1);
    let map = pool.context(Undecodable).map(0..4_u32, |_, n| n);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    assert_eq!(outcomes.len(), 4);
    for outcome in outcomes {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("what is this?"), "{error}");
    }
    assert_eq!(pool.stats().replaced, 0);
}

/// Sleeps for so many milliseconds, or until there is a line in the file.
fn sleep_or_wait((millis, path): (u64, String)) -> u64 {
    match millis {
        u64::MAX => eventually("it may go on", || (!lines(&path).is_empty()).then_some(())),
        _ => std::thread::sleep(Duration::from_millis(millis)),
    }
    millis
}

fn a_cancel_elsewhere_held_finished_outcomes_back(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(outcome(pool.submit(2, die_of_1)).unwrap(), 2);
    for round in 0..4 {
        let scratch = Scratch::new();
        let go = scratch.file(&round.to_string());
        let items = [90, 10, 0, u64::MAX].map(|millis| (millis, go.clone()));
        let map = pool.map(items, sleep_or_wait).chunk_size(4);
        let mut results = map.as_completed().unwrap();
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let pool = &pool;
            scope.spawn(move || {
                // Around the time at which the first item ends.
                std::thread::sleep(Duration::from_millis(80));
                while receiver.try_recv().is_err() {
                    pool.submit(2, die_of_1).cancel();
                }
            });
            let first = results.next().unwrap().1.unwrap();
            sender.send(()).unwrap();
            let since = Instant::now();
            let others = [0; 2].map(|_| results.next().unwrap().1.unwrap());
            assert_eq!((first, others), (90, [10, 0]));
            // Or the pool only looked because its worker seemed to be stuck.
            let waited = since.elapsed();
            assert!(waited < Duration::from_secs(4), "held back for {waited:?}");
        });
        append(&go, "go");
        assert_eq!(results.next().unwrap().1.unwrap(), u64::MAX);
    }
}
