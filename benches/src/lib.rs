//! taskfarm's pools beside each other and beside their rivals, called the way their users
//! call them.
//!
//! A [`Contest`] is one kind of work; its [`Contender`]s do it, each with its own pool of
//! [`NUM_WORKERS`] threads that lives as long as the contender. One call of a contender does
//! the work once and says how long the part took that counts.
//!
//! `cargo bench -p taskfarm-benches --bench ratios` runs the contenders in turn, round by
//! round, so that noise hits all of them alike, and prints the ratios of their medians.
//! `--bench criterion` gives criterion's statistics of each alone.
//!
//! `--bench processes` does the same for worker processes, whose rows have other units and
//! whose rivals start this program again; see [`process_rows`].
#![forbid(unsafe_code)]

mod bare_pipe;
mod channel_pool;
pub mod children;
mod contests;
mod cpu_time;
mod naive_pipes;
pub mod process_rows;
mod process_tasks;
mod row;

use std::fmt;
use std::time::Duration;

pub use contests::contests;
pub use row::{Entrant, Goal, Row};

/// The threads or processes that each pool has.
pub const NUM_WORKERS: usize = 2;

/// One kind of work.
#[derive(Debug)]
pub struct Contest {
    /// What is done.
    pub name: &'static str,
    /// How often to do it for a steady median.
    pub rounds: usize,
    /// Who does it; the first is what the others are compared with.
    pub contenders: Vec<Contender>,
}

/// One way to do the work of a contest.
pub struct Contender {
    /// Whose pool it is, and how it is called.
    pub name: &'static str,
    run: Box<dyn FnMut() -> Duration>,
}

impl Contender {
    fn new(name: &'static str, run: impl FnMut() -> Duration + 'static) -> Self {
        Self {
            name,
            run: Box::new(run),
        }
    }

    /// Does the work once.
    pub fn run(&mut self) -> Duration {
        (self.run)()
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contender").field(&self.name).finish()
    }
}
