//! [`ProgressMode`]: a bar, lines, or nothing.

use std::env;
use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

/// The environment variable that chooses the [`ProgressMode`] where the program does not.
pub const PROGRESS_VAR: &str = "TASKFARM_PROGRESS";

/// How progress is shown.
///
/// What the program asks for counts first; with [`Auto`](Self::Auto), the environment
/// variable `TASKFARM_PROGRESS` does (`auto`, `always`, `lines` or `never`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressMode {
    /// A bar if standard error is a terminal that can move its cursor (`TERM` is not
    /// `dumb`) and no CI service watches (`CI` is not set); lines otherwise.
    #[default]
    Auto,
    /// A bar, whatever standard error is.
    Always,
    /// A plain line every ten seconds, or for every tenth of the items.
    Lines,
    /// Nothing at all.
    Never,
}

impl ProgressMode {
    const NAMES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("always", Self::Always),
        ("lines", Self::Lines),
        ("never", Self::Never),
    ];

    /// What to do in this environment. Never `Auto`.
    pub(crate) fn resolve(self, environment: &Environment) -> Self {
        let asked = match self {
            Self::Auto => environment.asked(),
            mode => mode,
        };
        match asked {
            Self::Auto if environment.can_draw() => Self::Always,
            Self::Auto => Self::Lines,
            mode => mode,
        }
    }
}

impl fmt::Display for ProgressMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, mode)| mode == self);
        f.pad(name.map_or("", |(name, _)| name))
    }
}

impl FromStr for ProgressMode {
    type Err = ParseProgressModeError;

    fn from_str(text: &str) -> Result<Self, ParseProgressModeError> {
        let known = Self::NAMES.iter().find(|(name, _)| *name == text);
        known
            .map(|&(_, mode)| mode)
            .ok_or_else(|| ParseProgressModeError {
                text: text.to_owned(),
            })
    }
}

/// The error of parsing a [`ProgressMode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseProgressModeError {
    text: String,
}

impl fmt::Display for ParseProgressModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        write!(
            f,
            "unknown progress mode {text:?}: use auto, always, lines or never"
        )
    }
}

impl Error for ParseProgressModeError {}

/// What is known of where the output goes.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    pub(crate) is_terminal: bool,
    pub(crate) term: Option<String>,
    pub(crate) ci: Option<String>,
    pub(crate) no_color: Option<String>,
    pub(crate) progress: Option<String>,
}

impl Environment {
    pub(crate) fn of_this_process() -> Self {
        let text = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            term: text("TERM"),
            ci: text("CI"),
            no_color: text("NO_COLOR"),
            progress: text(PROGRESS_VAR),
        }
    }

    /// Whether colours are welcome. An empty `NO_COLOR` does not count, as its convention
    /// says.
    pub(crate) fn has_color(&self) -> bool {
        self.is_terminal && !is_set(self.no_color.as_deref()) && !self.is_dumb()
    }

    fn asked(&self) -> ProgressMode {
        let Some(text) = self.progress.as_deref().filter(|text| !text.is_empty()) else {
            return ProgressMode::Auto;
        };
        text.parse().unwrap_or_else(|error| {
            log::warn!("{PROGRESS_VAR}: {error}");
            ProgressMode::Auto
        })
    }

    fn can_draw(&self) -> bool {
        self.is_terminal && !self.is_dumb() && !is_set(self.ci.as_deref())
    }

    fn is_dumb(&self) -> bool {
        match self.term.as_deref() {
            Some(term) => term.is_empty() || term == "dumb",
            // Windows has no such variable.
            None => cfg!(unix),
        }
    }
}

fn is_set(value: Option<&str>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}
