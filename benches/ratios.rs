//! Runs the contenders of each contest in turn, round by round, and prints the medians and
//! their ratios. Arguments are parts of the names of contests to run; by default all.

use std::time::Duration;

use taskfarm_benches::{Contest, NUM_WORKERS, contests};

fn main() {
    // Cargo adds `--bench`.
    let is_name = |arg: &String| !arg.starts_with("--");
    let wanted: Vec<String> = std::env::args().skip(1).filter(is_name).collect();
    println!("{NUM_WORKERS} workers each; the ratio is to the first line of each group");
    for contest in contests() {
        if wanted.is_empty() || wanted.iter().any(|part| contest.name.contains(part)) {
            run(contest);
        }
    }
}

fn run(mut contest: Contest) {
    let mut times = vec![Vec::with_capacity(contest.rounds); contest.contenders.len()];
    // One round to warm up: caches, allocators, threads that start on demand.
    for round in 0..=contest.rounds {
        for (contender, times) in contest.contenders.iter_mut().zip(&mut times) {
            let time = contender.run();
            if round > 0 {
                times.push(time);
            }
        }
    }
    println!("\n{} ({} rounds)", contest.name, contest.rounds);
    println!("  ratio       median          p99");
    let mut first = None;
    for (contender, mut times) in contest.contenders.iter().zip(times) {
        times.sort();
        let median = at(&times, 50);
        let ratio = median.as_secs_f64() / first.get_or_insert(median).as_secs_f64();
        let (median, p99) = (micros(median), micros(at(&times, 99)));
        println!("{ratio:7.2} {median} {p99}  {}", contender.name);
    }
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn micros(time: Duration) -> String {
    format!("{:9.1} µs", time.as_secs_f64() * 1e6)
}
