//! The kit is tested too: executors that break one rule each, which it must catch, under
//! that rule, in time, and with a message that says what was seen.
//!
//! An executor cannot run a job twice on its own threads: `Job::run` takes the job by value,
//! and a job cannot be cloned. (A doc test of the kit's guide shows that it does not
//! compile.) For the same reason it cannot run one that it has refused. Nor can it swallow a
//! panic: `Job::run` lets none out. One whose jobs travel can do the first and the last. One
//! that runs jobs in a random order is not broken: order is made by core. One that mixes up
//! the outcomes of a job is.

mod faulty;

use std::time::{Duration, Instant};

use taskfarm_core::conformance::{Failure, Reach, Rule, Subject, Verdict, cases, run, run_case};
use taskfarm_core::{ErrorPolicy, InProcess, InProcessExt, SameBinary};

use faulty::{Fault, Faulty, Runs};

const DEADLINE: Duration = Duration::from_secs(3);

/// What the kit says of a case that does not end.
const HUNG: &str = "it hung: nothing within 3s";

/// How long the kit looks for leaks after a case, and something for slow machines.
const MORE: Duration = Duration::from_secs(20);

fn subject<R: Runs + Reach>(fault: Fault) -> Subject<R> {
    Subject::new(move |num_workers| Faulty::<R>::new(fault, num_workers)).deadline(DEADLINE)
}

/// The first failure among the cases of a rule, and how long that case took.
fn first_failure<R: Runs + Reach>(fault: Fault, rule: Rule) -> Option<(Failure, Duration)> {
    let subject = subject::<R>(fault);
    let of_rule = cases().iter().filter(|case| case.rule == rule);
    of_rule
        .map(|case| (Instant::now(), run_case(&subject, case)))
        .find_map(|(started, verdict)| match verdict {
            Verdict::Failed(failure) => Some((failure, started.elapsed())),
            Verdict::Passed | Verdict::Skipped(_) => None,
        })
}

/// The kit must catch the fault under the rule, and say this of it.
#[track_caller]
fn check(fault: Fault, rule: Rule, seen: &str) {
    check_with_reach::<InProcess>(fault, rule, seen);
}

#[track_caller]
fn check_with_reach<R: Runs + Reach>(fault: Fault, rule: Rule, seen: &str) {
    let failure = first_failure::<R>(fault, rule);
    let (failure, took) = failure.unwrap_or_else(|| panic!("{rule} did not catch {fault:?}"));
    println!("{fault:?} after {took:?}:\n{failure}");
    assert_eq!(failure.rule, rule);
    assert!(failure.seen.contains(seen), "not the reason: {failure}");
    assert!(
        took < DEADLINE + MORE,
        "{fault:?} was caught after {took:?}"
    );
    let message = failure.to_string();
    assert!(
        message.contains(rule.id()) && message.contains(rule.text()),
        "{message}"
    );
}

#[track_caller]
fn check_passes<R: Runs + Reach>(fault: Fault) {
    let report = run(&subject::<R>(fault).deadline(Duration::from_secs(20)), "");
    let failures: Vec<String> = report.failures().map(Failure::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// That the checks below can fail: nothing is wrong with this one.
#[test]
#[should_panic = "SHUT-1 did not catch None"]
fn an_honest_pool_is_not_caught() {
    check(Fault::None, Rule::Shut1, "");
}

#[test]
fn the_pool_without_a_fault_passes() {
    check_passes::<InProcess>(Fault::None);
}

#[test]
fn the_pool_without_a_fault_passes_with_jobs_that_travel() {
    check_passes::<SameBinary>(Fault::None);
}

#[test]
fn the_order_in_which_jobs_run_is_free() {
    check_passes::<InProcess>(Fault::RandomOrder);
}

#[test]
fn dropped_jobs_break_once_1() {
    check(
        Fault::DropsJobs,
        Rule::Once1,
        "was dropped by the executor without running",
    );
}

#[test]
fn forgotten_jobs_break_once_1() {
    check(Fault::ForgetsJobs, Rule::Once1, HUNG);
}

#[test]
fn jobs_refused_without_reason_break_once_1() {
    check(
        Fault::RefusesNowAndThen,
        Rule::Once1,
        "was refused by the executor",
    );
}

#[test]
fn waiting_in_spawn_for_the_job_breaks_nest_1() {
    check(
        Fault::WaitsForTheJob,
        Rule::Nest1,
        "not returned from `spawn`",
    );
}

#[test]
fn running_other_jobs_on_a_worker_in_spawn_breaks_nest_1() {
    check(
        Fault::RunsOthersMeanwhile,
        Rule::Nest1,
        "not returned from `spawn`",
    );
}

#[test]
fn blocking_in_spawn_breaks_par_1() {
    check(
        Fault::BlocksWhenFull,
        Rule::Par1,
        "not returned from `spawn`",
    );
}

#[test]
fn never_coming_back_from_spawn_breaks_par_1() {
    check(
        Fault::BlocksForEver,
        Rule::Par1,
        "not returned from `spawn`",
    );
}

#[test]
fn running_jobs_on_the_caller_breaks_par_1() {
    check(
        Fault::RunsOnCaller,
        Rule::Par1,
        "a task ran on the caller's thread",
    );
}

#[test]
fn more_workers_than_declared_break_par_1() {
    check(
        Fault::TooManyWorkers,
        Rule::Par1,
        "4 jobs ran at once; `parallelism` says 2",
    );
}

#[test]
fn fewer_workers_than_declared_break_par_1() {
    check(Fault::TooFewWorkers, Rule::Par1, HUNG);
}

#[test]
fn leaving_a_worker_idle_while_jobs_wait_breaks_par_1() {
    check(Fault::DealsJobsOut, Rule::Par1, HUNG);
}

#[test]
fn a_shared_identity_breaks_par_1() {
    check(
        Fault::SharesIdentity,
        Rule::Par1,
        "two executors with one identity",
    );
}

#[test]
fn zero_workers_that_are_accepted_break_zero_1() {
    check(
        Fault::AcceptsZeroWorkers,
        Rule::Zero1,
        "a pool with zero workers was built",
    );
}

#[test]
fn ignoring_a_shutdown_breaks_shut_1() {
    check(
        Fault::IgnoresShutdown,
        Rule::Shut1,
        "a task ran after the shutdown",
    );
}

#[test]
fn refusing_in_silence_breaks_shut_1() {
    check(
        Fault::RefusesSilently,
        Rule::Shut1,
        "`spawn` must hand the job back",
    );
}

#[test]
fn running_cancelled_jobs_breaks_shut_1() {
    check(Fault::RunsAfterShutdown, Rule::Shut1, HUNG);
}

#[test]
fn losing_jobs_on_shutdown_breaks_shut_1() {
    check(Fault::LosesJobsOnShutdown, Rule::Shut1, HUNG);
}

#[test]
fn waiting_in_shutdown_breaks_shut_1() {
    check(
        Fault::WaitsInShutdown,
        Rule::Shut1,
        "not returned from `shutdown`",
    );
}

#[test]
fn keeping_an_abort_secret_breaks_shut_1() {
    check(Fault::IgnoresAbort, Rule::Shut1, HUNG);
}

#[test]
fn losing_jobs_on_drop_breaks_drop_1() {
    check(Fault::LosesJobsOnDrop, Rule::Drop1, HUNG);
}

#[test]
fn never_coming_back_from_drop_breaks_drop_1() {
    // Even where the kit only asks a pool what it can do.
    check(Fault::HangsInDrop, Rule::Drop1, HUNG);
}

#[test]
fn joining_itself_breaks_drop_1() {
    check(Fault::JoinsItself, Rule::Drop1, "failed to join thread");
}

#[test]
#[cfg(target_os = "linux")]
fn a_leaked_thread_breaks_drop_1() {
    check(Fault::LeaksThread, Rule::Drop1, "left behind: thread");
}

#[test]
#[cfg(target_os = "linux")]
fn a_leaked_descriptor_breaks_drop_1() {
    check(
        Fault::LeaksDescriptor,
        Rule::Drop1,
        "left behind: descriptor",
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_leaked_child_breaks_drop_1() {
    check(Fault::LeaksChild, Rule::Drop1, "left behind: child process");
}

#[test]
fn a_pool_that_is_poisoned_by_a_panic_breaks_pan_1() {
    check(
        Fault::PoisonedByPanic,
        Rule::Pan1,
        "was refused by the executor",
    );
}

#[test]
fn a_pool_whose_workers_die_of_panics_breaks_pan_1() {
    check(Fault::WorkerDiesOfPanic, Rule::Pan1, HUNG);
}

#[test]
fn jobs_that_run_twice_break_once_1() {
    check_with_reach::<SameBinary>(Fault::RunsTwice, Rule::Once1, "started twice");
}

#[test]
fn mixed_outcomes_break_ord_1() {
    check_with_reach::<SameBinary>(Fault::MixesOutcomes, Rule::Ord1, "left");
}

#[test]
fn swallowed_panics_break_pan_1() {
    check_with_reach::<SameBinary>(
        Fault::SwallowsPanics,
        Rule::Pan1,
        "was dropped by the executor",
    );
}

/// Whatever an executor loses, maps on it end, and never pass for complete when they are not.
#[test]
fn maps_on_pools_that_lose_jobs_end_and_say_so() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for fault in [Fault::DropsJobs, Fault::RefusesNowAndThen] {
            for num_workers in [1, 2, 5] {
                for _ in 0..20 {
                    let pool = Faulty::<InProcess>::new(fault, num_workers).unwrap();
                    lose_jobs(&pool);
                }
            }
        }
        sender.send(()).unwrap();
    });
    let minute = Duration::from_secs(60);
    assert!(receiver.recv_timeout(minute).is_ok(), "a map hung or lied");
}

fn lose_jobs(pool: &Faulty) {
    let vector: Vec<u64> = (0..500).collect();
    if let Ok(results) = pool.map(vector, |n| n).collect::<Vec<_>>() {
        assert_eq!(results.len(), 500);
    }
    if let Ok(results) = pool
        .map((0..500).filter(|_| true), |n| n)
        .collect::<Vec<u64>>()
    {
        assert_eq!(results.len(), 500);
    }
    let outcomes: Vec<_> = pool
        .map(0..500, |n| n)
        .in_flight(8)
        .ordered()
        .unwrap()
        .collect();
    let is_broken = outcomes.last().is_none_or(Result::is_err);
    assert!(is_broken || outcomes.len() == 500, "cut without a word");
    let report = pool
        .map(0..500, drop::<u64>)
        .on_error(ErrorPolicy::Collect)
        .run();
    assert!(report.is_err() || report.unwrap().tally().total() == 500);
    pool.scope(|s| {
        let handles: Vec<_> = (0..20).map(|n| s.submit(n, |n| n)).collect();
        for (n, handle) in handles.into_iter().enumerate() {
            if let Ok(value) = handle.join() {
                assert_eq!(value, n);
            }
        }
    });
}
