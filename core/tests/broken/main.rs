//! The kit is tested too: executors that break one rule each, which it must catch, under
//! that rule and in time.
//!
//! An executor that runs a job twice cannot be written: `Job::run` takes the job by value,
//! and a job cannot be cloned. (A doc test of the kit's guide shows that it does not
//! compile.) One that reorders jobs is not broken: order is made by core.

mod faulty;

use std::time::{Duration, Instant};

use taskfarm_core::conformance::{Failure, Rule, Subject, Verdict, cases, run, run_case};
use taskfarm_core::{ErrorPolicy, InProcess, InProcessExt};

use faulty::{Fault, Faulty};

const DEADLINE: Duration = Duration::from_secs(3);

fn subject(fault: Fault) -> Subject<InProcess> {
    Subject::new(move |num_workers| Faulty::new(fault, num_workers))
}

/// The first failure among the cases of a rule.
fn first_failure(fault: Fault, rule: Rule) -> Option<Failure> {
    let subject = subject(fault).deadline(DEADLINE);
    let of_rule = cases().iter().filter(|case| case.rule == rule);
    of_rule
        .map(|case| run_case(&subject, case))
        .find_map(|verdict| match verdict {
            Verdict::Failed(failure) => Some(failure),
            Verdict::Passed | Verdict::Skipped(_) => None,
        })
}

#[track_caller]
fn check(fault: Fault, rule: Rule) {
    let started = Instant::now();
    let failure = first_failure(fault, rule);
    let failure = failure.unwrap_or_else(|| panic!("{fault:?} was not caught by {rule}"));
    println!("{fault:?} after {:?}:\n{failure}", started.elapsed());
    assert_eq!(failure.rule, rule);
    let message = failure.to_string();
    assert!(
        message.contains(rule.id()) && message.contains(rule.text()),
        "{message}"
    );
}

#[track_caller]
fn check_passes(fault: Fault) {
    let report = run(&subject(fault), "");
    let failures: Vec<String> = report.failures().map(Failure::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_pool_without_a_fault_passes() {
    check_passes(Fault::None);
}

#[test]
fn the_order_in_which_jobs_run_is_free() {
    check_passes(Fault::RandomOrder);
}

#[test]
fn dropped_jobs_break_once_1() {
    check(Fault::DropsJobs, Rule::Once1);
}

#[test]
fn forgotten_jobs_break_once_1() {
    check(Fault::ForgetsJobs, Rule::Once1);
}

#[test]
fn jobs_refused_without_reason_break_once_1() {
    check(Fault::RefusesNowAndThen, Rule::Once1);
}

#[test]
fn waiting_in_spawn_for_the_job_breaks_nest_1() {
    check(Fault::WaitsForTheJob, Rule::Nest1);
}

#[test]
fn running_other_jobs_on_a_worker_in_spawn_breaks_nest_1() {
    check(Fault::RunsOthersMeanwhile, Rule::Nest1);
}

#[test]
fn blocking_in_spawn_breaks_par_1() {
    check(Fault::BlocksWhenFull, Rule::Par1);
}

#[test]
fn running_jobs_on_the_caller_breaks_par_1() {
    check(Fault::RunsOnCaller, Rule::Par1);
}

#[test]
fn more_workers_than_declared_break_par_1() {
    check(Fault::TooManyWorkers, Rule::Par1);
}

#[test]
fn fewer_workers_than_declared_break_par_1() {
    check(Fault::TooFewWorkers, Rule::Par1);
}

#[test]
fn a_shared_identity_breaks_par_1() {
    check(Fault::SharesIdentity, Rule::Par1);
}

#[test]
fn zero_workers_that_are_accepted_break_zero_1() {
    check(Fault::AcceptsZeroWorkers, Rule::Zero1);
}

#[test]
fn ignoring_a_shutdown_breaks_shut_1() {
    check(Fault::IgnoresShutdown, Rule::Shut1);
}

#[test]
fn refusing_in_silence_breaks_shut_1() {
    check(Fault::RefusesSilently, Rule::Shut1);
}

#[test]
fn running_cancelled_jobs_breaks_shut_1() {
    check(Fault::RunsAfterShutdown, Rule::Shut1);
}

#[test]
fn losing_jobs_on_shutdown_breaks_shut_1() {
    check(Fault::LosesJobsOnShutdown, Rule::Shut1);
}

#[test]
fn waiting_in_shutdown_breaks_shut_1() {
    check(Fault::WaitsInShutdown, Rule::Shut1);
}

#[test]
fn keeping_an_abort_secret_breaks_shut_1() {
    check(Fault::IgnoresAbort, Rule::Shut1);
}

#[test]
fn losing_jobs_on_drop_breaks_drop_1() {
    check(Fault::LosesJobsOnDrop, Rule::Drop1);
}

#[test]
fn joining_itself_breaks_drop_1() {
    check(Fault::JoinsItself, Rule::Drop1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_leaked_thread_breaks_drop_1() {
    check(Fault::LeaksThread, Rule::Drop1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_leaked_descriptor_breaks_drop_1() {
    check(Fault::LeaksDescriptor, Rule::Drop1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_leaked_child_breaks_drop_1() {
    check(Fault::LeaksChild, Rule::Drop1);
}

#[test]
fn a_pool_that_is_poisoned_by_a_panic_breaks_pan_1() {
    check(Fault::PoisonedByPanic, Rule::Pan1);
}

#[test]
fn a_pool_whose_workers_die_of_panics_breaks_pan_1() {
    check(Fault::WorkerDiesOfPanic, Rule::Pan1);
}

/// Whatever an executor loses, maps on it end, and never pass for complete when they are not.
#[test]
fn maps_on_pools_that_lose_jobs_end_and_say_so() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for fault in [Fault::DropsJobs, Fault::RefusesNowAndThen] {
            for num_workers in [1, 2, 5] {
                for _ in 0..20 {
                    let pool = Faulty::new(fault, num_workers).unwrap();
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
