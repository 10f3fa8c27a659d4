//! Runs the rows for worker processes: the entrants of each in turn, round by round, then
//! Python's pools where they can do the same. Prints medians, spread, ratios and goals.
//!
//! Arguments are parts of the names of rows to run; by default all. `--list` prints the
//! names, `--test` runs each row once.

use std::process::{Command, ExitCode, Stdio};

use taskfarm_benches::process_rows::ROWS;
use taskfarm_benches::{Entrant, NUM_WORKERS, Row, children};

const PYTHON_PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python_peers.py");

fn main() -> ExitCode {
    // Children of procspawn end in here, and those of the naive pipes in the next line.
    // Workers of taskfarm never reach `main`.
    procspawn::init();
    if children::serve_if_child() {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let parts: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let is_wanted =
        |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()));
    let wanted: Vec<_> = ROWS.iter().filter(|(name, _)| is_wanted(name)).collect();
    if has("--list") {
        wanted.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    if wanted.is_empty() {
        eprintln!("no row has such a name; --list shows them");
        return ExitCode::FAILURE;
    }
    println!("{NUM_WORKERS} workers each; the ratio is to the first line of each row");
    let has_python = find_python();
    for (name, build) in wanted {
        let first_median = run(name, build(), has("--test"));
        if has_python {
            run_python(name, first_median, has("--test"));
        }
    }
    if !has_python {
        println!("\n!!! NOT COMPARED WITH PYTHON'S POOLS: there is no python3");
    }
    ExitCode::SUCCESS
}

/// The result is the first entrant's median.
fn run(name: &str, mut row: Row, once: bool) -> f64 {
    let rounds = if once { 1 } else { row.rounds };
    let mut numbers = vec![Vec::with_capacity(rounds); row.entrants.len()];
    // One round to warm up: caches, allocators, workers that start on demand.
    for round in usize::from(once)..=rounds {
        for (entrant, numbers) in row.entrants.iter_mut().zip(&mut numbers) {
            let number = entrant.measure();
            if round > 0 {
                numbers.push(number);
            }
        }
    }
    println!("\n{name}: {}, in {} ({rounds} rounds)", row.what, row.unit);
    println!("  ratio       median       lowest          p99");
    let mut first = None;
    for (entrant, mut numbers) in row.entrants.iter().zip(numbers) {
        numbers.sort_by(f64::total_cmp);
        print(entrant, &numbers, *first.get_or_insert(at(&numbers, 50)));
    }
    first.unwrap_or(f64::NAN)
}

fn print(entrant: &Entrant, sorted: &[f64], first: f64) {
    let (lowest, median, p99) = (sorted[0], at(sorted, 50), at(sorted, 99));
    let ratio = median / first;
    let goal = entrant.goal.map(|goal| {
        let verdict = if goal.is_reached(median, ratio) {
            "reached"
        } else {
            "MISSED"
        };
        format!("; goal {goal}: {verdict}")
    });
    let (name, goal) = (entrant.name, goal.unwrap_or_default());
    println!("{ratio:7.2} {median:12.2} {lowest:12.2} {p99:12.2}  {name}{goal}");
}

/// The next higher one where the place lies between two.
fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[((sorted.len() - 1) * percent).div_ceil(100)]
}

fn find_python() -> bool {
    let mut python = Command::new("python3");
    let python = python
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// Prints lines of its own under those of the row.
fn run_python(row: &str, first_median: f64, once: bool) {
    let mut python = Command::new("python3");
    python.args([PYTHON_PEERS, row, "--ratio-to", &first_median.to_string()]);
    if once {
        python.arg("--test");
    }
    match python.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("!!! Python's pools failed: {status}"),
        Err(error) => println!("!!! Python cannot be run: {error}"),
    }
}
