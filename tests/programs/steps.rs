//! Running a program; compiled once for each reach.

use std::fmt::Display;

use taskfarm::{CancelOutcome, CancellationToken, Executor as _, Map, TaskError, TaskErrorKind};

use super::{Pool, Runs, run_map, run_scope, submit};
use crate::program::{Act, Ending, MapStep, Policy, Program, Step};

/// What a step gave, without what the contract leaves open.
pub(crate) type Seen = String;

pub(super) fn run_tasks(pool: &Pool, acts: &[Act]) -> Seen {
    let handles: Vec<_> = acts.iter().map(|what| submit(pool, what)).collect();
    let seen: Vec<Seen> = handles.into_iter().map(|it| say(it.join())).collect();
    seen.join(",")
}

/// An outcome without the place of a panic.
pub(super) fn say<E: Display>(outcome: Result<String, TaskError<E>>) -> Seen {
    match outcome {
        Ok(value) => format!("({value})"),
        Err(error) => match error.kind() {
            TaskErrorKind::Failed(it) => format!("{}!{it}#{}", error.index(), error.attempt()),
            TaskErrorKind::Panicked(it) => {
                format!("{}!{}#{}", error.index(), it.message(), error.attempt())
            }
            TaskErrorKind::Cancelled(_) | TaskErrorKind::Refused => "not run".to_owned(),
            other => format!("unexpected: {other}"),
        },
    }
}

pub(super) fn end_map<It, W>(step: &MapStep, map: Map<'_, Pool, It, W>) -> Seen
where
    It: IntoIterator<Item = Act, IntoIter: Send> + 'static,
    W: Runs,
{
    let mut map = map.on_error(step.policy.into()).retries(step.retries);
    if let Some(size) = step.chunk_size {
        map = map.chunk_size(size);
    }
    if let Some(bound) = step.in_flight {
        map = map.in_flight(bound);
    }
    let token = CancellationToken::new();
    if step.is_cancelled {
        token.cancel();
    }
    let map = map.cancel_token(&token);
    let ends_early = matches!(step.policy, Policy::FailFast);
    match step.ending {
        Ending::Collect => match map.collect::<Vec<String>>() {
            Ok(values) => values.join(","),
            Err(error) => failures(error.into_failures(), ends_early),
        },
        Ending::Outcomes => {
            let outcomes = map.outcomes().expect("the options are in order");
            match ends_early && outcomes.iter().any(Result::is_err) {
                // Of an unknown number of items, those that nobody pulled are missing.
                true if step.is_lazy => "outcomes, failed".to_owned(),
                true => format!("{} outcomes, failed", outcomes.len()),
                false => outcomes.into_iter().map(say).collect(),
            }
        }
        Ending::ForEach => {
            let mut seen = Vec::new();
            match map.for_each(|value| seen.push(value)) {
                Ok(report) => format!("{} {:?}", seen.join(","), counts(report)),
                Err(error) => failures(error.into_failures(), ends_early),
            }
        }
        Ending::Run => match map.run() {
            Ok(report) => format!("{:?}", counts(report)),
            Err(error) => failures(error.into_failures(), ends_early),
        },
        Ending::Ordered => {
            let map = map.ordered().expect("the options are in order");
            sequence(map.collect(), ends_early)
        }
        Ending::AsCompleted => {
            let map = map.as_completed().expect("the options are in order");
            let mut outcomes: Vec<_> = map.collect();
            outcomes.sort_by_key(|(index, _)| *index);
            sequence(outcomes.into_iter().map(|(_, it)| it).collect(), ends_early)
        }
        Ending::Leave(num) => {
            let map = map.ordered().expect("the options are in order");
            let outcomes: Vec<_> = map.take(num).collect();
            // A failure of a later item may be known already.
            match ends_early {
                true => "left".to_owned(),
                false => sequence(outcomes, ends_early),
            }
        }
    }
}

fn counts(report: taskfarm::Report) -> (u64, u64, u64) {
    let tally = report.tally();
    (tally.ok, tally.failures(), tally.total())
}

/// Which failure a fail-fast map reports depends on which were known.
fn failures(failures: Vec<TaskError<String>>, ends_early: bool) -> Seen {
    assert!(!failures.is_empty());
    if ends_early {
        assert_eq!(failures.len(), 1, "a fail-fast map reports one failure");
        return "failed".to_owned();
    }
    failures.into_iter().map(|error| say(Err(error))).collect()
}

fn sequence(outcomes: Vec<Result<String, TaskError<String>>>, ends_early: bool) -> Seen {
    if ends_early && outcomes.iter().any(Result::is_err) {
        let at = outcomes.iter().position(Result::is_err);
        let is_last = at == Some(outcomes.len() - 1);
        // In order of completion the failure was sorted in among the others.
        let num_failures = outcomes.iter().filter(|it| it.is_err()).count();
        assert!(is_last || num_failures == 1, "more than one failure");
        return "failed".to_owned();
    }
    outcomes.into_iter().map(say).collect()
}

fn run_step(pool: &Pool, step: &Step) -> Seen {
    match step {
        Step::Submit(what) => say(submit(pool, what).join()),
        Step::Cancel(what) => {
            let handle = submit(pool, what);
            let answer = handle.cancel();
            let seen = say(handle.join());
            let is_true = match answer {
                CancelOutcome::NotStarted => seen == "not run",
                // What runs may look at its token, and so may the maps inside.
                _ => true,
            };
            assert!(is_true, "{answer:?}, but {seen}");
            "cancelled".to_owned()
        }
        Step::Scope(acts) => run_scope(pool, acts),
        Step::Map(step) => run_map(pool, step),
    }
}

pub(crate) fn run(pool: &Pool, program: &Program) -> Vec<Seen> {
    let mut seen: Vec<Seen> = program.steps.iter().map(|it| run_step(pool, it)).collect();
    if let Some(how) = program.shutdown {
        pool.shutdown(how);
        for step in &program.after {
            let after = match step {
                Step::Map(_) | Step::Scope(_) => {
                    // Empty ones are complete without any worker.
                    drop(run_step(pool, step));
                    continue;
                }
                step => run_step(pool, step),
            };
            seen.push(after);
        }
    }
    seen
}
