//! The tests of the process pool: every case for every start method, each in a process of
//! its own, with a deadline.
//!
//! `harness = false`: the usual harness runs tests on threads, and a process with threads
//! cannot use [`StartMethod::Fork`]. (That the pool works under the usual harness, too, is
//! shown by `tests/harness.rs`.) Cases are named `method::module::sentence`; arguments
//! filter by substring. `--exact`, `--list`, `--ignored` (here: the long cases, `full_`) and
//! `--include-ignored` mean what they mean elsewhere, so that cargo-nextest runs each case.

mod basics;
mod bugs;
mod cancel;
mod data;
mod death;
mod hold;
mod hostile;
mod innocents;
mod interrupt;
mod limits;
mod moments;
mod parent;
mod scratch;
mod seats;
mod storm;
mod support;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use taskfarm_process::StartMethod;

/// A case: its name, and what it does.
type Case = (&'static str, fn(StartMethod));

/// How long a case may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long one may take that runs only when it is asked for.
const DEADLINE_OF_FULL: Duration = Duration::from_secs(600);

const METHODS: [(&str, StartMethod); 3] = [
    ("zygote", StartMethod::Zygote),
    ("exec", StartMethod::Exec),
    ("fork", StartMethod::Fork),
];

fn cases() -> Vec<Case> {
    [
        basics::CASES,
        bugs::CASES,
        cancel::CASES,
        data::CASES,
        death::CASES,
        hostile::CASES,
        innocents::CASES,
        interrupt::CASES,
        limits::CASES,
        moments::CASES,
        parent::CASES,
        seats::CASES,
        storm::CASES,
    ]
    .concat()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == "--case"
    {
        return run_here(name);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-') && *argument != "terse")
        .collect();
    let names = METHODS.iter().flat_map(|(method, _)| {
        cases()
            .into_iter()
            .map(move |(name, _)| format!("{method}::{name}"))
    });
    let chosen: Vec<String> = names
        .filter(|name| has("--include-ignored") || name.contains("::full_") == has("--ignored"))
        .filter(|name| {
            filters.is_empty()
                || filters.iter().any(|filter| match has("--exact") {
                    true => name == *filter,
                    false => name.contains(filter.as_str()),
                })
        })
        .collect();
    if has("--list") {
        for name in chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    run_all(&chosen)
}

/// Runs one case in this process.
fn run_here(name: &str) -> ExitCode {
    let (method, rest) = name.split_once("::").expect("a method in front");
    let (_, method) = METHODS
        .iter()
        .find(|(name, _)| *name == method)
        .expect("a known method");
    let (_, case) = cases()
        .into_iter()
        .find(|(name, _)| *name == rest)
        .expect("a known case");
    case(*method);
    ExitCode::SUCCESS
}

/// Runs the cases one after another, each in a process of its own.
fn run_all(names: &[String]) -> ExitCode {
    println!("\nrunning {} tests", names.len());
    let mut failed = Vec::new();
    for name in names {
        let started = Instant::now();
        match run_apart(name) {
            Ok(()) => println!("test {name} ... ok ({:?})", started.elapsed()),
            Err(why) => {
                println!("test {name} ... FAILED: {why}");
                failed.push(name);
            }
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {} passed; {} failed",
        names.len() - failed.len(),
        failed.len()
    );
    for name in &failed {
        println!("    {name}");
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn run_apart(name: &str) -> Result<(), String> {
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = std::env::temp_dir().join(format!("taskfarm-it-{}", std::process::id()));
    let file = std::fs::File::create(&output).map_err(|error| error.to_string())?;
    let copy = file.try_clone().map_err(|error| error.to_string())?;
    let mut child = Command::new(executable)
        .args(["--case", name])
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .spawn()
        .map_err(|error| error.to_string())?;
    let deadline = match name.contains("::full_") {
        true => DEADLINE_OF_FULL,
        false => DEADLINE,
    };
    let outcome = wait(&mut child, deadline);
    let said = std::fs::read(&output).unwrap_or_default();
    let _ = std::fs::remove_file(&output);
    outcome.map_err(|why| format!("{why}\n{}", String::from_utf8_lossy(&said)))
}

fn wait(child: &mut std::process::Child, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{status}")),
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("still running after {limit:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
