//! However the pool's process ends, nothing of it is left.
//!
//! The process of the case adopts the orphans of its descendants, so it need not know whom
//! it waits for: when it has no child any more, nobody is left.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use taskfarm_core::SameBinaryExt;
use taskfarm_process::StartMethod;

use crate::Case;
use crate::scratch::{Scratch, lines};
use crate::support::{
    adopt_orphans, eventually, idle_workers, leave_a_grandchild, no_descendant_is_left, play, pool,
    signal, warm_up,
};

pub(crate) const CASES: &[Case] = &[
    ("parent::killed_with_idle_workers", |method| {
        check(method, Ending::Kill, Load::Idle)
    }),
    ("parent::killed_with_busy_workers", |method| {
        check(method, Ending::Kill, Load::Busy)
    }),
    (
        "parent::killed_while_a_grandchild_holds_descriptors",
        |method| check(method, Ending::Kill, Load::Grandchild),
    ),
    ("parent::killed_while_a_task_runs_a_subprocess", |method| {
        check(method, Ending::Kill, Load::Subprocess)
    }),
    ("parent::aborts_with_idle_workers", |method| {
        check(method, Ending::Abort, Load::Idle)
    }),
    ("parent::aborts_with_busy_workers", |method| {
        check(method, Ending::Abort, Load::Busy)
    }),
    ("parent::exits_at_once_with_idle_workers", |method| {
        check(method, Ending::ExitAtOnce, Load::Idle)
    }),
    ("parent::exits_at_once_with_busy_workers", |method| {
        check(method, Ending::ExitAtOnce, Load::Busy)
    }),
    ("parent::returns_from_main_with_busy_workers", |method| {
        check(method, Ending::Return, Load::Busy)
    }),
    ("parent::returns_from_main_with_idle_workers", |method| {
        check(method, Ending::Return, Load::Idle)
    }),
];

/// How the pool's process ends, without dropping the pool.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Kill,
    Abort,
    ExitAtOnce,
    Return,
}

/// What its workers do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    Idle,
    Busy,
    /// One has left a process, in a session of its own, that has all the worker's
    /// descriptors.
    Grandchild,
    /// One waits for a process that it has started.
    Subprocess,
}

const ROLE: &str = "TASKFARM_IT_PARENT";
const LIMIT: Duration = Duration::from_secs(2);

/// Runs this case once more as a child that has a pool and ends so, and sees everything of
/// it go.
fn check(method: StartMethod, ending: Ending, load: Load) {
    if let Ok(path) = std::env::var(ROLE) {
        return be_the_parent(method, ending, load, &path);
    }
    let scratch = Scratch::new();
    let files = scratch.file("tmp");
    std::fs::create_dir(&files).unwrap();
    let path = scratch.file("pid");
    adopt_orphans();
    let mut child = play(ROLE, &path)
        .env("TMPDIR", &files)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let lanes: Vec<u64> = line
        .split_whitespace()
        .map(|inode| inode.parse().unwrap())
        .collect();
    assert_eq!(lanes.len(), 2, "{line:?}");
    if ending == Ending::Kill {
        // The others may have ended already. Workers keep no descriptor of the memory.
        let holders = holders(&lanes);
        assert!(holders.len() >= 3, "the pool and its workers: {holders:?}");
        signal(child.id(), libc::SIGKILL);
    }
    child.wait().unwrap();
    let survivor = survivor(method, load).then(|| lines(&path)[0].parse::<u32>().unwrap());
    let took = no_descendant_is_left(survivor);
    assert!(took < LIMIT, "{took:?}");
    assert_eq!(holders(&lanes), [], "the shared memory is gone");
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), 0, "files");
    let shared = std::fs::read_dir("/dev/shm")
        .into_iter()
        .flatten()
        .flatten();
    let names = shared.map(|entry| entry.file_name().into_string().unwrap_or_default());
    let ours: Vec<String> = names.filter(|name| name.contains("taskfarm")).collect();
    assert_eq!(ours, Vec::<String>::new(), "shared memory with a name");
    if let Some(pid) = survivor {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        if load == Load::Grandchild {
            // Its own are 0 to 2; the others are the bells of its worker.
            assert_eq!(descriptors.count(), 5);
        }
        signal(pid, libc::SIGKILL);
        no_descendant_is_left(None);
    }
}

/// Whether the process that a task has started lives on.
///
/// In a session of its own, it always does. In the worker's group it dies with the worker,
/// if somebody is left to kill the group: the zygote is; executed workers are killed by the
/// kernel, which does not do that.
fn survivor(method: StartMethod, load: Load) -> bool {
    load == Load::Grandchild || (load == Load::Subprocess && method == StartMethod::Exec)
}

/// The processes that have one of these lanes open or mapped.
fn holders(lanes: &[u64]) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut holders: Vec<u32> = pids
        .filter(|pid| {
            inodes(*pid).iter().any(|inode| lanes.contains(inode)) || has_open(*pid, lanes)
        })
        .collect();
    holders.sort_unstable();
    holders
}

/// The lanes that a process has mapped, by the number of their file.
fn inodes(pid: u32) -> Vec<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let lanes = maps.lines().filter(|line| line.contains("memfd:taskfarm"));
    lanes
        .filter_map(|line| line.split_whitespace().nth(4)?.parse().ok())
        .collect()
}

fn has_open(pid: u32, lanes: &[u64]) -> bool {
    use std::os::unix::fs::MetadataExt;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let mut open = descriptors.into_iter().flatten().flatten();
    open.any(|descriptor| {
        let path = descriptor.path();
        let is_lane = std::fs::read_link(&path)
            .is_ok_and(|target| target.to_string_lossy().contains("memfd:taskfarm"));
        let file = is_lane.then(|| std::fs::metadata(path).ok()).flatten();
        file.is_some_and(|file| lanes.contains(&file.ino()))
    })
}

fn be_the_parent(method: StartMethod, ending: Ending, load: Load, path: &str) {
    let pool = pool(method, 2);
    if load == Load::Idle {
        warm_up(&pool, 2);
        idle_workers(&pool, 2);
    } else {
        for n in 0..4_u32 {
            let item = (n, load as u8, path.to_owned());
            std::mem::forget(pool.submit(item, be_busy));
        }
        eventually("two workers are busy", || {
            let workers = pool.workers();
            (workers.len() == 2 && workers.iter().all(|worker| worker.item.is_some())).then_some(())
        });
        if matches!(load, Load::Grandchild | Load::Subprocess) {
            eventually("there is a grandchild", || {
                (lines(path).len() == 1).then_some(())
            });
        }
    }
    let lanes: Vec<String> = inodes(std::process::id())
        .iter()
        .map(u64::to_string)
        .collect();
    println!("{}", lanes.join(" "));
    match ending {
        Ending::Abort => std::process::abort(),
        // SAFETY: ends the process.
        Ending::ExitAtOnce => unsafe { libc::_exit(0) },
        Ending::Return => std::mem::forget(pool),
        Ending::Kill => std::thread::sleep(Duration::from_secs(100)),
    }
}

/// Item 0 starts what the load says; nobody ends.
fn be_busy((n, load, path): (u32, u8, String)) {
    if n == 0 && load == Load::Grandchild as u8 {
        leave_a_grandchild(&path);
    }
    if n == 0 && load == Load::Subprocess as u8 {
        let sleep = std::process::Command::new("sleep").arg("100").spawn();
        crate::scratch::append(&path, sleep.unwrap().id());
    }
    loop {
        std::thread::sleep(Duration::from_secs(100));
        if n > 100 {
            break;
        }
    }
}
