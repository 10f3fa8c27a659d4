//! [`ErrorPolicy`] and the options of a map.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{CancellationToken, Capabilities, Observer, SetupError, TimeLimits};

/// What a map does when an item fails: returns an error, panics, exceeds its time limit,
/// or is lost.
///
/// Whatever the policy, a map that ends early for another reason (its token, its deadline,
/// a shutdown, a panic in the input iterator) never passes for a complete one.
///
/// | policy | `collect` | `ordered`, `as_completed`, `for_each` | `outcomes` |
/// |---|---|---|---|
/// | `FailFast` | the failure | end with the failure | the rest is cancelled |
/// | `Collect` | all failures, if any | yield each failure, go on | everything ran |
/// | `Skip` | the successes | yield the successes | everything ran |
/// | `StopAfter`, `StopAbove` | as `Collect`, ends early | as `Collect`, ends early | the rest is cancelled |
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum ErrorPolicy {
    /// The first failure ends the map: no item starts once it is known, and running ones
    /// are asked to stop.
    #[default]
    FailFast,
    /// Every item runs, and every failure is reported.
    Collect,
    /// Every item runs; failures are logged with their index (at level `warn`) and left out.
    Skip,
    /// As [`Collect`](Self::Collect), but this many failures end the map.
    StopAfter(usize),
    /// As [`Collect`](Self::Collect), but the map ends when more than this percentage of the
    /// items that have ended are failures. Judged from the hundredth item on.
    StopAbove(f64),
}

/// The options of a map whose items are of type `I`.
pub(crate) struct Options<I> {
    pub(crate) chunk_size: Option<usize>,
    pub(crate) in_flight: Option<usize>,
    pub(crate) policy: ErrorPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) retries: u32,
    /// How to keep an item for another attempt; set by whoever sets `retries`.
    pub(crate) clone: Option<fn(&I) -> I>,
    pub(crate) token: Option<CancellationToken>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
}

impl<I> Default for Options<I> {
    fn default() -> Self {
        Self {
            chunk_size: None,
            in_flight: None,
            policy: ErrorPolicy::FailFast,
            timeout: None,
            deadline: None,
            grace: None,
            retries: 0,
            clone: None,
            token: None,
            observers: Vec::new(),
        }
    }
}

impl<I> Options<I> {
    /// Whether running items may be left behind. Set only through methods that require
    /// the map to borrow nothing.
    pub(crate) fn is_limited(&self) -> bool {
        self.timeout.is_some() || self.deadline.is_some() || self.grace.is_some()
    }

    pub(crate) fn check(&self, capabilities: Capabilities) -> Result<(), SetupError> {
        let zero_count = [
            ("chunk_size", self.chunk_size),
            ("in_flight", self.in_flight),
        ];
        for (name, value) in zero_count {
            if value == Some(0) {
                return Err(SetupError::invalid(format!(
                    "{name} is 0: ask for at least 1, or leave it out for the default"
                )));
            }
        }
        if self.timeout == Some(Duration::ZERO) {
            return Err(SetupError::invalid(
                "timeout is 0: no item could finish; give each item some time, or leave it out",
            ));
        }
        match self.policy {
            ErrorPolicy::StopAfter(0) => {
                return Err(SetupError::invalid(
                    "on_error is StopAfter(0): no failure can come before the first item; \
                     ask for at least 1",
                ));
            }
            ErrorPolicy::StopAbove(percent) if !(0.0..=100.0).contains(&percent) => {
                return Err(SetupError::invalid(format!(
                    "on_error is StopAbove({percent}): ask for a percentage from 0 to 100"
                )));
            }
            _ => {}
        }
        if self.is_limited() && capabilities.time_limits() == TimeLimits::None {
            return Err(SetupError::unsupported(
                "this executor cannot limit the time of an item (it runs them on the caller's \
                 thread): leave out timeout, deadline and grace, or use another executor",
            ));
        }
        Ok(())
    }
}

impl<I> fmt::Debug for Options<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("chunk_size", &self.chunk_size)
            .field("in_flight", &self.in_flight)
            .field("policy", &self.policy)
            .field("timeout", &self.timeout)
            .field("deadline", &self.deadline)
            .field("grace", &self.grace)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
