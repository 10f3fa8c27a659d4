//! The thread that watches a [`Run`] and draws.
//!
//! 1. It sleeps for the delay. A run that ends before leaves no trace.
//! 2. Ten times a second it reads the counters; it draws the bar each time, or prints a line
//!    when one is due.
//! 3. When the run has ended, it clears the bar, prints the summary, and says so to the
//!    thread that ended the run.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::bar::Options;
use crate::mode::{Environment, ProgressMode};
use crate::run::Run;
use crate::screen::Screen;
use crate::snapshot::Snapshot;
use parking_lot::Mutex;

const TICK: Duration = Duration::from_millis(100);
/// A line comes after this time,
const LINE_EVERY: Duration = Duration::from_secs(10);
/// or after this part of the items and that time.
const LINE_FRACTION: f64 = 0.1;
const LINE_AT_MOST_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Sampler {
    run: Arc<Run>,
    screen: Arc<Mutex<Screen>>,
    options: Options,
    has_color: bool,
    draws_bar: bool,
    last_line: Instant,
    last_fraction: f64,
}

/// Starts a sampler, unless nothing is to be shown.
pub(crate) fn start(
    run: &Arc<Run>,
    screen: &Arc<Mutex<Screen>>,
    options: &Options,
    environment: &Environment,
) -> io::Result<bool> {
    let mode = options.mode.resolve(environment);
    if mode == ProgressMode::Never {
        return Ok(false);
    }
    let sampler = Sampler {
        run: Arc::clone(run),
        screen: Arc::clone(screen),
        options: options.clone(),
        has_color: environment.has_color(),
        draws_bar: mode == ProgressMode::Always,
        last_line: Instant::now(),
        last_fraction: 0.0,
    };
    thread::Builder::new()
        .name("taskfarm-progress".to_owned())
        .spawn(move || sampler.work())?;
    Ok(true)
}

impl Sampler {
    fn work(mut self) {
        /// Tells whoever waits, also if something here panics.
        struct Close(Arc<Run>);
        impl Drop for Close {
            fn drop(&mut self) {
                self.0.close();
            }
        }

        let _close = Close(Arc::clone(&self.run));
        if self.run.has_ended_after(self.options.delay) {
            return;
        }
        loop {
            self.show(&self.run.snapshot());
            if self.run.has_ended_after(TICK) {
                break;
            }
        }
        let summary = self.labelled(&self.run.snapshot().summary());
        let mut screen = self.screen.lock();
        screen.clear();
        screen.print(&summary);
    }

    fn show(&mut self, snapshot: &Snapshot) {
        if self.draws_bar {
            let mut screen = self.screen.lock();
            screen.draw(&self.options.label, snapshot, self.has_color);
        } else if self.is_line_due(snapshot) {
            let line = self.labelled(&snapshot.status(false));
            self.screen.lock().print(&line);
        }
    }

    fn is_line_due(&mut self, snapshot: &Snapshot) -> bool {
        let since = self.last_line.elapsed();
        let fraction = snapshot.fraction().unwrap_or(0.0);
        let has_grown = fraction >= self.last_fraction + LINE_FRACTION;
        let is_due = since >= LINE_EVERY || (has_grown && since >= LINE_AT_MOST_EVERY);
        if is_due {
            self.last_line = Instant::now();
            self.last_fraction = fraction;
        }
        is_due
    }

    fn labelled(&self, text: &str) -> String {
        match self.options.label.as_str() {
            "" => text.to_owned(),
            label => format!("{label}: {text}"),
        }
    }
}
