//! What can go wrong: [`TaskError`] for one item, [`MapError`] for a map, [`SetupError`]
//! for a call that never started.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::{CancelReason, Panic};

/// Why an item has no result: which item, which attempt, and the cause.
///
/// `E` is the error type of the function; functions that cannot fail have
/// [`Infallible`].
///
/// ```
/// use taskfarm_core::{InProcessExt, InlineExecutor, TaskErrorKind};
///
/// let handle = InlineExecutor::new().try_submit("7x", |text: &str| text.parse::<u32>());
/// let error = handle.join().unwrap_err();
/// assert!(matches!(error.kind(), TaskErrorKind::Failed(_)));
/// assert_eq!(error.to_string(), "item 0 failed: invalid digit found in string");
/// ```
pub struct TaskError<E = Infallible>(Box<Inner<E>>);

struct Inner<E> {
    index: usize,
    attempt: u32,
    kind: TaskErrorKind<E>,
}

/// The cause of a [`TaskError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskErrorKind<E = Infallible> {
    /// The function returned this error.
    Failed(E),
    /// The function panicked.
    Panicked(Panic),
    /// The item was cancelled; unless the reason is a running task's own `cancel`, it
    /// never started.
    Cancelled(CancelReason),
    /// The item ran longer than this limit.
    TimedOut(Duration),
    /// The worker process that ran the item died.
    WorkerLost(WorkerLost),
    /// The item could not be encoded for another process.
    NotEncodable(String),
    /// The item or its result could not be decoded.
    NotDecodable(String),
    /// The item could not be brought to a worker.
    Undeliverable(String),
    /// The executor dropped the job without running it.
    Dropped,
    /// The executor does not take jobs, for example because it was shut down.
    Refused,
    /// The input iterator panicked when it was asked for this item.
    InputPanicked(Panic),
}

/// How a worker process ended while it ran an item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerLost {
    /// The process id that the worker had.
    pub pid: u32,
    /// How it ended.
    pub ended: ProcessEnd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessEnd {
    /// It called `exit` with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// The kernel killed it for lack of memory.
    OutOfMemory,
    /// It exceeded the memory limit of its pool.
    MemoryLimit,
    /// It broke the protocol and was killed.
    Protocol,
    /// Nobody could tell.
    Unknown,
}

impl WorkerLost {
    /// The worker with this process id ended so.
    pub fn new(pid: u32, ended: ProcessEnd) -> Self {
        Self { pid, ended }
    }
}

impl<E> TaskError<E> {
    pub(crate) fn new(index: usize, attempt: u32, kind: TaskErrorKind<E>) -> Self {
        Self(Box::new(Inner {
            index,
            attempt,
            kind,
        }))
    }

    pub(crate) fn cancelled(index: usize, reason: CancelReason) -> Self {
        Self::new(index, 1, TaskErrorKind::Cancelled(reason))
    }

    /// The position of the item in the input, from 0. A task submitted alone has 0.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Which attempt this was, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// The cause.
    pub fn kind(&self) -> &TaskErrorKind<E> {
        &self.0.kind
    }

    /// The cause, by value.
    pub fn into_kind(self) -> TaskErrorKind<E> {
        self.0.kind
    }

    /// The error that the function returned, if that is the cause.
    pub fn cause(&self) -> Option<&E> {
        match &self.0.kind {
            TaskErrorKind::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the function panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Panicked(_))
    }

    /// Whether the item was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::Cancelled(_))
    }

    /// Whether the item exceeded its time limit.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, TaskErrorKind::TimedOut(_))
    }
}

impl<E> TaskErrorKind<E> {
    /// Writes the cause; `failed` writes the function's own error.
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        failed: impl FnOnce(&E, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        match self {
            Self::Failed(error) => {
                f.write_str("failed: ")?;
                failed(error, f)
            }
            Self::Panicked(panic) => write!(f, "panicked: {panic}"),
            Self::Cancelled(reason) => write!(f, "was cancelled {reason}"),
            Self::TimedOut(limit) => write!(f, "ran longer than its limit of {limit:?}"),
            Self::WorkerLost(lost) => write!(f, "was lost with its worker: {lost}"),
            Self::NotEncodable(why) => write!(f, "could not be encoded: {why}"),
            Self::NotDecodable(why) => write!(f, "could not be decoded: {why}"),
            Self::Undeliverable(why) => write!(f, "could not be brought to a worker: {why}"),
            Self::Dropped => f.write_str("was dropped by the executor without running"),
            Self::Refused => {
                f.write_str("was refused by the executor, which takes no jobs (is it shut down?)")
            }
            Self::InputPanicked(panic) => {
                write!(f, "could not be read: the input iterator panicked: {panic}")
            }
        }
    }
}

impl<E: fmt::Display> fmt::Display for TaskErrorKind<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |error, f| error.fmt(f))
    }
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} {}", self.0.index, self.0.kind)?;
        if self.0.attempt > 1 {
            write!(f, " (attempt {})", self.0.attempt)?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug> fmt::Debug for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError")
            .field("index", &self.0.index)
            .field("attempt", &self.0.attempt)
            .field("kind", &self.0.kind)
            .finish()
    }
}

// No `source`: the message already holds the cause, and `E` need not be an `Error`
// (`anyhow::Error` and `String` are not).
impl<E: fmt::Display + fmt::Debug> Error for TaskError<E> {}

impl fmt::Display for WorkerLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {}", self.pid, self.ended)
    }
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signaled(signal) => write!(f, "was killed by signal {signal}"),
            Self::OutOfMemory => f.write_str("was killed because memory ran out"),
            Self::MemoryLimit => f.write_str("exceeded its memory limit"),
            Self::Protocol => f.write_str("broke the protocol and was killed"),
            Self::Unknown => f.write_str("ended, and nobody knows how"),
        }
    }
}

/// A call that never started: an option that makes no sense, or a policy that the
/// executor cannot honour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    kind: SetupErrorKind,
    message: String,
}

/// What kind of mistake a [`SetupError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupErrorKind {
    /// An option has a value that makes no sense.
    InvalidOption,
    /// The executor's [`Capabilities`](crate::Capabilities) lack what an option needs.
    Unsupported,
}

impl SetupError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            kind: SetupErrorKind::InvalidOption,
            message: message.into(),
        }
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self {
            kind: SetupErrorKind::Unsupported,
            message: message.into(),
        }
    }

    /// What kind of mistake it is.
    pub fn kind(&self) -> SetupErrorKind {
        self.kind
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SetupError {}

/// Why a map has no complete result.
///
/// Either it never started ([`setup`](Self::setup)), or items failed
/// ([`failures`](Self::failures)).
pub struct MapError<E = Infallible>(Kind<E>);

enum Kind<E> {
    Setup(SetupError),
    /// Not empty, by ascending index.
    Failures(Vec<TaskError<E>>),
}

impl<E> MapError<E> {
    /// `failures` is sorted here and must not be empty.
    pub(crate) fn failed(mut failures: Vec<TaskError<E>>) -> Self {
        debug_assert!(!failures.is_empty());
        failures.sort_by_key(TaskError::index);
        Self(Kind::Failures(failures))
    }

    /// Why the map never started, if it did not.
    pub fn setup(&self) -> Option<&SetupError> {
        match &self.0 {
            Kind::Setup(error) => Some(error),
            Kind::Failures(_) => None,
        }
    }

    /// The items that failed, by ascending index.
    ///
    /// With [`ErrorPolicy::FailFast`](crate::ErrorPolicy::FailFast) this is one item: of the
    /// failures that were known when the map ended, the one with the lowest index.
    pub fn failures(&self) -> &[TaskError<E>] {
        match &self.0 {
            Kind::Setup(_) => &[],
            Kind::Failures(failures) => failures,
        }
    }

    /// The failures, by value.
    pub fn into_failures(self) -> Vec<TaskError<E>> {
        match self.0 {
            Kind::Setup(_) => Vec::new(),
            Kind::Failures(failures) => failures,
        }
    }

    /// The failure with the lowest index, if the map started.
    pub fn first(&self) -> Option<&TaskError<E>> {
        self.failures().first()
    }
}

impl<E> From<SetupError> for MapError<E> {
    fn from(error: SetupError) -> Self {
        Self(Kind::Setup(error))
    }
}

impl<E: fmt::Display> fmt::Display for MapError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Setup(error) => error.fmt(f),
            Kind::Failures(failures) => {
                if let Some(first) = failures.first() {
                    first.fmt(f)?;
                }
                match failures.len() - 1 {
                    0 => Ok(()),
                    more => write!(f, " (and {more} more failed)"),
                }
            }
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for MapError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Setup(error) => f.debug_tuple("MapError").field(error).finish(),
            Kind::Failures(failures) => f.debug_tuple("MapError").field(failures).finish(),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> Error for MapError<E> {}
