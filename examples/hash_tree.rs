//! SHA-256 of every file below a directory, on several executors side by side.
//!
//! `hash_tree [DIR] [--compare NAME,..] [--workers N] [--duplicates] [--json]`
use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, env, error::Error, fs, process, time::Instant};

use lexopt::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use taskfarm::prelude::*;

/// What is known of a file once it has been read: path, digest, size, and seconds taken.
#[derive(Serialize, Deserialize)]
struct Hashed(PathBuf, [u8; 32], usize, f64);

/// What a worker does: a plain function of plain values, so that any executor can run it.
/// What the walk could not list is an input too, and fails here.
fn hash(path: Result<PathBuf, String>) -> Result<Hashed, String> {
    let (path, start) = (path?, Instant::now());
    let content = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let digest = Sha256::digest(&content).into();
    let seconds = start.elapsed().as_secs_f64();
    Ok(Hashed(path, digest, content.len(), seconds))
}

/// The files below a directory, found while the first of them are already being hashed.
fn walk(root: &Path) -> impl Iterator<Item = Result<PathBuf, String>> + use<> {
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
    entries.filter_map(|entry| match entry {
        Ok(entry) => entry.file_type().is_file().then(|| Ok(entry.into_path())),
        Err(error) => Some(Err(error.to_string())),
    })
}

/// What one executor made of the directory.
struct Run {
    files: Vec<Hashed>,
    failures: Vec<String>,
    seconds: f64,
}

fn run(name: &str, workers: Option<usize>, root: &Path) -> Result<Run, Box<dyn Error>> {
    let (executor, start) = (name.parse::<Backend>()?.build_any(workers)?, Instant::now());
    let map = executor.try_map(walk(root), hash);
    let map = map.on_error(ErrorPolicy::Collect).progress(name);
    let outcomes = map.outcomes()?;
    let seconds = start.elapsed().as_secs_f64();
    let failures = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    Ok(Run {
        failures: failures.map(ToString::to_string).collect(),
        files: outcomes.into_iter().flatten().collect(),
        seconds,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let registry = env::home_dir().map(|h| h.join(".cargo/registry/src"));
    let mut root = registry.filter(|dir| dir.is_dir()).unwrap_or(".".into());
    let mut names = "serial,threads,rayon,process".to_owned();
    let (mut workers, mut duplicates, mut json) = (None, false, false);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("executor" | "compare") => names = args.value()?.string()?,
            Long("workers") => workers = Some(args.value()?.parse()?),
            Long("duplicates") => duplicates = true,
            Long("json") => json = true,
            Value(directory) => root = directory.into(),
            _ => return Err(arg.unexpected().into()),
        }
    }
    run("threads", workers, &root)?;
    eprintln!("{}: cache warmed by a first run", root.display());
    let mut runs: Vec<(&str, Run)> = Vec::new();
    for name in names.split(',') {
        runs.push((name, run(name, workers, &root)?));
    }
    let serial = runs.iter().find(|(name, _)| *name == "serial");
    let (over, first) = serial.unwrap_or(&runs[0]);
    if !json {
        println!("executor   files      MiB  seconds  over {over:7} failures  slowest file");
    }
    let mut identical = true;
    for (name, run) in &runs {
        let (files, secs, failures) = (run.files.len(), run.seconds, &run.failures);
        let mib = run.files.iter().map(|file| file.2).sum::<usize>() as f64 / 1048576.0;
        let (speed_up, failed) = (first.seconds / secs, failures.len());
        let slowest = run.files.iter().max_by(|a, b| a.3.total_cmp(&b.3));
        let slowest = slowest.map_or(Path::new(""), |file| &file.0).display();
        let same = (run.files.iter().map(|file| (&file.0, file.1)))
            .eq(first.files.iter().map(|file| (&file.0, file.1)));
        identical &= same;
        if json {
            let row = serde_json::json!({"executor": name, "files": files, "mib": mib, "seconds": secs,
                "speed_up": speed_up, "speed_up_over": over, "identical": same, "failures": failures,
                "slowest": slowest.to_string()});
            println!("{row}");
        } else {
            let timing = format!("{secs:8.3} {speed_up:9.2}x");
            println!("{name:8} {files:7} {mib:8.1} {timing} {failed:11}  {slowest}");
        }
    }
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for Hashed(path, digest, ..) in first.files.iter().filter(|_| duplicates && !json) {
        let group = groups.entry(digest).or_default();
        group.push(path.to_string_lossy());
    }
    for group in groups.values().filter(|group| group.len() > 1) {
        println!("duplicates: {}", group.join(", "));
    }
    for failure in first.failures.iter().filter(|_| !json) {
        println!("unreadable: {failure}");
    }
    let verdict = if identical { "identical" } else { "DIFFERENT" };
    if !json {
        println!("digests: {verdict}");
    }
    process::exit(i32::from(!identical))
}
