//! Running cases in this process: [`check`] for one as a test, [`run`] for all of them.

use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use parking_lot::Mutex;

use super::leaks::{self, Traces};
use super::subject::Body;
use super::{Case, Need, Reach, Rule, Subject, cases};

/// Cases look at the whole process, so they run one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The executor does what is required.
    Passed,
    /// The executor lacks this, and need not pass.
    Skipped(Need),
    /// The executor breaks a rule.
    Failed(Failure),
}

/// What an executor did wrong. Its `Display` cites the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The broken rule.
    pub rule: Rule,
    /// The name of the case.
    pub case: &'static str,
    /// What was required, as a sentence.
    pub required: String,
    /// What was seen instead.
    pub seen: String,
}

impl Failure {
    pub(super) fn of(case: &Case, seen: String) -> Self {
        Self {
            rule: case.rule,
            case: case.name,
            required: case.required(),
            seen,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rule {} is broken (case {})", self.rule, self.case)?;
        writeln!(f, "  the rule: {}", self.rule.text())?;
        writeln!(f, "  required: {}", self.required)?;
        write!(f, "  seen:     {}", self.seen)
    }
}

impl std::error::Error for Failure {}

/// How all cases went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    verdicts: Vec<(Case, Verdict)>,
}

impl Report {
    /// Each case that was run or skipped, with its verdict.
    pub fn verdicts(&self) -> &[(Case, Verdict)] {
        &self.verdicts
    }

    /// What went wrong.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.verdicts
            .iter()
            .filter_map(|(_, verdict)| match verdict {
                Verdict::Failed(failure) => Some(failure),
                Verdict::Passed | Verdict::Skipped(_) => None,
            })
    }

    /// Whether nothing went wrong.
    pub fn is_ok(&self) -> bool {
        self.failures().next().is_none()
    }
}

/// Runs the case of that name as a test. What [`conformance!`](crate::conformance!) calls.
///
/// # Panics
///
/// If the executor breaks the rule, with the [`Failure`] as the message.
pub fn check<R: Reach>(subject: &Subject<R>, name: &str) {
    let case = cases().iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    match run_case(subject, case) {
        Verdict::Passed => {}
        Verdict::Skipped(need) => println!("skipped {name}: it needs {need}"),
        Verdict::Failed(failure) => panic!("{failure}"),
    }
}

/// Runs all cases whose name contains `filter`.
pub fn run<R: Reach>(subject: &Subject<R>, filter: &str) -> Report {
    let chosen = cases().iter().filter(|case| case.name.contains(filter));
    Report {
        verdicts: chosen
            .map(|case| (*case, run_case(subject, case)))
            .collect(),
    }
}

/// Runs one case, in a thread of its own.
pub fn run_case<R: Reach>(subject: &Subject<R>, case: &Case) -> Verdict {
    leaks::register_harness_thread();
    let _alone = ONE_AT_A_TIME.lock();
    judge(subject, case, Place::OwnThread)
}

/// Where a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a thread of its own, beside those of the harness.
    OwnThread,
    /// On the main thread of a process of its own; another process keeps the deadline.
    OwnProcess,
}

pub(super) fn judge<R: Reach>(subject: &Subject<R>, case: &Case, place: Place) -> Verdict {
    let at = cases().iter().position(|other| other.name == case.name);
    let body = at.and_then(|at| R::bodies()[at]);
    let lacking = find_lacking(subject, case.needs(), place);
    let outcome = match (lacking, body) {
        (Ok(Some(need)), _) => return Verdict::Skipped(need),
        (Ok(None), Some(body)) => observe(subject, body, place),
        (Ok(None), None) => Err("the case cannot be expressed for this reach".to_owned()),
        (Err(seen), _) => Err(seen),
    };
    match outcome {
        Ok(()) => Verdict::Passed,
        Err(seen) => Verdict::Failed(Failure::of(case, seen)),
    }
}

/// The first of `needs` that is lacking. Pools are opened and closed to find that out, which
/// may hang, too.
fn find_lacking<R: Reach>(
    subject: &Subject<R>,
    needs: &'static [Need],
    place: Place,
) -> Result<Option<Need>, String> {
    if needs.is_empty() || place == Place::OwnProcess {
        return catch(|| subject.lacks(needs, place));
    }
    let (subject, calls) = subject.watched();
    let deadline = subject.scaled_deadline();
    let (sender, receiver) = mpsc::channel();
    let asked = run_within(deadline, move || {
        let _ = sender.send(subject.lacks(needs, place));
    });
    asked.unwrap_or_else(|()| Err(format!("{}; {}", hung(deadline), calls.suspicion())))?;
    receiver.recv().map_err(|error| error.to_string())
}

/// Runs a case and says what went wrong.
fn observe<R: Reach>(subject: &Subject<R>, body: Body<R>, place: Place) -> Result<(), String> {
    let before = Traces::take();
    match place {
        Place::OwnThread => {
            let (subject, calls) = subject.watched();
            let deadline = subject.scaled_deadline();
            let outcome = run_within(deadline, move || body(&subject));
            outcome
                .unwrap_or_else(|()| Err(format!("{}; {}", hung(deadline), calls.suspicion())))?;
        }
        Place::OwnProcess => catch(|| body(subject))?,
    }
    let left = before.left_behind(subject.shared_threads());
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("left behind: {}", left.join(", ")))
}

/// Runs `body` in a thread; an error if it does not end in time.
fn run_within(
    deadline: Duration,
    body: impl FnOnce() + Send + 'static,
) -> Result<Result<(), String>, ()> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("conformance-case".to_owned())
        .spawn(move || {
            // Nobody listens after the deadline.
            let _ = sender.send(catch(body));
        });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return Ok(Err(format!("no thread could be started: {error}"))),
    };
    match receiver.recv_timeout(deadline) {
        Ok(outcome) => {
            // Only the last steps of the thread are left.
            let _ = thread.join();
            Ok(outcome)
        }
        Err(RecvTimeoutError::Timeout) => Err(()),
        Err(RecvTimeoutError::Disconnected) => Ok(Err("the case ended without a word".to_owned())),
    }
}

pub(super) fn hung(deadline: Duration) -> String {
    format!("it hung: nothing within {deadline:?}")
}

/// Turns a panic into its message and place.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    crate::panic::catch(body).map_err(|panic| panic.to_string())
}
