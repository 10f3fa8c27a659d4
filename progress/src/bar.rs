//! [`ProgressBar`]: what users hand to a map.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use indicatif::TermLike;
use parking_lot::Mutex;
use taskfarm_core::{Observer, Progress, Report};

use crate::mode::{Environment, ProgressMode};
use crate::run::Run;
use crate::sampler;
use crate::screen::Screen;

/// How long the end of a map waits for a terminal that does not take the summary.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows on standard error how far a map has come. See the
/// [crate documentation](crate) for what is shown when.
///
/// Options are set before the first map starts. Clones are the same bar. Maps that run at
/// the same time under one bar are shown as their sum; one after the other, each has its own
/// bar and summary.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use taskfarm_core::{InProcessExt, InlineExecutor};
/// use taskfarm_progress::{MapProgressExt, ProgressMode, ProgressBar};
///
/// let bar = ProgressBar::new("hashing")
///     .mode(ProgressMode::Lines)
///     .delay(Duration::from_secs(2));
/// InlineExecutor::new().map(0..10, |_| ()).progress(bar).run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a bar shows nothing until a map gets it"]
pub struct ProgressBar {
    options: Options,
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) label: String,
    pub(crate) mode: ProgressMode,
    pub(crate) delay: Duration,
}

struct Inner {
    screen: Arc<Mutex<Screen>>,
    /// The run that is shown at the moment.
    run: Mutex<Option<Arc<Run>>>,
    /// Where the output goes, unless it is this process's standard error.
    environment: Option<Environment>,
}

impl ProgressBar {
    /// A bar with this label before it; the label may be empty.
    pub fn new(label: impl Into<String>) -> Self {
        let term = Arc::new(console::Term::buffered_stderr());
        Self::with(label.into(), term, None)
    }

    /// A bar somewhere else than on standard error.
    pub(crate) fn with(
        label: String,
        term: Arc<dyn TermLike>,
        environment: Option<Environment>,
    ) -> Self {
        Self {
            options: Options {
                label,
                mode: ProgressMode::Auto,
                delay: Duration::from_millis(500),
            },
            inner: Arc::new(Inner {
                screen: Arc::new(Mutex::new(Screen::new(term))),
                run: Mutex::new(None),
                environment,
            }),
        }
    }

    /// How to show progress. Default: [`ProgressMode::Auto`].
    pub fn mode(mut self, mode: ProgressMode) -> Self {
        self.options.mode = mode;
        self
    }

    /// Shows nothing of maps that take no longer than this. Default: half a second.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options.delay = delay;
        self
    }

    /// Prints a line to standard error, above the bar if one is shown.
    ///
    /// The line is never swallowed, whatever the [`ProgressMode`]. As with `eprintln!`, a terminal
    /// that does not take it holds up the caller.
    #[doc(alias = "write")]
    pub fn println(&self, line: impl fmt::Display) {
        let line = line.to_string();
        self.inner.screen.lock().print(&line);
    }
}

impl Observer for ProgressBar {
    fn on_start(&self, progress: &Arc<Progress>) {
        let mut current = self.inner.run.lock();
        if let Some(run) = &*current {
            run.add(progress);
            return;
        }
        let own = self.inner.environment.clone();
        let environment = own.unwrap_or_else(Environment::of_this_process);
        let run = Arc::new(Run::default());
        run.add(progress);
        match sampler::start(&run, &self.inner.screen, &self.options, &environment) {
            Ok(true) => *current = Some(run),
            Ok(false) => {}
            Err(error) => log::warn!("no thread could be started to show progress: {error}"),
        }
    }

    fn on_finish(&self, _: &Report) {
        let ended = {
            let mut current = self.inner.run.lock();
            current.take_if(|run| run.remove())
        };
        if let Some(run) = ended {
            run.end(PATIENCE);
        }
    }
}

/// For a map that is lost without an end.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(run) = self.run.get_mut() {
            run.end(PATIENCE);
        }
    }
}

impl Default for ProgressBar {
    /// A bar without a label.
    fn default() -> Self {
        Self::new("")
    }
}

impl From<&str> for ProgressBar {
    fn from(label: &str) -> Self {
        Self::new(label)
    }
}

impl From<String> for ProgressBar {
    fn from(label: String) -> Self {
        Self::new(label)
    }
}

impl From<&Self> for ProgressBar {
    fn from(bar: &Self) -> Self {
        bar.clone()
    }
}

impl fmt::Debug for ProgressBar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProgressBar").field(&self.options).finish()
    }
}
