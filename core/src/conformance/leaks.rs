//! What cases leave behind: [`Traces`] in this process, [`Descendants`] elsewhere. Linux
//! only; on other systems nothing is seen, and [`is_supported`] says so.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Threads end a little later than whoever joined them returns, and detached ones later.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Threads of the test harness: they come and go while a case runs.
static HARNESS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Whether this system can be looked at.
pub(super) fn is_supported() -> bool {
    cfg!(target_os = "linux") && fs::read_dir("/proc/self/task").is_ok()
}

/// Declares the calling thread to belong to the harness.
pub(super) fn register_harness_thread() {
    if let Some(id) = own_thread() {
        HARNESS.lock().insert(id);
    }
}

fn own_thread() -> Option<u32> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// The threads, children and descriptors of this process at one moment.
pub(super) struct Traces {
    threads: BTreeSet<u32>,
    children: BTreeSet<u32>,
    descriptors: BTreeSet<u32>,
}

impl Traces {
    pub(super) fn take() -> Self {
        Self {
            threads: numbers_in("/proc/self/task"),
            children: children(),
            descriptors: descriptors(),
        }
    }

    /// What has been added since, once it has had time to go; empty is well. Threads with
    /// a name that starts with one of `shared` may stay.
    pub(super) fn left_behind(&self, shared: &[&str]) -> Vec<String> {
        patiently(|| self.added(shared))
    }

    fn added(&self, shared: &[&str]) -> Vec<String> {
        let now = Self::take();
        let harness = HARNESS.lock().clone();
        let threads = now
            .threads
            .difference(&self.threads)
            .filter(|id| !harness.contains(id))
            .map(|id| (id, name_of_thread(*id)))
            .filter(|(_, name)| !shared.iter().any(|prefix| name.starts_with(prefix)))
            .map(|(id, name)| format!("thread {id} ({name:?})"));
        let children = now.children.difference(&self.children);
        let descriptors = now.descriptors.difference(&self.descriptors);
        threads
            .chain(children.map(|id| format!("child process {id}")))
            .chain(descriptors.map(|&id| describe_descriptor(id)))
            .collect()
    }
}

/// Looks again until nothing is found or patience ends.
fn patiently<T>(look: impl Fn() -> Vec<T>) -> Vec<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processes that come from one that was started with a certain variable, however far
/// they have gone since: the variable stays in what they inherit.
pub(super) struct Descendants {
    mark: String,
}

impl Descendants {
    /// `mark` is as in `environ`: `NAME=value`.
    pub(super) fn of(mark: String) -> Self {
        Self { mark }
    }

    /// Those that are still there once they have had time to go; empty is well. They are
    /// killed then.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let left = patiently(|| self.processes());
        let described = left.iter().map(|id| describe_process(*id)).collect();
        for id in left {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
        described
    }

    fn processes(&self) -> Vec<u32> {
        let is_marked = |id: &u32| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == self.mark.as_bytes())
        };
        numbers_in("/proc").into_iter().filter(is_marked).collect()
    }
}

fn describe_process(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    format!("process {id} ({:?})", name.trim())
}

fn numbers_in(folder: &str) -> BTreeSet<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn name_of_thread(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/self/task/{id}/comm"));
    name.map_or_else(|_| "gone".to_owned(), |name| name.trim().to_owned())
}

/// The descriptors that are open, without the one that reads the list.
fn descriptors() -> BTreeSet<u32> {
    let all = numbers_in("/proc/self/fd");
    let is_open = |id: &u32| fs::read_link(format!("/proc/self/fd/{id}")).is_ok();
    all.into_iter().filter(is_open).collect()
}

fn describe_descriptor(id: u32) -> String {
    let target = fs::read_link(format!("/proc/self/fd/{id}"));
    match target {
        Ok(target) => format!("descriptor {id} ({})", target.display()),
        Err(_) => format!("descriptor {id}"),
    }
}

/// The processes whose parent is this one, dead or alive.
fn children() -> BTreeSet<u32> {
    let own = std::process::id();
    let is_child = |id: &u32| parent_of(*id) == Some(own);
    numbers_in("/proc").into_iter().filter(is_child).collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}
