//! [`Case`]: one thing that the contract requires, and what it takes to check it.

use std::fmt;

use super::Rule;
use super::list::CASES;

/// One entry of the list.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Case {
    /// The rule that it checks.
    pub rule: Rule,
    /// Its name: `rule_id::what_is_required`.
    pub name: &'static str,
    /// Who must pass it.
    pub class: Class,
}

/// Who must pass a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Every executor.
    Required,
    /// Every executor that has all of this.
    Optional(&'static [Need]),
    /// As `Optional`; it looks for races, so a broken executor may pass now and then.
    Statistical(&'static [Need]),
}

/// What a case needs of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// It runs closures that capture.
    Closures,
    /// Its workers are other processes of this binary.
    Processes,
    /// It runs jobs on workers of its own, not on the thread that calls `spawn`.
    Workers,
    /// It can have two workers or more.
    TwoWorkers,
    /// The caller chooses the number of workers.
    ChosenSize,
    /// It can be shut down.
    Shutdown,
    /// It can limit the time of an item.
    TimeLimits,
    /// A crash of a worker leaves the caller alive.
    CrashIsolation,
    /// It can be built in a process that has other threads.
    BuildsAnywhere,
    /// The case ends its process, so it must have one of its own: [`main`](super::main).
    OwnProcess,
}

/// All cases, in the order in which they are run.
pub fn cases() -> &'static [Case] {
    CASES
}

impl Case {
    pub(super) const fn new(
        rule: Rule,
        name: &'static str,
        needs: &'static [Need],
        is_statistical: bool,
    ) -> Self {
        let class = match (is_statistical, needs.is_empty()) {
            (true, _) => Class::Statistical(needs),
            (false, true) => Class::Required,
            (false, false) => Class::Optional(needs),
        };
        Self { rule, name, class }
    }

    /// What it needs.
    pub fn needs(&self) -> &'static [Need] {
        match self.class {
            Class::Required => &[],
            Class::Optional(needs) | Class::Statistical(needs) => needs,
        }
    }

    /// Its name as a sentence: what is required.
    pub fn required(&self) -> String {
        let sentence = self.name.split_once("::").map_or(self.name, |(_, it)| it);
        sentence.replace('_', " ")
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closures => "closures that capture (an executor of reach InProcess)",
            Self::Processes => "worker processes (an executor of reach SameBinary)",
            Self::Workers => "workers of its own (this one runs jobs on the caller)",
            Self::TwoWorkers => "two workers",
            Self::ChosenSize => "a number of workers that the caller chooses",
            Self::Shutdown => "a shutdown",
            Self::TimeLimits => "time limits",
            Self::CrashIsolation => "crash isolation",
            Self::BuildsAnywhere => "that it can be built while other threads run",
            Self::OwnProcess => "a process of its own (run the kit by `conformance::main`)",
        })
    }
}
