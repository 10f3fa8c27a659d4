//! Ctrl-C ends a map at once, quietly, with the finished outcomes in hand.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use taskfarm_core::{CancellationToken, SameBinaryExt};
use taskfarm_process::StartMethod;

use crate::Case;
use crate::support::{children, eventually, is_alive, pool};

pub(crate) const CASES: &[Case] = &[(
    "interrupt::ctrl_c_ends_a_map_and_keeps_what_is_finished",
    ctrl_c_ends_a_map,
)];

const NUM_ITEMS: u64 = 20;
/// The first ones are done at once, so that there is something to keep.
const NUM_SHORT: u64 = 3;

/// How long the end of the map may take. A machine with other things to do gets three
/// chances: a child that is stopped by others says nothing about the pool.
const LIMIT: Duration = Duration::from_millis(200);
const ATTEMPTS: u32 = 3;

fn ctrl_c_ends_a_map(method: StartMethod) {
    if std::env::var_os("TASKFARM_IT_INTERRUPT").is_some() {
        return be_interrupted(method);
    }
    let took: Vec<Duration> = (0..ATTEMPTS).map(|_| interrupt_a_child()).collect();
    assert!(took.iter().any(|took| *took < LIMIT), "{took:?}");
}

/// Runs this case once more as the leader of a foreground group, presses Ctrl-C, and gives
/// how long the map took to end.
fn interrupt_a_child() -> Duration {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .env("TASKFARM_IT_INTERRUPT", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = lines.next().unwrap().unwrap();
    let pids: Vec<u32> = running
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.len() >= 2, "{running:?}");
    // What a terminal does: the signal goes to the whole foreground group.
    let group = -libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: no memory is involved.
    unsafe { libc::kill(group, libc::SIGINT) };
    let ended = lines.next().unwrap().unwrap();
    let numbers: Vec<u64> = ended
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let [num_finished, num_cancelled, micros] = numbers[..] else {
        panic!("{ended:?}");
    };
    assert_eq!(num_finished, NUM_SHORT);
    assert!(num_cancelled > 0);
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    assert!(child.wait().unwrap().success());
    for pid in pids {
        eventually("the workers are gone", || (!is_alive(pid)).then_some(()));
    }
    Duration::from_micros(micros)
}

fn be_interrupted(method: StartMethod) {
    let pool = pool(method, 3);
    let token = CancellationToken::new();
    cancel_on_interrupt(&token);
    let map = pool.map(0..NUM_ITEMS, |n| {
        if n >= NUM_SHORT {
            std::thread::sleep(Duration::from_secs(2));
        }
        n
    });
    let map = map.chunk_size(1).cancel_token(&token);
    let (mut num_finished, mut num_cancelled) = (0, 0);
    for (_, outcome) in map.as_completed().unwrap() {
        match outcome {
            Ok(_) => num_finished += 1,
            Err(error) if error.is_cancelled() => num_cancelled += 1,
            Err(error) => panic!("{error}"),
        }
        if num_finished == NUM_SHORT && num_cancelled == 0 {
            let mut pids: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
            pids.extend(children());
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            println!("{}", pids.join(" "));
        }
    }
    let took = now() - INTERRUPTED_AT.load(Ordering::Relaxed);
    println!("{num_finished} {num_cancelled} {took}");
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
