//! However the pool's process ends, nothing of it is left.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use taskfarm_core::SameBinaryExt;
use taskfarm_process::StartMethod;

use crate::Case;
use crate::support::{eventually, idle_workers, is_alive, pool, signal, warm_up, worker_at};

pub(crate) const CASES: &[Case] = &[
    ("parent::killed_with_idle_workers", |method| {
        check(method, "wait", "idle", true)
    }),
    ("parent::killed_with_busy_workers", |method| {
        check(method, "wait", "busy", true)
    }),
    ("parent::aborts_with_busy_workers", |method| {
        check(method, "abort", "busy", false)
    }),
    ("parent::exits_at_once_with_busy_workers", |method| {
        check(method, "_exit", "busy", false)
    }),
    ("parent::returns_from_main_with_busy_workers", |method| {
        check(method, "return", "busy", false)
    }),
    ("parent::returns_from_main_with_idle_workers", |method| {
        check(method, "return", "idle", false)
    }),
];

/// Runs this case once more as a child that has a pool and ends so, and sees its workers go.
fn check(method: StartMethod, ending: &str, load: &str, kill: bool) {
    if std::env::var_os("TASKFARM_IT_PARENT").is_some() {
        return be_the_parent(method, ending, load);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .env("TASKFARM_IT_PARENT", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pids: Vec<u32> = line
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.len() >= 2, "{line:?}");
    if kill {
        signal(child.id(), libc::SIGKILL);
    }
    child.wait().unwrap();
    let started = std::time::Instant::now();
    for pid in pids {
        eventually("the workers are gone", || (!is_alive(pid)).then_some(()));
    }
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

fn be_the_parent(method: StartMethod, ending: &str, load: &str) {
    let pool = pool(method, 2);
    let workers = match load {
        "idle" => {
            warm_up(&pool, 2);
            idle_workers(&pool, 2)
        }
        _ => {
            for n in 0..4_u32 {
                let handle = pool.submit(n, |_| {
                    loop {
                        std::thread::sleep(Duration::from_secs(100));
                        if std::process::id() == 0 {
                            break;
                        }
                    }
                });
                std::mem::forget(handle);
            }
            worker_at(&pool, 0);
            eventually("two workers", || {
                Some(pool.workers()).filter(|workers| workers.len() == 2)
            })
        }
    };
    let mut pids: Vec<u32> = workers.iter().map(|worker| worker.pid).collect();
    pids.extend(crate::support::children());
    println!(
        "{}",
        pids.iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    );
    match ending {
        "abort" => std::process::abort(),
        // SAFETY: ends the process.
        "_exit" => unsafe { libc::_exit(0) },
        "return" => std::mem::forget(pool),
        _ => std::thread::sleep(Duration::from_secs(100)),
    }
}
