//! [`main`]: all cases, each on the main thread of a process of its own.
//!
//! The process that somebody started runs no case. For each it executes its own program
//! again, with `--case NAME`, keeps the deadline, and when that process has ended looks for
//! others that come from it. So an executor that can only be built while the process has
//! one thread can be tested, a case may end its process, and one that hangs or crashes does
//! not harm the next.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::leaks::{self, Descendants};
use super::run::{Place, hung, judge};
use super::{Case, Failure, Need, Reach, Subject, Verdict, cases};

/// Comes before the name of the one case that a process is to run.
const CASE_FLAG: &str = "--case";

/// Marks all processes that come from a case.
const MARK_VAR: &str = "TASKFARM_CONFORMANCE_CASE";

/// What a case that ends its process prints before.
const LAST_WORDS: &str = "this case ends its process now";

/// How the process of a case ends if the case does not end it.
mod code {
    pub(super) const PASSED: u8 = 0;
    pub(super) const FAILED: u8 = 1;
    pub(super) const SKIPPED: u8 = 2;
}

/// A `main` for test targets with `harness = false`: runs every case for each subject, each
/// case on the main thread of a process of its own, and prints a line for each.
///
/// Arguments choose the cases whose names contain one of them, or with `--exact` are equal to
/// it; `--list` lists them. Other options of the usual harness are ignored. The program is
/// executed again with `--case NAME`, so call this before anything that must not happen
/// twice, and before any thread is started if the executor asks for that.
///
/// ```no_run
/// use taskfarm_core::InlineExecutor;
/// use taskfarm_core::conformance::{self, Subject};
///
/// fn main() -> std::process::ExitCode {
///     conformance::main(&[Subject::new(|_| Ok(InlineExecutor::new())).runs_on_caller()])
/// }
/// ```
pub fn main<R: Reach>(subjects: &[Subject<R>]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tests = tests_of(subjects);
    if let [flag, name] = &arguments[..]
        && flag == CASE_FLAG
    {
        let test = tests.iter().find(|test| test.name() == *name);
        return test.map_or(ExitCode::FAILURE, Test::run_here);
    }
    let chosen = choose(tests, &arguments);
    if arguments.iter().any(|argument| argument == "--list") {
        for test in chosen {
            println!("{}: test", test.name());
        }
        return ExitCode::SUCCESS;
    }
    run_all(&chosen)
}

/// A case for a subject.
struct Test<'s, R> {
    subject: &'s Subject<R>,
    case: &'static Case,
}

fn tests_of<R: Reach>(subjects: &[Subject<R>]) -> Vec<Test<'_, R>> {
    let of_subject = |subject| cases().iter().map(move |case| Test { subject, case });
    subjects.iter().flat_map(of_subject).collect()
}

fn choose<'s, R: Reach>(tests: Vec<Test<'s, R>>, arguments: &[String]) -> Vec<Test<'s, R>> {
    let has = |option| arguments.iter().any(|argument| argument == option);
    if has("--ignored") {
        return Vec::new();
    }
    let is_exact = has("--exact");
    let mut filters: Vec<&str> = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // The options with a value that runners of tests give.
            "--format" | "--test-threads" => drop(arguments.next()),
            option if option.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    let is_chosen = |test: &Test<'s, R>| {
        let name = test.name();
        let matches = |filter: &&str| match is_exact {
            true => name == **filter,
            false => name.contains(*filter),
        };
        filters.is_empty() || filters.iter().any(matches)
    };
    tests.into_iter().filter(is_chosen).collect()
}

fn run_all<R: Reach>(tests: &[Test<'_, R>]) -> ExitCode {
    if !leaks::is_supported() {
        println!("this system cannot be searched for leaks; that part is skipped");
    }
    let mut counts = [0; 3];
    for (number, test) in tests.iter().enumerate() {
        let name = test.name();
        match test.run_apart(number) {
            Ending::Passed => {
                counts[0] += 1;
                println!("{name} ... ok");
            }
            Ending::Skipped(why) => {
                counts[1] += 1;
                println!("{name} ... skipped: {why}");
            }
            Ending::Failed(why) => {
                counts[2] += 1;
                println!("{name} ... FAILED\n{why}");
            }
        }
    }
    let [passed, skipped, failed] = counts;
    println!("{passed} passed, {skipped} skipped, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// How a case went, as its process tells.
enum Ending {
    Passed,
    Skipped(String),
    Failed(String),
}

impl<R: Reach> Test<'_, R> {
    fn name(&self) -> String {
        match self.subject.name() {
            "" => self.case.name.to_owned(),
            subject => format!("{subject}::{}", self.case.name),
        }
    }

    fn run_here(&self) -> ExitCode {
        leaks::register_harness_thread();
        let code = match judge(self.subject, self.case, Place::OwnProcess) {
            Verdict::Passed => code::PASSED,
            Verdict::Skipped(need) => {
                println!("it needs {need}");
                code::SKIPPED
            }
            Verdict::Failed(failure) => {
                println!("{failure}");
                code::FAILED
            }
        };
        ExitCode::from(code)
    }

    fn run_apart(&self, number: usize) -> Ending {
        let mark = format!("{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(format!("taskfarm-conformance-{mark}"));
        let ended = self
            .start(&path, &mark)
            .map(|mut child| self.end(&mut child));
        let said = fs::read(&path).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let _ = fs::remove_file(&path);
        let left = Descendants::of(format!("{MARK_VAR}={mark}")).left_behind();
        let ending = match ended {
            Ok(Ok(status)) => self.read(status, said),
            Ok(Err(why)) => self.failed(why, &said),
            Err(error) => self.failed(format!("its process cannot be started: {error}"), &said),
        };
        match ending {
            Ending::Passed | Ending::Skipped(_) if !left.is_empty() => {
                self.failed(format!("outlived its process: {}", left.join(", ")), "")
            }
            ending => ending,
        }
    }

    /// What it says goes to a file: a worker that outlives it would keep a pipe open.
    fn start(&self, path: &PathBuf, mark: &str) -> io::Result<Child> {
        let output = File::create_new(path)?;
        Command::new(std::env::current_exe()?)
            .args([CASE_FLAG, &self.name()])
            .env(MARK_VAR, mark)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
    }

    /// Waits for the end of the process, or kills it and says why.
    fn end(&self, child: &mut Child) -> Result<ExitStatus, String> {
        let deadline = self.subject.scaled_deadline();
        // After the case it may still wait for what is left behind.
        let latest = Instant::now() + deadline + leaks::PATIENCE;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < latest => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                outcome => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(match outcome {
                        Err(error) => error.to_string(),
                        Ok(_) => hung(deadline),
                    });
                }
            }
        }
    }

    fn read(&self, status: ExitStatus, said: String) -> Ending {
        let ends_its_process = self.case.needs().contains(&Need::OwnProcess);
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        match code {
            Some(code::PASSED) if !ends_its_process => Ending::Passed,
            Some(code::SKIPPED) => {
                Ending::Skipped(said.lines().last().unwrap_or_default().to_owned())
            }
            Some(code::FAILED) => Ending::Failed(said),
            _ if ends_its_process && said.contains(LAST_WORDS) => Ending::Passed,
            _ => self.failed(format!("its process ended, {status}"), &said),
        }
    }

    fn failed(&self, seen: String, said: &str) -> Ending {
        let failure = Failure::of(self.case, seen);
        Ending::Failed(match said {
            "" => failure.to_string(),
            said => format!("{failure}\n  it said:\n{said}"),
        })
    }
}

/// Ends this process by `end`, as a case that needs [`Need::OwnProcess`] does.
#[cfg(feature = "remote")]
pub(super) fn die(end: impl FnOnce()) -> ! {
    println!("{LAST_WORDS}");
    end();
    panic!("the process goes on after its end");
}
