//! What this process and all processes below it have burned.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::thread::ClockId;
use rustix::time::clock_gettime;

/// The CPU time that this process and its descendants burn while nothing is asked of them,
/// in microseconds per second.
pub(crate) fn micros_per_second(window: Duration) -> f64 {
    // Reading it costs CPU time as well: our own clock is read last and first.
    let (others_before, own_before) = (of_descendants(), of_this_process());
    sleep(window);
    let (own_after, others_after) = (of_this_process(), of_descendants());
    let own = own_after - own_before;
    let others = others_after.saturating_sub(others_before);
    (own + others).as_secs_f64() * 1e6 / window.as_secs_f64()
}

fn of_this_process() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn of_descendants() -> Duration {
    let parents = parents();
    let this = std::process::id();
    let is_below = |mut pid: u32| {
        while let Some(&parent) = parents.get(&pid) {
            if parent == this {
                return true;
            }
            pid = parent;
        }
        false
    };
    let descendants = parents.keys().copied().filter(|&pid| is_below(pid));
    descendants.map(of_process).sum()
}

/// The parent of each process.
fn parents() -> HashMap<u32, u32> {
    let entries = fs::read_dir("/proc").expect("Linux");
    let parent = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may hold spaces.
        let after_name = stat.rsplit_once(')')?.1;
        let parent = after_name.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    entries.flatten().filter_map(parent).collect()
}

fn of_process(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    threads
        .flatten()
        .map(|thread| of_thread(&thread.path()))
        .sum()
}

/// In nanoseconds, where `stat` counts ticks of ten milliseconds.
fn of_thread(path: &Path) -> Duration {
    let stat = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
    let first = stat.split_whitespace().next();
    let nanos = first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}
