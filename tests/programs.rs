//! Random programs of submits, maps, cancels, panics, nested calls and shutdowns: every
//! executor gives the outcomes that [`InlineExecutor`] gives, up to what the contract leaves
//! open (the order of completion, and which of several failures a fail-fast map reports).

use std::fmt::Display;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use taskfarm::{
    CancelOutcome, CancellationToken, ErrorPolicy, Executor, InProcess, InProcessExt,
    InlineExecutor, Map, RayonPool, Shutdown, TaskError, TaskErrorKind, ThreadPool, Work,
};

type Pool = Arc<dyn Executor<Reach = InProcess>>;

/// What a task or an item does.
#[derive(Clone, Debug)]
enum Act {
    Return(i64),
    Fail(i64),
    Panic(i64),
    /// Runs a map inside, and returns what it gave.
    Map(Box<MapStep>),
    /// Submits tasks inside, and joins them.
    Submit(Vec<Act>),
}

#[derive(Clone, Debug)]
struct MapStep {
    acts: Vec<Act>,
    is_lazy: bool,
    ending: Ending,
    policy: ErrorPolicy,
    chunk_size: Option<usize>,
    in_flight: Option<usize>,
    retries: u32,
    is_cancelled: bool,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Collect,
    Outcomes,
    ForEach,
    Run,
    Ordered,
    AsCompleted,
    /// Reads some results in order, and leaves.
    Leave(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Submit(Act),
    /// Cancels the task at once: the answer must be true, whatever it is.
    Cancel(Act),
    /// Submits tasks in a scope.
    Scope(Vec<Act>),
    Map(MapStep),
}

#[derive(Clone, Debug)]
struct Program {
    steps: Vec<Step>,
    shutdown: Option<Shutdown>,
    /// What is tried after the shutdown.
    after: Vec<Step>,
}

/// What a step gave, without what the contract leaves open.
type Seen = String;

fn act(pool: &Pool, act: &Act) -> Result<String, String> {
    match act {
        Act::Return(n) => Ok(n.to_string()),
        Act::Fail(n) => Err(format!("no {n}")),
        Act::Panic(n) => panic!("oh {n}"),
        Act::Map(step) => Ok(run_map(pool, step)),
        Act::Submit(acts) => Ok(run_tasks(pool, acts)),
    }
}

fn submit(pool: &Pool, what: &Act) -> taskfarm::Handle<'static, String, String> {
    let (inner, what) = (pool.clone(), what.clone());
    pool.try_submit((), move |()| act(&inner, &what))
}

fn run_tasks(pool: &Pool, acts: &[Act]) -> Seen {
    let handles: Vec<_> = acts.iter().map(|what| submit(pool, what)).collect();
    let seen: Vec<Seen> = handles.into_iter().map(|it| say(it.join())).collect();
    seen.join(",")
}

/// An outcome without the place of a panic.
fn say<E: Display>(outcome: Result<String, TaskError<E>>) -> Seen {
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

fn run_map(pool: &Pool, step: &MapStep) -> Seen {
    let inner = pool.clone();
    let acts = step.acts.clone();
    if step.is_lazy {
        let items = acts.into_iter().filter(|_| true);
        end_map(step, pool.try_map(items, move |what| act(&inner, &what)))
    } else {
        end_map(step, pool.try_map(acts, move |what| act(&inner, &what)))
    }
}

fn end_map<It, W>(step: &MapStep, map: Map<'_, Pool, It, W>) -> Seen
where
    It: IntoIterator<Item = Act, IntoIter: Send> + 'static,
    W: Work<Act, Out = String, Error = String, State: Send> + 'static,
{
    let mut map = map.on_error(step.policy).retries(step.retries);
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
    let ends_early = step.policy == ErrorPolicy::FailFast;
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
        Step::Scope(acts) => pool.scope(|s| {
            let submit = |what| s.try_submit(what, |what| act(pool, what));
            let handles: Vec<_> = acts.iter().map(submit).collect();
            handles.into_iter().map(|it| say(it.join())).collect()
        }),
        Step::Map(step) => run_map(pool, step),
    }
}

fn run(pool: &Pool, program: &Program) -> Vec<Seen> {
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

fn any_act() -> impl Strategy<Value = Act> {
    let leaf = prop_oneof![
        12 => (0..100_i64).prop_map(Act::Return),
        1 => (0..100_i64).prop_map(Act::Fail),
        1 => (0..100_i64).prop_map(Act::Panic),
    ];
    leaf.prop_recursive(2, 24, 6, |inner| {
        prop_oneof![
            any_map(inner.clone(), 6).prop_map(|step| Act::Map(Box::new(step))),
            prop::collection::vec(inner, 0..4).prop_map(Act::Submit),
        ]
    })
}

fn any_map(acts: impl Strategy<Value = Act>, most: usize) -> impl Strategy<Value = MapStep> {
    let ending = prop_oneof![
        Just(Ending::Collect),
        Just(Ending::Outcomes),
        Just(Ending::ForEach),
        Just(Ending::Run),
        Just(Ending::Ordered),
        Just(Ending::AsCompleted),
        (0..20_usize).prop_map(Ending::Leave),
    ];
    let policy = prop_oneof![
        Just(ErrorPolicy::FailFast),
        Just(ErrorPolicy::Collect),
        Just(ErrorPolicy::Skip),
    ];
    let size = || prop::option::of(prop_oneof![1..4_usize, Just(1000), Just(usize::MAX)]);
    (
        prop::collection::vec(acts, 0..most),
        any::<bool>(),
        ending,
        policy,
        size(),
        size(),
        prop_oneof![3 => Just(0_u32), 1 => 1..3_u32],
        prop::bool::weighted(0.05),
    )
        .prop_map(
            |(acts, is_lazy, ending, policy, chunk_size, in_flight, retries, is_cancelled)| {
                MapStep {
                    acts,
                    is_lazy,
                    ending,
                    policy,
                    chunk_size,
                    in_flight,
                    retries,
                    is_cancelled,
                }
            },
        )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any_act().prop_map(Step::Submit),
        1 => any_act().prop_map(Step::Cancel),
        1 => prop::collection::vec(any_act(), 0..6).prop_map(Step::Scope),
        4 => any_map(any_act(), 40).prop_map(Step::Map),
    ]
}

fn any_program() -> impl Strategy<Value = Program> {
    let shutdown = prop_oneof![
        Just(Shutdown::Drain),
        Just(Shutdown::CancelQueued),
        Just(Shutdown::Abort),
    ];
    (
        prop::collection::vec(any_step(), 1..6),
        prop::option::of(shutdown),
        prop::collection::vec(any_step(), 0..3),
    )
        .prop_map(|(steps, shutdown, after)| Program {
            steps,
            shutdown,
            after,
        })
}

/// Runs random programs on `make()` and on the reference.
fn check(make: impl Fn() -> Pool) {
    // Thousands of panics would only be noise.
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_ours = info.payload().downcast_ref::<String>();
            if !is_ours.is_some_and(|text| text.starts_with("oh ")) {
                next(info);
            }
        }));
    });
    let config = Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&any_program(), |program| {
        let reference: Pool = Arc::new(InlineExecutor::new());
        let wanted = run(&reference, &program);
        let seen = run(&make(), &program);
        prop_assert_eq!(seen, wanted);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn one_thread_gives_what_the_caller_alone_gives() {
    check(|| Arc::new(ThreadPool::new(1).expect("a pool")));
}

#[test]
fn three_threads_give_what_the_caller_alone_gives() {
    check(|| Arc::new(ThreadPool::new(3).expect("a pool")));
}

#[test]
fn rayon_gives_what_the_caller_alone_gives() {
    check(|| Arc::new(RayonPool::new(2).expect("a pool")));
}
