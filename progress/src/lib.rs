//! Progress bars for taskfarm's maps.
//!
//! ```
//! use taskfarm_core::{InProcessExt, InlineExecutor};
//! use taskfarm_progress::MapProgressExt;
//!
//! let lengths: Vec<usize> = InlineExecutor::new()
//!     .map(["a", "bc"], str::len)
//!     .progress("measuring")
//!     .collect()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What you see
//!
//! A [`ProgressBar`] shows how many *items* have ended, never chunks; failed, retried and
//! cancelled ones are counted apart, and cancelled ones do not move the bar. It goes to
//! standard error, appears when the map has run for half a second, is redrawn ten times a
//! second, and is replaced by one line that sums up when the map ends, in whatever way.
//! Where there is no terminal that can move its cursor, a plain line comes now and then;
//! see [`ProgressMode`].
//!
//! # What it costs
//!
//! Workers never touch the bar: they count, which they do anyway, and one thread per running
//! map reads the counters and draws. A terminal that nobody reads stops that thread and no
//! worker. At the end of a map, it is waited for for a second at most.
//!
//! # What it does not do
//!
//! There is one bar for each map, not one for each worker. A bar does not catch signals: if
//! Ctrl-C ends the program, the bar's last state stays on its line. Lines that the program
//! prints meanwhile should go through [`ProgressBar::println`], else they mix with the bar.
#![forbid(unsafe_code)]

mod bar;
mod ext;
mod mode;
mod run;
mod sampler;
mod screen;
mod snapshot;
#[cfg(test)]
mod tests;

pub use bar::ProgressBar;
pub use ext::MapProgressExt;
pub use mode::{PROGRESS_VAR, ParseProgressModeError, ProgressMode};
