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

/// Waits until a worker runs the item at this position of a job.
pub(crate) fn worker_at(pool: &ProcessPool, position: usize) -> WorkerInfo {
    eventually("a worker is in the item", || {
        pool.workers()
            .into_iter()
            .find(|worker| worker.item.is_some_and(|item| item.position == position))
    })
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(libc::pid_t::try_from(pid).unwrap(), signal) };
}

/// Whether there is such a process, other than a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|status| {
        let state = status
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .to_owned();
        !state.starts_with('Z') && !state.starts_with('X')
    })
}

/// The children of this process, zombies included.
pub(crate) fn children() -> Vec<u32> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let path = thread.path().join("children");
        let list = std::fs::read_to_string(path).unwrap_or_default();
        children.extend(
            list.split_whitespace()
                .map(|pid| pid.parse::<u32>().unwrap()),
        );
    }
    children
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
