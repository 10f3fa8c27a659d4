//! [`CancellationToken`]: how a task learns that nobody wants its result any more.
//!
//! Tokens form a tree: cancelling one cancels all below it, at once, so that a check is
//! one load. Threads cannot be killed; a task that runs long asks its
//! [current](CancellationToken::current) token now and then.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::frame;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Condvar, Mutex};

/// A flag that says "stop", shared by whoever wants to stop work and whoever does it.
///
/// Cloning gives another reference to the same flag.
///
/// # Examples
///
/// ```
/// use taskfarm_core::CancellationToken;
///
/// let whole = CancellationToken::new();
/// let part = whole.child();
/// part.cancel();
/// assert!(part.is_cancelled() && !whole.is_cancelled());
/// ```
#[derive(Clone)]
pub struct CancellationToken(Arc<Inner>);

struct Inner {
    /// 0, or the [`CancelReason`] plus one.
    reason: AtomicU8,
    below: Mutex<Vec<Below>>,
    cancelled: Condvar,
}

/// Whether a token is cancelled, at hand.
#[derive(Clone, Copy)]
pub(crate) struct Flag<'a>(&'a AtomicU8);

impl Flag<'_> {
    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }
}

/// What hears of a cancellation.
enum Below {
    Child(Weak<Inner>),
    /// The token of a map inside of the task that this token is for.
    MapInside(Weak<Inner>),
    Listener(Weak<dyn OnCancel>),
}

/// Something that must act when a token is cancelled.
pub(crate) trait OnCancel: Send + Sync {
    /// Called once, on the thread that cancels. Must not run user code.
    fn on_cancel(&self, reason: CancelReason);
}

/// Why something was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// Somebody called `cancel` on the handle or on a token.
    Asked,
    /// Another item of the map failed and its policy is to stop.
    OtherFailed,
    /// The deadline of the whole map passed.
    Deadline,
    /// The executor was shut down.
    ShutDown,
    /// The consumer of the results went away.
    Abandoned,
    /// The work around it was cancelled: the item of another map that it is part of.
    Outer,
}

/// What a `cancel` did. It is always the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// The task had not started and never will.
    NotStarted,
    /// The task runs in this process; its token is set, and it may look at it.
    Asked,
    /// The task ran in another process, which was killed.
    Killed,
    /// The task had already ended.
    TooLate,
}

impl CancelReason {
    const ALL: [Self; 6] = [
        Self::Asked,
        Self::OtherFailed,
        Self::Deadline,
        Self::ShutDown,
        Self::Abandoned,
        Self::Outer,
    ];

    /// What this means for a map inside of what is cancelled.
    fn inside(self) -> Self {
        match self {
            Self::Asked | Self::ShutDown => self,
            Self::OtherFailed | Self::Deadline | Self::Abandoned | Self::Outer => Self::Outer,
        }
    }

    fn to_code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code.checked_sub(1)?)).copied()
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "on request",
            Self::OtherFailed => "because another item failed",
            Self::Deadline => "because the deadline of the map passed",
            Self::ShutDown => "because the executor was shut down",
            Self::Abandoned => "because its result was no longer wanted",
            Self::Outer => "because the work around it was cancelled",
        })
    }
}

impl CancellationToken {
    /// A token that nobody has cancelled, with nothing above it.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            reason: AtomicU8::new(0),
            below: Mutex::new(Vec::new()),
            cancelled: Condvar::new(),
        }))
    }

    /// The token of the task that runs on this thread, or a fresh one outside of tasks.
    ///
    /// It is cancelled when the task's handle or map is cancelled, when another item of a
    /// fail-fast map fails, when the item exceeds its time limit, and when the executor is
    /// shut down with [`Shutdown::Abort`](crate::Shutdown::Abort). Get it once and check it
    /// often: a check is one load.
    ///
    /// ```
    /// use taskfarm_core::{CancellationToken, InProcessExt, InlineExecutor};
    ///
    /// let executor = InlineExecutor::new();
    /// let sums = executor.map(0..3_u64, |n| {
    ///     let token = CancellationToken::current();
    ///     (0..n).take_while(|_| !token.is_cancelled()).sum::<u64>()
    /// });
    /// assert_eq!(sums.collect::<Vec<_>>()?, [0, 0, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn current() -> Self {
        frame::current_token().unwrap_or_default()
    }

    /// A token that is cancelled with this one, and can be cancelled without it.
    pub fn child(&self) -> Self {
        let child = Self::new();
        self.adopt(&child);
        child
    }

    /// Has `child` cancelled with this one, at once if it is too late to wait for it.
    pub(crate) fn adopt(&self, child: &Self) {
        let late = self.attach(Below::Child(Arc::downgrade(&child.0)));
        if let Some(reason) = late {
            child.cancel_because(reason);
        }
    }

    /// The same for the token of a map inside of the task that this token is for.
    ///
    /// That another item failed, or that a deadline passed, is then true of the map outside:
    /// the one inside is only not wanted any more, and must not look for a failure of its own.
    pub(crate) fn adopt_map(&self, map: &Self) {
        let late = self.attach(Below::MapInside(Arc::downgrade(&map.0)));
        if let Some(reason) = late {
            map.cancel_because(reason.inside());
        }
    }

    /// Asks everything under this token to stop. Later calls do nothing.
    pub fn cancel(&self) {
        self.cancel_because(CancelReason::Asked);
    }

    /// Whether the token was cancelled. One load.
    // Maps ask before each item, in code that is compiled in the user's crate.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.reason.load(Ordering::Acquire) != 0
    }

    /// The flag itself, for loops in which even the way to it costs.
    #[inline]
    pub(crate) fn flag(&self) -> Flag<'_> {
        Flag(&self.0.reason)
    }

    /// Why the token was cancelled, if it was.
    pub fn reason(&self) -> Option<CancelReason> {
        CancelReason::from_code(self.0.reason.load(Ordering::Acquire))
    }

    /// Sleeps for `timeout`, or less if the token is cancelled meanwhile; says whether it
    /// was. A sleep that a task can be woken from.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut below = self.0.below.lock();
        while !self.is_cancelled() {
            match deadline {
                None => self.0.cancelled.wait(&mut below),
                Some(deadline) if Instant::now() >= deadline => break,
                Some(deadline) => {
                    self.0.cancelled.wait_until(&mut below, deadline);
                }
            }
        }
        self.is_cancelled()
    }

    pub(crate) fn cancel_because(&self, reason: CancelReason) {
        let below = {
            let mut below = self.0.below.lock();
            if self.is_cancelled() {
                return;
            }
            // Under the lock: `attach` sees either the reason or a list that is yet to be
            // told, so nothing is attached and never told.
            self.0.reason.store(reason.to_code(), Ordering::Release);
            self.0.cancelled.notify_all();
            std::mem::take(&mut *below)
        };
        for below in below {
            match below {
                Below::Child(child) => {
                    if let Some(child) = child.upgrade() {
                        Self(child).cancel_because(reason);
                    }
                }
                Below::MapInside(map) => {
                    if let Some(map) = map.upgrade() {
                        Self(map).cancel_because(reason.inside());
                    }
                }
                Below::Listener(listener) => {
                    if let Some(listener) = listener.upgrade() {
                        listener.on_cancel(reason);
                    }
                }
            }
        }
    }

    /// Has `listener` told of the cancellation, at once if it is too late to wait for it.
    pub(crate) fn listen(&self, listener: Weak<dyn OnCancel>) {
        let late = self.attach(Below::Listener(listener.clone()));
        if let (Some(reason), Some(listener)) = (late, listener.upgrade()) {
            listener.on_cancel(reason);
        }
    }

    /// Adds to the list, or says why it is too late.
    fn attach(&self, new: Below) -> Option<CancelReason> {
        let mut below = self.0.below.lock();
        if let Some(reason) = self.reason() {
            return Some(reason);
        }
        // A long-lived token outlives many children: forget the dead ones whenever the
        // list would grow, so that it stays within twice the living.
        if below.len() == below.capacity() {
            below.retain(Below::is_alive);
        }
        below.push(new);
        None
    }
}

impl Below {
    fn is_alive(&self) -> bool {
        match self {
            Self::Child(child) | Self::MapInside(child) => child.strong_count() > 0,
            Self::Listener(listener) => listener.strong_count() > 0,
        }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancellationToken")
            .field(&self.reason())
            .finish()
    }
}
