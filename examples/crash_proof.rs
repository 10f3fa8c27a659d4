//! Reads real files with a function that now and then crashes, hangs, or eats all memory.
//!
//! `crash_proof [DIR] [--one-in N] [--seed N] [--workers N] [--limit MILLISECONDS]`
//!
//! On threads the first abort would end the program. In worker processes each victim is
//! reported with its cause, and every healthy file has its result. The exit code is 1 if
//! any file had another end than the one chosen for it.
//!
//! Any file will do: names and contents need not be UTF-8, and what cannot be read (a file
//! without permission, a directory, one that vanishes) is counted and said, and is no error.
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fmt, fs, hint, process};

use lexopt::prelude::*;
use serde::{Deserialize, Serialize};
use taskfarm::prelude::*;
use taskfarm::process::WorkerOutput;
use taskfarm::{ProcessEnd, TaskError, TaskErrorKind};

/// What every worker is told once: which files fall victim to which fault.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Faults {
    seed: u64,
    one_in: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Panic,
    Abort,
    Segfault,
    Loop,
    Memory,
}

impl Faults {
    fn of(self, path: &Path) -> Option<Fault> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((self.seed, path));
        let all = [
            Fault::Panic,
            Fault::Abort,
            Fault::Segfault,
            Fault::Loop,
            Fault::Memory,
        ];
        hash.is_multiple_of(self.one_in)
            .then(|| all[(hash / self.one_in) as usize % all.len()])
    }
}

impl Fault {
    /// Whether this is what the pool must say of such a victim.
    fn explains<E>(self, kind: &TaskErrorKind<E>) -> bool {
        const SIGABRT: i32 = 6;
        const SIGSEGV: i32 = 11;
        let ended = match kind {
            TaskErrorKind::WorkerLost(lost) => Some(lost.ended),
            _ => None,
        };
        match self {
            Self::Panic => {
                matches!(kind, TaskErrorKind::Panicked(panic) if panic.message().starts_with(MOOD))
            }
            Self::Loop => matches!(kind, TaskErrorKind::TimedOut(_)),
            Self::Abort => ended == Some(ProcessEnd::Signaled(SIGABRT)),
            Self::Segfault => ended == Some(ProcessEnd::Signaled(SIGSEGV)),
            Self::Memory => matches!(
                ended,
                Some(ProcessEnd::MemoryLimit | ProcessEnd::OutOfMemory)
            ),
        }
    }
}

const MOOD: &str = "no mood for";

/// What a worker does with a file: counts its lines, unless fate has it otherwise.
///
/// The name comes as an [`OsString`], which serde can encode whatever its bytes; a path
/// that is not UTF-8 it refuses.
fn count_lines(faults: &Faults, name: OsString) -> Result<usize, String> {
    let path = PathBuf::from(name);
    match faults.of(&path) {
        None => {}
        Some(Fault::Panic) => panic!("{MOOD} {}", path.display()),
        Some(Fault::Abort) => process::abort(),
        // SAFETY: none. This is the bug that the example is about.
        Some(Fault::Segfault) => unsafe { std::ptr::dangling_mut::<u64>().write_volatile(1) },
        Some(Fault::Loop) => loop {
            hint::spin_loop();
        },
        Some(Fault::Memory) => {
            let mut hoard = Vec::new();
            loop {
                // Not touched: on a busy machine that may take longer than the time limit.
                hoard.push(hint::black_box(Vec::<u8>::with_capacity(16 << 20)));
            }
        }
    }
    let content = fs::read(&path).map_err(|error| error.to_string())?;
    Ok(content.iter().filter(|byte| **byte == b'\n').count())
}

/// What has become of the files.
#[derive(Default)]
struct Summary {
    healthy: usize,
    lines: usize,
    unreadable: usize,
    /// Victims by the fault that was chosen for them.
    victims: BTreeMap<String, usize>,
    unexpected: usize,
}

impl Summary {
    fn add(
        &mut self,
        path: &Path,
        fault: Option<Fault>,
        outcome: &Result<usize, TaskError<String>>,
    ) {
        match (fault, outcome) {
            (None, Ok(lines)) => {
                self.healthy += 1;
                self.lines += lines;
            }
            (None, Err(error)) if error.cause().is_some() => {
                println!("{}: {}", path.display(), error.kind());
                self.unreadable += 1;
            }
            (Some(fault), Err(error)) if fault.explains(error.kind()) => {
                println!("{}: {}", path.display(), error.kind());
                *self.victims.entry(format!("{fault:?}")).or_default() += 1;
            }
            (fault, outcome) => {
                println!("{}: {outcome:?}, but chosen was {fault:?}", path.display());
                self.unexpected += 1;
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, healthy, .. } = self;
        writeln!(f, "{lines} lines in {healthy} healthy files")?;
        writeln!(f, "{} files that cannot be read", self.unreadable)?;
        let all: usize = self.victims.values().sum();
        writeln!(f, "{all} victims, each with its cause: {:?}", self.victims)?;
        write!(
            f,
            "{} files with another end than expected",
            self.unexpected
        )
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let registry = env::home_dir().map(|home| home.join(".cargo/registry/src"));
    let mut root = registry.filter(|dir| dir.is_dir()).unwrap_or(".".into());
    let (seed, one_in) = (1, 400);
    let (mut faults, mut workers) = (Faults { seed, one_in }, None);
    let mut limit = Duration::from_secs(1);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("one-in") => faults.one_in = args.value()?.parse::<u64>()?.max(1),
            Long("seed") => faults.seed = args.value()?.parse()?,
            Long("workers") => workers = Some(args.value()?.parse()?),
            Long("limit") => limit = Duration::from_millis(args.value()?.parse()?),
            Value(directory) => root = directory.into(),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let (mut files, mut skipped) = (Vec::new(), 0);
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_file() => files.push(entry.into_path()),
            Ok(_) => {}
            Err(error) => {
                println!("{error}");
                skipped += 1;
            }
        }
    }

    let mut builder = ProcessPool::builder()
        .memory_limit(256 << 20)
        .worker_output(WorkerOutput::Null);
    if let Some(workers) = workers {
        builder = builder.num_workers(workers);
    }
    let (pool, start) = (builder.build()?, Instant::now());
    let names = files.clone().into_iter().map(PathBuf::into_os_string);
    let outcomes = pool
        .context(faults)
        .try_map(names, count_lines)
        .timeout(limit)
        .on_error(ErrorPolicy::Collect)
        .progress("counting lines")
        .outcomes()?;
    let seconds = start.elapsed().as_secs_f64();

    let mut summary = Summary::default();
    for (path, outcome) in files.iter().zip(&outcomes) {
        summary.add(path, faults.of(path), outcome);
    }
    let stats = pool.stats();
    println!(
        "{} files, {seconds:.2} s, {skipped} entries skipped",
        files.len()
    );
    println!("{summary}");
    println!(
        "{} workers replaced in {:.1?}, {:.2?} each; {:.1?} in endless loops",
        stats.replaced,
        stats.replacing,
        stats.replacing / u32::try_from(stats.replaced)?.max(1),
        limit * u32::try_from(stats.timed_out)?,
    );
    Ok(ExitCode::from(u8::from(summary.unexpected > 0)))
}
