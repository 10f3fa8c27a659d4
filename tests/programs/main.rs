//! Random programs of submits, maps, cancels, panics, nested calls and shutdowns: every
//! executor gives the outcomes that [`InlineExecutor`] gives, up to what the contract leaves
//! open (the order of completion, and which of several failures a fail-fast map reports).
//!
//! The programs are the same in every run. `TASKFARM_PROGRAMS_SEED=N` gives others, and
//! `TASKFARM_PROGRAMS=N` more or fewer of them.

#[expect(clippy::duplicate_mod, reason = "both run the same steps")]
mod here;
mod program;
#[expect(clippy::duplicate_mod, reason = "both run the same steps")]
mod there;

use std::str::FromStr;
use std::sync::{Arc, Once};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use taskfarm::{InlineExecutor, ProcessPool, RayonPool, ThreadPool};

use program::{Program, any_program};

/// Runs random programs by `run` and on the reference.
fn check(run: impl Fn(&Program) -> Vec<String>) {
    be_quiet();
    let seed = setting("TASKFARM_PROGRAMS_SEED", 1_u64);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases: setting("TASKFARM_PROGRAMS", 150),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&any_program(), |program| {
        let reference: here::Pool = Arc::new(InlineExecutor::new());
        let wanted = here::run(&reference, &program);
        let seen = run(&program);
        match seen == wanted {
            true => Ok(()),
            false => Err(TestCaseError::fail(format!("{seen:?}, not {wanted:?}"))),
        }
    });
    outcome.unwrap_or_else(|error| panic!("TASKFARM_PROGRAMS_SEED={seed}: {error}"));
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| match text.parse() {
        Ok(number) => number,
        Err(_) => panic!("{name} is {text:?}: set it to a number"),
    })
}

/// Thousands of panics would only be noise.
fn be_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_ours = info.payload().downcast_ref::<String>();
            if !is_ours.is_some_and(|text| text.starts_with("oh ")) {
                next(info);
            }
        }));
    });
}

fn check_here(make: impl Fn() -> here::Pool) {
    check(|program| here::run(&make(), program));
}

fn check_there(make: impl Fn() -> there::Pool) {
    check(|program| there::run(&make(), program));
}

#[test]
fn one_thread_gives_what_the_caller_alone_gives() {
    check_here(|| Arc::new(ThreadPool::new(1).expect("a pool")));
}

#[test]
fn three_threads_give_what_the_caller_alone_gives() {
    check_here(|| Arc::new(ThreadPool::new(3).expect("a pool")));
}

#[test]
fn rayon_gives_what_the_caller_alone_gives() {
    check_here(|| Arc::new(RayonPool::new(2).expect("a pool")));
}

#[test]
fn one_process_gives_what_the_caller_alone_gives() {
    check_there(|| Arc::new(ProcessPool::new(1).expect("a pool")));
}

#[test]
fn three_processes_give_what_the_caller_alone_gives() {
    check_there(|| Arc::new(ProcessPool::new(3).expect("a pool")));
}

/// That the comparison can fail: an executor whose pool is always shut down.
#[test]
#[should_panic = "TASKFARM_PROGRAMS_SEED="]
fn an_executor_that_refuses_everything_is_caught() {
    check_here(|| {
        let pool = Arc::new(ThreadPool::new(1).expect("a pool"));
        taskfarm::Executor::shutdown(&*pool, taskfarm::Shutdown::Drain);
        pool
    });
}
