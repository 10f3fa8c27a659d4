//! [`Screen`]: the terminal or pipe, with at most one bar on it.

use std::io;
use std::sync::Arc;

use indicatif::{ProgressDrawTarget, ProgressStyle, TermLike};

use crate::snapshot::Snapshot;

/// Where progress goes. Whoever writes holds the lock around it for as long as the terminal
/// takes: the sampler, and those who print lines. Never a worker as such.
#[derive(Debug)]
pub(crate) struct Screen {
    term: Shared,
    bar: Option<indicatif::ProgressBar>,
}

impl Screen {
    pub(crate) fn new(term: Arc<dyn TermLike>) -> Self {
        Self {
            term: Shared(term),
            bar: None,
        }
    }

    /// Draws the bar, or draws it anew.
    pub(crate) fn draw(&mut self, label: &str, snapshot: &Snapshot, has_color: bool) {
        let bar = self.bar.take().unwrap_or_else(|| {
            let target = ProgressDrawTarget::term_like(Box::new(self.term.clone()));
            indicatif::ProgressBar::with_draw_target(None, target)
        });
        let gap = if label.is_empty() { "" } else { " " };
        // The setters of a bar would each draw; these do not, and `update` does.
        let bar = bar
            .with_style(style(snapshot.fraction().is_some()))
            .with_prefix(format!("{label}{gap}"))
            .with_message(snapshot.status(has_color));
        bar.update(|state| {
            state.set_pos(snapshot.done());
            if let Some(total) = snapshot.total {
                state.set_len(total);
            }
        });
        self.bar = Some(bar);
    }

    /// Takes the bar away, as if it had never been there.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Writes a line, above the bar if there is one.
    pub(crate) fn print(&self, line: &str) {
        // Nobody is there to hear that standard error is closed.
        let write = || {
            let _ = self.term.write_line(line).and_then(|()| self.term.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn style(knows_total: bool) -> ProgressStyle {
    let template = if knows_total {
        "{prefix}[{bar:25}] {wide_msg}"
    } else {
        "{prefix}{spinner} {wide_msg}"
    };
    ProgressStyle::with_template(template)
        .expect("the template is well-formed")
        .progress_chars("=> ")
}

/// A terminal in two hands: indicatif's for the bar, and ours for lines.
#[derive(Clone, Debug)]
struct Shared(Arc<dyn TermLike>);

impl TermLike for Shared {
    fn width(&self) -> u16 {
        self.0.width()
    }

    fn height(&self) -> u16 {
        self.0.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.0.write_line(s)
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.0.write_str(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
