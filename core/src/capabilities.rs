//! [`Capabilities`]: what an executor can do beyond running jobs.

/// What an executor can do beyond running jobs.
///
/// A map asks for what its options need before it starts; what the executor lacks is
/// refused with a [`SetupError`](crate::SetupError) instead of being ignored.
///
/// ```
/// use taskfarm_core::{Capabilities, TimeLimits};
///
/// let inline = Capabilities::in_process().with_time_limits(TimeLimits::None);
/// assert_eq!(inline.time_limits(), TimeLimits::None);
/// assert!(!inline.isolates_crashes());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    time_limits: TimeLimits,
    isolates_crashes: bool,
}

/// What happens to an item that runs longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeLimits {
    /// The executor cannot limit the time of an item; asking for it is an error.
    None,
    /// The item ends as timed out and is asked to stop; its late result is discarded.
    Cooperative,
    /// The item's worker is killed and replaced.
    Kill,
}

impl Capabilities {
    /// What threads can do: cooperative time limits, no protection from crashes.
    pub const fn in_process() -> Self {
        Self {
            time_limits: TimeLimits::Cooperative,
            isolates_crashes: false,
        }
    }

    /// Changes what time limits do. Default: [`TimeLimits::Cooperative`].
    #[must_use]
    pub const fn with_time_limits(mut self, limits: TimeLimits) -> Self {
        self.time_limits = limits;
        self
    }

    /// Changes whether a crash of a worker leaves the caller alive. Default: no.
    #[must_use]
    pub const fn with_crash_isolation(mut self, isolates: bool) -> Self {
        self.isolates_crashes = isolates;
        self
    }

    /// What happens to an item that runs longer than its limit.
    pub const fn time_limits(self) -> TimeLimits {
        self.time_limits
    }

    /// Whether a crash of a worker (abort, segmentation fault) leaves the caller alive.
    pub const fn isolates_crashes(self) -> bool {
        self.isolates_crashes
    }
}
