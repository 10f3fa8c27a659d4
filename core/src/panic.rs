//! [`Panic`]: what is kept of a caught panic, and how it is caught.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Once, OnceLock};

/// A panic that was caught: message, place, and a backtrace where enabled.
#[derive(Clone, Debug)]
pub struct Panic {
    message: String,
    location: Option<String>,
    backtrace: Option<Arc<Stack>>,
}

/// A stack, resolved when somebody asks for it: that may take a hundred milliseconds.
struct Stack {
    raw: Option<Backtrace>,
    text: OnceLock<String>,
}

impl Stack {
    fn text(&self) -> &str {
        let resolve = || {
            self.raw
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
        };
        self.text.get_or_init(resolve)
    }
}

/// Pages of frames would bury the message of a failed `unwrap`.
impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").finish_non_exhaustive()
    }
}

impl Panic {
    /// A panic with this message, raised at `location` (`file:line:column`).
    pub fn new(message: impl Into<String>, location: Option<String>) -> Self {
        Self {
            message: message.into(),
            location,
            backtrace: None,
        }
    }

    /// A panic that was caught in another process.
    #[cfg(feature = "remote")]
    pub(crate) fn from_parts(
        message: String,
        location: Option<String>,
        backtrace: Option<String>,
    ) -> Self {
        let stack = |text: String| Stack {
            raw: None,
            text: OnceLock::from(text),
        };
        Self {
            message,
            location,
            backtrace: backtrace.map(stack).map(Arc::new),
        }
    }

    /// What the panic said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it was raised, as `file:line:column`.
    ///
    /// Unknown if the program replaced the panic hook while the task ran.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The stack when it was raised, if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` is set.
    ///
    /// The first call resolves the symbols, which may take a hundred milliseconds.
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref().map(Stack::text)
    }

    fn from_payload(payload: Box<dyn Any + Send>) -> Self {
        let message = if let Some(text) = payload.downcast_ref::<&str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "a payload that is not a string".to_owned()
        };
        // A payload's own `Drop` may panic.
        drop_quietly(payload);
        HAS_PLACE.set(false);
        let place = PLACE.try_with(RefCell::take).ok().flatten();
        Self {
            message,
            location: place.as_ref().map(|place| place.location.clone()),
            backtrace: place.and_then(|place| place.backtrace).map(Arc::new),
        }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.location {
            Some(location) => write!(f, " (at {location})"),
            None => Ok(()),
        }
    }
}

struct Place {
    location: String,
    backtrace: Option<Stack>,
}

thread_local! {
    /// Whether a panic on this thread would be caught here.
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// Whether `PLACE` holds something: cheaper to ask.
    static HAS_PLACE: Cell<bool> = const { Cell::new(false) };
    /// Where the panic that is being caught was raised.
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Calls `f` and turns a panic into a value.
///
/// The panic hook still runs, so the message appears on stderr as for any other thread.
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    watch_places();
    let outer = CATCHING.replace(true);
    if HAS_PLACE.get() {
        // Of a panic that a task caught itself.
        forget_place();
    }
    // Unwind safety is the business of the callers: what a task leaves half-done is
    // either dropped or was shared by the user through `Sync` types.
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(outer);
    result.map_err(Panic::from_payload)
}

#[cold]
fn forget_place() {
    HAS_PLACE.set(false);
    let _ = PLACE.try_with(RefCell::take);
}

/// Drops a value of the user's, whose `Drop` may panic.
pub(crate) fn drop_quietly<T>(value: T) {
    if !std::mem::needs_drop::<T>() {
        return;
    }
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // What `panic!` makes can be dropped. Any other payload might panic as well, with one
        // that does so in turn: give it up.
        if !payload.is::<&str>() && !payload.is::<String>() {
            std::mem::forget(payload);
        }
        log::error!("a value of a task panicked when it was dropped");
    }
}

static WATCHED: Once = Once::new();

/// Puts a hook before the present one that notes where a panic was raised: the payload,
/// which is all that `catch_unwind` gives, does not say.
fn watch_places() {
    if WATCHED.is_completed() || std::thread::panicking() {
        // A thread that panics may not change the hook.
        return;
    }
    WATCHED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            note_place(info);
            next(info);
        }));
    });
}

/// Makes this process a worker's: a panic goes back to the pool with its place, and says
/// nothing here, whatever the hook of the program was that this process is a copy of.
#[cfg(feature = "remote")]
pub fn enter_worker() {
    WATCHED.call_once(|| {});
    std::panic::set_hook(Box::new(note_place));
}

fn note_place(info: &PanicHookInfo<'_>) {
    if !CATCHING.get() {
        return;
    }
    let backtrace = Backtrace::capture();
    let place = info.location().map(|location| Place {
        location: location.to_string(),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| Stack {
            raw: Some(backtrace),
            text: OnceLock::new(),
        }),
    });
    // A thread that is ending has no place for it any more.
    let _ = PLACE.try_with(|slot| slot.replace(place));
    HAS_PLACE.set(true);
}
