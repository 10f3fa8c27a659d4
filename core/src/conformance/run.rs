//! Running cases: [`check`] for one as a test, [`run`] and [`main`] for all of them.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
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

/// A `main` for test targets with `harness = false`: runs the cases whose name contains
/// the first argument (all without one) and prints a line for each.
pub fn main<R: Reach>(subject: &Subject<R>) -> ExitCode {
    let is_option = |argument: &String| argument.starts_with('-');
    let filter = std::env::args().skip(1).find(|it| !is_option(it));
    let mut counts = [0; 3];
    if !leaks::is_supported() {
        println!("this system cannot be searched for leaks; that part is skipped");
    }
    for case in cases() {
        if !case.name.contains(filter.as_deref().unwrap_or("")) {
            continue;
        }
        match run_case(subject, case) {
            Verdict::Passed => {
                counts[0] += 1;
                println!("{} ... ok", case.name);
            }
            Verdict::Skipped(need) => {
                counts[1] += 1;
                println!("{} ... skipped: it needs {need}", case.name);
            }
            Verdict::Failed(failure) => {
                counts[2] += 1;
                println!("{} ... FAILED\n{failure}", case.name);
            }
        }
    }
    let [passed, skipped, failed] = counts;
    println!("{passed} passed, {skipped} skipped, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs one case.
pub fn run_case<R: Reach>(subject: &Subject<R>, case: &Case) -> Verdict {
    leaks::register_harness_thread();
    let _alone = ONE_AT_A_TIME.lock();
    let at = cases().iter().position(|other| other.name == case.name);
    let body = at.and_then(|at| R::bodies()[at]);
    let lacking = catch_unwind(AssertUnwindSafe(|| subject.lacks(case.needs())));
    let outcome = match (lacking, body) {
        (Ok(Some(need)), _) => return Verdict::Skipped(need),
        (Ok(None), Some(body)) => observe(subject, body),
        (Ok(None), None) => Err("the case cannot be expressed for this reach".to_owned()),
        (Err(payload), _) => Err(message_of(&*payload)),
    };
    match outcome {
        Ok(()) => Verdict::Passed,
        Err(seen) => Verdict::Failed(Failure {
            rule: case.rule,
            case: case.name,
            required: case.required(),
            seen,
        }),
    }
}

/// Runs a case in its own thread, and says what went wrong.
fn observe<R: Reach>(subject: &Subject<R>, body: Body<R>) -> Result<(), String> {
    let before = Traces::take();
    let deadline = subject.scaled_deadline();
    run_within(deadline, {
        let subject = subject.clone();
        move || body(&subject)
    })?;
    let left = before.left_behind(subject.shared_threads());
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("left behind: {}", left.join(", ")))
}

fn run_within(deadline: Duration, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("conformance-case".to_owned())
        .spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(body));
            // Nobody listens after the deadline.
            let _ = sender.send(outcome.map_err(|payload| message_of(&*payload)));
        });
    let thread = thread.map_err(|error| format!("no thread could be started: {error}"))?;
    let outcome = receiver.recv_timeout(deadline);
    match outcome {
        Ok(outcome) => {
            // Only the last steps of the thread are left.
            let _ = thread.join();
            outcome
        }
        Err(RecvTimeoutError::Timeout) => Err(format!("it hung: nothing within {deadline:?}")),
        Err(RecvTimeoutError::Disconnected) => Err("the case ended without a word".to_owned()),
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}
