//! Ctrl-C ends a map at once, quietly, with the finished outcomes in hand.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use taskfarm_core::{CancellationToken, ErrorPolicy, SameBinaryExt, TaskErrorKind};
use taskfarm_process::StartMethod;

use crate::Case;
use crate::support::{adopt_orphans, no_descendant_is_left, play, pool};

pub(crate) const CASES: &[Case] = &[(
    "interrupt::ctrl_c_ends_a_map_and_keeps_what_is_finished",
    ctrl_c_ends_a_map,
)];

const NUM_ITEMS: u64 = 20;
const NUM_WORKERS: usize = 3;
/// What one item takes.
const NAP: Duration = Duration::from_secs(2);

/// How long the end of the map may take, from the signal's handler to the end of the
/// iteration, by the clock of the program that is interrupted.
const LIMIT: Duration = Duration::from_millis(200);
/// For the time alone, on a machine that has other things to do: a process that is kept from
/// running says nothing about the pool. What the map gives is exact in each attempt.
const ATTEMPTS: u32 = 3;

const ROLE: &str = "TASKFARM_IT_INTERRUPT";

fn ctrl_c_ends_a_map(method: StartMethod) {
    if std::env::var_os(ROLE).is_some() {
        return be_interrupted(method);
    }
    adopt_orphans();
    let mut all = Vec::new();
    while all.iter().all(|took| *took >= LIMIT) {
        assert!((all.len() as u32) < ATTEMPTS, "{all:?}");
        all.push(interrupt_a_child());
    }
}

/// Runs this case once more as the leader of a foreground group, presses Ctrl-C, and gives
/// how long the map took to end.
fn interrupt_a_child() -> Duration {
    let mut child = play(ROLE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "three are finished");
    // What a terminal does: the signal goes to the whole foreground group.
    let group = -libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: no memory is involved.
    unsafe { libc::kill(group, libc::SIGINT) };
    let ended = lines.next().unwrap().unwrap();
    let micros = ended.strip_prefix("ended after ");
    let micros = micros.unwrap_or_else(|| panic!("{ended:?}"));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(rest, Vec::<String>::new(), "on stdout");
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "", "on stderr");
    assert!(child.wait().unwrap().success());
    no_descendant_is_left(None);
    Duration::from_micros(micros.parse().unwrap())
}

fn be_interrupted(method: StartMethod) {
    let pool = pool(method, NUM_WORKERS);
    let token = CancellationToken::new();
    cancel_on_interrupt(&token);
    let num_taken = Arc::new(AtomicUsize::new(0));
    let counter = num_taken.clone();
    let items = (0..NUM_ITEMS).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let map = pool.map(items, |n| {
        std::thread::sleep(NAP);
        n
    });
    let map = map.chunk_size(1).on_error(ErrorPolicy::Collect);
    let map = map.cancel_token(&token);
    let (mut finished, mut cancelled) = (Vec::new(), Vec::new());
    for (index, outcome) in map.as_completed().unwrap() {
        match outcome {
            Ok(n) => {
                assert_eq!(n, index as u64);
                finished.push(index);
            }
            Err(error) => {
                assert!(
                    matches!(error.kind(), TaskErrorKind::Cancelled(_)),
                    "{error}"
                );
                cancelled.push(index);
            }
        }
        if finished.len() == NUM_WORKERS && cancelled.is_empty() {
            println!("three are finished");
        }
    }
    let took = now() - INTERRUPTED_AT.load(Ordering::Relaxed);
    println!("ended after {took}");
    assert_eq!(finished.len(), NUM_WORKERS);
    let mut all = [finished, cancelled].concat();
    all.sort_unstable();
    let num_taken = num_taken.load(Ordering::Relaxed);
    assert!(num_taken > NUM_WORKERS);
    // The first one that was not taken stands for the others.
    let num_told = (num_taken + 1).min(NUM_ITEMS as usize);
    assert_eq!(all, Vec::from_iter(0..num_told), "each once");
}

/// The end of a pipe that the handler writes to.
static PIPE: AtomicI32 = AtomicI32::new(-1);
static INTERRUPTED_AT: AtomicU64 = AtomicU64::new(0);

/// A handler may do next to nothing, so it wakes a thread that cancels.
fn cancel_on_interrupt(token: &CancellationToken) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    PIPE.store(
        std::os::fd::IntoRawFd::into_raw_fd(writer),
        Ordering::Relaxed,
    );
    let handler = on_interrupt as extern "C" fn(libc::c_int);
    // SAFETY: the handler makes one system call and touches atomics.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    let token = token.clone();
    std::thread::spawn(move || {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        token.cancel();
    });
}

extern "C" fn on_interrupt(_: libc::c_int) {
    INTERRUPTED_AT.store(now(), Ordering::Relaxed);
    // SAFETY: writes one byte that lives as long as the program.
    unsafe { libc::write(PIPE.load(Ordering::Relaxed), b"!".as_ptr().cast(), 1) };
}

/// Microseconds of the monotonic clock.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to memory of this frame.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_nsec.cast_unsigned() / 1_000
}
