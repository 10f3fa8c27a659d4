//! [`Usage`]: what this process has in use, as the kernel says.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

/// Threads, descriptors and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    threads: u64,
    descriptors: u64,
    memory_kib: u64,
}

impl Usage {
    /// What is in use now. Zero where the kernel does not say (other than Linux).
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        Self {
            threads: field("Threads:"),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            memory_kib: field("VmRSS:"),
        }
    }

    /// The same when threads that have been joined are gone from the kernel's count too,
    /// which takes it a moment; and those of limited maps, which nobody joins, have ended.
    pub(crate) fn settled() -> Self {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let usage = Self::now();
            if usage.threads <= 1 || Instant::now() > deadline {
                return usage;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Field by field, the larger.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
            memory_kib: self.memory_kib.max(other.memory_kib),
        }
    }

    /// Fails if more is in use than after the warm-up.
    pub(crate) fn check_against(self, warm: Self, memory_slack_kib: u64) -> Result<(), String> {
        let is_flat = self.threads <= warm.threads
            && self.descriptors <= warm.descriptors
            && self.memory_kib <= warm.memory_kib + memory_slack_kib;
        match is_flat {
            true => Ok(()),
            false => Err(format!("after the warm-up: {warm}; at the end: {self}")),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            threads,
            descriptors,
            memory_kib,
        } = self;
        write!(
            f,
            "{threads} threads, {descriptors} descriptors, {memory_kib} KiB"
        )
    }
}
