//! [`Subject`]: the executor under test, how to build one, and what it can do.

use std::sync::Arc;
use std::time::Duration;

use super::Need;
use super::run::Place;
use super::watched::{Calls, Watched};
use crate::{BuildError, Executor, InProcess, TimeLimits};

/// A reach that the kit has cases for: [`InProcess`] and `SameBinary`.
///
/// Not for implementing outside of this crate.
pub trait Reach: Sized + 'static {
    /// What each case of the list does on executors of this reach.
    #[doc(hidden)]
    fn bodies() -> &'static [Option<Body<Self>>];

    /// Whether executors of this reach run closures that capture.
    #[doc(hidden)]
    const RUNS_CLOSURES: bool;
}

/// What a case does: it panics if the executor breaks the rule.
pub(crate) type Body<R> = fn(&Subject<R>);

/// An executor as the cases hold it.
pub(crate) type Pool<R> = Arc<dyn Executor<Reach = R>>;

impl Reach for InProcess {
    fn bodies() -> &'static [Option<Body<Self>>] {
        super::list::IN_PROCESS
    }

    const RUNS_CLOSURES: bool = true;
}

#[cfg(feature = "remote")]
impl Reach for crate::SameBinary {
    fn bodies() -> &'static [Option<Body<Self>>] {
        super::list::SAME_BINARY
    }

    const RUNS_CLOSURES: bool = false;
}

/// The executor under test: how to build one with a number of workers, and what it can do.
///
/// By default the kit believes that it has workers of its own, as many as it is asked for,
/// and can be shut down.
pub struct Subject<R> {
    make: Make<R>,
    calls: Arc<Calls>,
    name: &'static str,
    num_workers: usize,
    runs_on_caller: bool,
    opens_on_one_thread: bool,
    has_fixed_size: bool,
    ignores_shutdown: bool,
    shared_threads: Vec<&'static str>,
    deadline: Duration,
}

type Make<R> = Arc<dyn Fn(usize) -> Result<Pool<R>, BuildError> + Send + Sync>;

/// The variable that scales every deadline of the kit, for slow machines.
const SCALE_VAR: &str = "TASKFARM_CONFORMANCE_TIMEOUT_SCALE";

const DEADLINE: Duration = Duration::from_secs(20);

impl<R: Reach> Subject<R> {
    /// An executor that `make` builds with the given number of workers. Asked for zero, it
    /// must give an error.
    pub fn new<E, F>(make: F) -> Self
    where
        E: Executor<Reach = R> + 'static,
        F: Fn(usize) -> Result<E, BuildError> + Send + Sync + 'static,
    {
        Self {
            make: Arc::new(move |num_workers| Ok(Arc::new(make(num_workers)?) as _)),
            calls: Arc::default(),
            name: "",
            num_workers: 2,
            runs_on_caller: false,
            opens_on_one_thread: false,
            has_fixed_size: false,
            ignores_shutdown: false,
            shared_threads: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Names this one of several subjects of [`main`](super::main); the names of its cases
    /// begin with it.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Runs the cases with so many workers where they do not ask for a number. Default: 2.
    #[must_use]
    pub fn workers(mut self, num_workers: usize) -> Self {
        self.num_workers = num_workers;
        self
    }

    /// Declares that jobs run inside `spawn`, on the caller's thread.
    #[must_use]
    pub fn runs_on_caller(mut self) -> Self {
        self.runs_on_caller = true;
        self.has_fixed_size = true;
        self
    }

    /// Declares that it can be built only while the process has one thread. Only
    /// [`main`](super::main) can test such an executor.
    #[must_use]
    pub fn opens_on_one_thread(mut self) -> Self {
        self.opens_on_one_thread = true;
        self
    }

    /// Declares that the number of workers given to the factory is ignored.
    #[must_use]
    pub fn has_fixed_size(mut self) -> Self {
        self.has_fixed_size = true;
        self
    }

    /// Declares that `shutdown` does nothing.
    #[must_use]
    pub fn ignores_shutdown(mut self) -> Self {
        self.ignores_shutdown = true;
        self
    }

    /// Declares that threads whose name starts with `prefix` belong to the process and not
    /// to the executor, so that they may stay when it is dropped.
    #[must_use]
    pub fn shares_threads(mut self, prefix: &'static str) -> Self {
        self.shared_threads.push(prefix);
        self
    }

    /// Changes the time that a case may take. Default: 20 s. The environment variable
    /// `TASKFARM_CONFORMANCE_TIMEOUT_SCALE` multiplies it.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn scaled_deadline(&self) -> Duration {
        let scale = std::env::var(SCALE_VAR).ok();
        let scale = scale.and_then(|text| text.trim().parse::<f64>().ok());
        let scale = scale.filter(|scale| scale.is_finite() && *scale > 0.0);
        self.deadline.mul_f64(scale.unwrap_or(1.0))
    }

    pub(crate) fn shared_threads(&self) -> &[&'static str] {
        &self.shared_threads
    }

    /// The same subject, with calls of its own to watch.
    pub(super) fn watched(&self) -> (Self, Arc<Calls>) {
        let calls = Arc::<Calls>::default();
        let subject = Self {
            calls: calls.clone(),
            ..self.clone()
        };
        (subject, calls)
    }

    /// A new executor with the default number of workers.
    pub(crate) fn pool(&self) -> Pool<R> {
        self.pool_of(self.num_workers)
    }

    /// A new executor with so many workers, if it lets the caller choose.
    pub(crate) fn pool_of(&self, num_workers: usize) -> Pool<R> {
        self.try_pool_of(num_workers)
            .unwrap_or_else(|error| panic!("{num_workers} workers could not be started: {error}"))
    }

    pub(crate) fn try_pool_of(&self, num_workers: usize) -> Result<Pool<R>, BuildError> {
        let pool = (self.make)(num_workers)?;
        Ok(Arc::new(Watched::new(pool, self.calls.clone())))
    }

    /// The first of `needs` that is lacking in this place.
    pub(super) fn lacks(&self, needs: &[Need], place: Place) -> Option<Need> {
        needs.iter().copied().find(|&need| !self.has(need, place))
    }

    fn has(&self, need: Need, place: Place) -> bool {
        match need {
            Need::OwnProcess => place == Place::OwnProcess,
            Need::BuildsAnywhere => !self.opens_on_one_thread,
            Need::Closures => R::RUNS_CLOSURES,
            Need::Processes => !R::RUNS_CLOSURES,
            Need::Workers => !self.runs_on_caller,
            Need::ChosenSize => !self.has_fixed_size,
            Need::Shutdown => !self.ignores_shutdown,
            Need::TwoWorkers => self.pool_of(2).parallelism().get() >= 2,
            Need::TimeLimits => self.pool().capabilities().time_limits() != TimeLimits::None,
            Need::CrashIsolation => self.pool().capabilities().isolates_crashes(),
        }
    }
}

impl<R> Clone for Subject<R> {
    fn clone(&self) -> Self {
        Self {
            make: self.make.clone(),
            calls: self.calls.clone(),
            shared_threads: self.shared_threads.clone(),
            ..*self
        }
    }
}

impl<R> std::fmt::Debug for Subject<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("name", &self.name)
            .field("num_workers", &self.num_workers)
            .field("runs_on_caller", &self.runs_on_caller)
            .field("has_fixed_size", &self.has_fixed_size)
            .field("ignores_shutdown", &self.ignores_shutdown)
            .finish_non_exhaustive()
    }
}
