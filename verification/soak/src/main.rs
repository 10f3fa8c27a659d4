//! Runs random work on the in-process executors for a stated time, checks every result, and
//! looks for what is left behind.
//!
//! ```text
//! cargo run --release -p taskfarm-soak -- --seconds 600 [--seed N] [--round N]
//!     [--executors threads,rayon,inline]
//! ```
//!
//! The run is a row of rounds. A round opens an executor with 1 to 64 workers, has up to
//! three clients do random operations on it at the same time, perhaps shuts it down under
//! them, and closes it. What a round does follows from the seed and its number, so a
//! failure is repeated with `--seed` and `--round` (as far as the threads' timing allows).
//!
//! It fails, and says which seed and round it was, if a result is wrong, if a round does not
//! end within a minute, if a value that went through an executor was not dropped by the end
//! of its round, or if threads, descriptors or memory grow.

#![forbid(unsafe_code)]

mod check;
mod operations;
mod random;
mod round;
mod usage;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use round::{Kind, Round};
use usage::Usage;

/// How much more memory than after the warm-up may be in use at the end.
const MEMORY_SLACK_KIB: u64 = 32 << 10;

struct Arguments {
    time: Duration,
    seed: u64,
    /// Run only this round.
    round: Option<u64>,
    kinds: Vec<Kind>,
}

impl Arguments {
    fn parse() -> Result<Self, lexopt::Error> {
        use lexopt::prelude::*;

        let mut arguments = Self {
            time: Duration::from_secs(15),
            seed: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_micros() as u64),
            round: None,
            kinds: Kind::ALL.to_vec(),
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("seconds") => {
                    arguments.time = Duration::from_secs(parser.value()?.parse()?);
                }
                Long("seed") => arguments.seed = parser.value()?.parse()?,
                Long("round") => arguments.round = Some(parser.value()?.parse()?),
                Long("executors") => {
                    let names = parser.value()?.string()?;
                    let kinds = names.split(',').map(str::parse);
                    arguments.kinds = kinds.collect::<Result<_, String>>()?;
                }
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!(
        "soak: {} s, seed {}",
        arguments.time.as_secs(),
        arguments.seed
    );
    check::silence_expected_panics();
    match soak(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("soak: FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> Result<(), String> {
    let started = Instant::now();
    let mut peak = Usage::now();
    let mut warm: Option<Usage> = None;
    let mut number = arguments.round.unwrap_or(0);
    loop {
        let round = Round::new(arguments.seed, number, &arguments.kinds);
        round.run_watched()?;
        number += 1;
        let usage = Usage::now();
        peak = peak.max(usage);
        let is_over = arguments.round.is_some() || started.elapsed() >= arguments.time;
        if warm.is_none() && started.elapsed() >= arguments.time / 4 {
            warm = Some(Usage::settled());
        }
        if is_over {
            break;
        }
    }
    let usage = Usage::settled();
    println!(
        "soak: {} rounds, {} operations, {} values made and dropped",
        number - arguments.round.unwrap_or(0),
        round::num_operations(),
        check::num_values()
    );
    println!("soak: highest between rounds: {peak}; at the end: {usage}");
    match warm {
        Some(warm) if arguments.round.is_none() => usage.check_against(warm, MEMORY_SLACK_KIB),
        _ => Ok(()),
    }
}
