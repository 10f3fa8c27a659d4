//! Reads real files with a function that now and then crashes, hangs, or eats all memory.
//!
//! `crash_proof [DIR] [--one-in N] [--seed N] [--workers N]`
//!
//! On threads the first abort would end the program. In worker processes each victim is
//! reported with its cause, and every healthy file has its result.
use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, hint, process};

use lexopt::prelude::*;
use serde::{Deserialize, Serialize};
use taskfarm::prelude::*;

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

/// What a worker does with a file: counts its lines, unless fate has it otherwise.
fn count_lines(faults: &Faults, path: PathBuf) -> Result<usize, String> {
    match faults.of(&path) {
        None => {}
        Some(Fault::Panic) => panic!("no mood for {}", path.display()),
        Some(Fault::Abort) => process::abort(),
        // SAFETY: none. This is the bug that the example is about.
        Some(Fault::Segfault) => unsafe { std::ptr::dangling_mut::<u64>().write_volatile(1) },
        Some(Fault::Loop) => loop {
            hint::spin_loop();
        },
        Some(Fault::Memory) => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(hint::black_box(vec![1_u8; 16 << 20]));
            }
        }
    }
    let content = fs::read(&path).map_err(|error| error.to_string())?;
    Ok(content.iter().filter(|byte| **byte == b'\n').count())
}

fn main() -> Result<(), Box<dyn Error>> {
    let registry = env::home_dir().map(|home| home.join(".cargo/registry/src"));
    let mut root = registry.filter(|dir| dir.is_dir()).unwrap_or(".".into());
    let (mut faults, mut workers) = (
        Faults {
            seed: 1,
            one_in: 400,
        },
        None,
    );
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("one-in") => faults.one_in = args.value()?.parse::<u64>()?.max(1),
            Long("seed") => faults.seed = args.value()?.parse()?,
            Long("workers") => workers = Some(args.value()?.parse()?),
            Value(directory) => root = directory.into(),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let walk = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter();
    let files = walk.flatten().filter(|entry| entry.file_type().is_file());
    let files: Vec<PathBuf> = files.map(walkdir::DirEntry::into_path).collect();

    let mut builder = ProcessPool::builder().memory_limit(512 << 20);
    if let Some(workers) = workers {
        builder = builder.num_workers(workers);
    }
    let (pool, start) = (builder.build()?, Instant::now());
    let outcomes = pool
        .context(faults)
        .try_map(files.clone(), count_lines)
        .timeout(Duration::from_millis(500))
        .on_error(ErrorPolicy::Collect)
        .progress("counting lines")
        .outcomes()?;
    let seconds = start.elapsed().as_secs_f64();

    let mut causes = BTreeMap::<String, usize>::new();
    let (mut lines, mut healthy, mut wrong) = (0, 0, 0);
    for (path, outcome) in files.iter().zip(&outcomes) {
        match outcome {
            Ok(count) => (lines, healthy) = (lines + count, healthy + 1),
            Err(error) => {
                println!("{}: {}", path.display(), error.kind());
                *causes.entry(format!("{:?}", faults.of(path))).or_default() += 1;
            }
        }
        wrong += usize::from(outcome.is_ok() == faults.of(path).is_some());
    }
    println!(
        "{lines} lines in {healthy} healthy files of {}, {seconds:.2} s",
        files.len()
    );
    println!("victims: {causes:?}");
    println!("{:?}", pool.stats());
    println!("files whose fate is not the one chosen for them: {wrong}");
    process::exit(i32::from(wrong > 0))
}
