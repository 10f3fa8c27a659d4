//! What workers are asked to do, in all pools alike.

use std::hint::black_box;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::thread::ClockId;
use rustix::time::clock_gettime;
use serde_bytes::ByteBuf;

use crate::bare_pipe::BarePipe;
use crate::naive_pipes::NaivePipes;

/// Serves the task of this name over standard input and output, in a child.
pub(crate) fn serve(task: &str) -> io::Result<()> {
    match task {
        BarePipe::TASK => BarePipe::serve(),
        "tiny" => NaivePipes::serve(tiny),
        "spin" => NaivePipes::serve(spin),
        "echo" => NaivePipes::serve(echo),
        "swallow" => NaivePipes::serve(swallow),
        "produce" => NaivePipes::serve(produce),
        _ => Err(io::Error::other(format!("no such task: {task}"))),
    }
}

/// About a nanosecond of work.
pub(crate) fn tiny(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
}

/// Goes round so often; the result is the CPU time that it took, in nanoseconds.
pub(crate) fn spin(rounds: u64) -> u64 {
    let started = nanos(ClockId::ThreadCPUTime);
    let mut state = rounds | 1;
    for _ in 0..rounds {
        state = black_box(tiny(state));
    }
    nanos(ClockId::ThreadCPUTime) - started
}

/// How many rounds of [`spin`] take a microsecond, on a core without distraction.
pub(crate) fn rounds_per_micro() -> f64 {
    const ROUNDS: u64 = 200_000;
    let fastest = (0..20).map(|_| spin(ROUNDS)).min().unwrap_or(1).max(1);
    ROUNDS as f64 * 1000.0 / fastest as f64
}

pub(crate) fn echo(bytes: ByteBuf) -> ByteBuf {
    bytes
}

pub(crate) fn swallow(bytes: ByteBuf) -> u64 {
    bytes.len() as u64
}

pub(crate) fn produce(len: u64) -> ByteBuf {
    ByteBuf::from(vec![1; len as usize])
}

pub(crate) fn doze(millis: u64) {
    sleep(Duration::from_millis(millis));
}

/// Either blocks until it is killed, or says when it ran, by [`now`].
pub(crate) fn block_or_stamp(blocks: bool) -> u64 {
    let started = Instant::now();
    // Not for ever: should the kill fail, the run goes on.
    while blocks && started.elapsed() < Duration::from_secs(10) {
        doze(1000);
    }
    now()
}

/// The time of a clock that all processes share, in nanoseconds.
pub(crate) fn now() -> u64 {
    nanos(ClockId::Monotonic)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
