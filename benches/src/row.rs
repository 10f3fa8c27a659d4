//! [`Row`]: one kind of work for worker processes, measured in a unit of its own.

use std::fmt;

/// One kind of work, and who does it.
#[derive(Debug)]
pub struct Row {
    /// What is done.
    pub what: &'static str,
    /// What the numbers are.
    pub unit: &'static str,
    /// How often to do it for a steady median.
    pub rounds: usize,
    /// Who does it; the first is what the others are compared with.
    pub entrants: Vec<Entrant>,
}

/// One way to do the work of a row.
pub struct Entrant {
    /// Whose pool it is, and how it is called.
    pub name: &'static str,
    /// What the project has set itself, if this is its pool.
    pub goal: Option<Goal>,
    measure: Box<dyn FnMut() -> f64>,
}

impl Entrant {
    pub(crate) fn new(name: &'static str, measure: impl FnMut() -> f64 + 'static) -> Self {
        Self {
            name,
            goal: None,
            measure: Box::new(measure),
        }
    }

    pub(crate) fn with_goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Does the work once; the result is in the unit of the row.
    pub fn measure(&mut self) -> f64 {
        (self.measure)()
    }
}

impl fmt::Debug for Entrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entrant = &mut f.debug_struct("Entrant");
        entrant.field("name", &self.name).field("goal", &self.goal);
        entrant.finish_non_exhaustive()
    }
}

/// What a median has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this, in the unit of the row.
    AtMost(f64),
    /// At least this, in the unit of the row.
    AtLeast(f64),
    /// At most so many times the first entrant's.
    RatioAtMost(f64),
    /// At least so many times the first entrant's.
    RatioAtLeast(f64),
}

impl Goal {
    /// Whether these reach it.
    pub fn is_reached(self, median: f64, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => median <= most,
            Self::AtLeast(least) => median >= least,
            Self::RatioAtMost(most) => ratio <= most,
            Self::RatioAtLeast(least) => ratio >= least,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio at most {most}"),
            Self::RatioAtLeast(least) => write!(f, "ratio at least {least}"),
        }
    }
}
