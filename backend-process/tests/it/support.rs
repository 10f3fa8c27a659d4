//! What several cases need.

use std::time::{Duration, Instant};

use taskfarm_process::{Builder, ProcessPool, StartMethod, WorkerInfo, WorkerState};

/// A pool that is started so.
pub(crate) fn pool(method: StartMethod, num_workers: usize) -> ProcessPool {
    builder(method, num_workers).build().expect("a pool")
}

/// The options of such a pool.
pub(crate) fn builder(method: StartMethod, num_workers: usize) -> Builder {
    ProcessPool::builder()
        .num_workers(num_workers)
        .start(method)
}

/// Waits for something that must happen soon.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until that many workers wait for work.
pub(crate) fn idle_workers(pool: &ProcessPool, number: usize) -> Vec<WorkerInfo> {
    eventually("all workers are idle", || {
        let workers = pool.workers();
        let idle = |worker: &WorkerInfo| worker.state == WorkerState::Idle;
        (workers.len() == number && workers.iter().all(idle)).then_some(workers)
    })
}

/// Waits until a worker runs the item with this index.
pub(crate) fn worker_at(pool: &ProcessPool, index: usize) -> WorkerInfo {
    eventually("a worker is in the item", || {
        pool.workers()
            .into_iter()
            .find(|worker| worker.item.is_some_and(|item| item.index == index))
    })
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) };
}

/// The states of all threads of a process, as the kernel writes them; none if it is gone.
fn states(pid: u32) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let stats = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // After the name, which may hold anything.
    stats
        .filter_map(|stat| stat.rsplit(')').next()?.trim_start().chars().next())
        .collect()
}

/// Whether there is such a process, other than a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    states(pid).iter().any(|state| !matches!(state, 'Z' | 'X'))
}

/// Whether no thread of the process runs or is about to.
pub(crate) fn is_asleep(pid: u32) -> bool {
    let states = states(pid);
    !states.is_empty() && states.iter().all(|state| *state == 'S')
}

/// Stops a process; when this returns, none of its threads does anything.
pub(crate) fn stop(pid: u32) {
    signal(pid, libc::SIGSTOP);
    eventually("the process has stopped", || {
        let states = states(pid);
        let stopped = !states.is_empty() && states.iter().all(|state| *state == 'T');
        stopped.then_some(())
    });
}

/// How often the process has gone to sleep.
pub(crate) fn num_sleeps(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    sleeps_in(&status)
}

/// How often the threads of this process with this name have gone to sleep.
pub(crate) fn num_sleeps_of(name: &str) -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let statuses =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
    let is_it = |status: &String| status.lines().next() == Some(&format!("Name:\t{name}"));
    statuses
        .filter(is_it)
        .map(|status| sleeps_in(&status))
        .sum()
}

fn sleeps_in(status: &str) -> u64 {
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

/// Runs the case that runs here once more, in a child with this variable set, which tells
/// it to play another part.
pub(crate) fn play(variable: &str, value: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(std::env::args().skip(1)).env(variable, value);
    command
}

/// Has the orphans of all descendants become children of this process, so that none of them
/// can get lost.
pub(crate) fn adopt_orphans() {
    // SAFETY: no memory is involved.
    let adopted = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    assert_eq!(adopted, 0);
}

/// Waits until every descendant of this process, which must have [adopted](adopt_orphans)
/// them, has ended, other than `but`. How long that took.
pub(crate) fn no_descendant_is_left(but: Option<u32>) -> Duration {
    let started = Instant::now();
    eventually("all descendants have ended", || {
        // SAFETY: takes the ends of children; no memory is involved.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
        (children() == Vec::from_iter(but)).then_some(())
    });
    started.elapsed()
}

/// The children of this process, zombies included.
pub(crate) fn children() -> Vec<u32> {
    children_of(std::process::id())
}

/// The children of a process, zombies included.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for thread in threads.flatten() {
        let path = thread.path().join("children");
        let list = std::fs::read_to_string(path).unwrap_or_default();
        children.extend(
            list.split_whitespace()
                .map(|pid| pid.parse::<u32>().unwrap()),
        );
    }
    children
}

/// Leaves a copy of this worker that has all its descriptors, in a session of its own, so
/// that it does not die with its group; its pid goes to the file.
pub(crate) fn leave_a_grandchild(path: &str) {
    // SAFETY: a worker has one thread; the copy does nothing but system calls.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: no memory is involved.
        unsafe { libc::setsid() };
        crate::scratch::append(path, std::process::id());
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }
    eventually("the grandchild is there", || {
        (!crate::scratch::lines(path).is_empty()).then_some(())
    });
}

/// The number of open descriptors.
pub(crate) fn num_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Fills all workers, so that the pool is at full strength.
pub(crate) fn warm_up(pool: &ProcessPool, number: usize) -> Vec<WorkerInfo> {
    use taskfarm_core::SameBinaryExt;
    let handles: Vec<_> = (0..4 * number)
        .map(|_| pool.submit((), |()| std::thread::sleep(Duration::from_millis(5))))
        .collect();
    for handle in handles {
        handle.join().unwrap();
    }
    idle_workers(pool, number)
}
