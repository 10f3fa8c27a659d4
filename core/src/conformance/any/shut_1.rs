//! SHUT-1: shutting down.

use super::{Ext as _, Subject, failures, identity, unwrap};
use crate::{ErrorPolicy, Executor as _, Shutdown, TaskErrorKind};

const EVERY: [Shutdown; 3] = [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Abort];

pub(in crate::conformance) fn a_task_is_refused_after_a_shutdown(subject: &Subject) {
    for how in EVERY {
        let pool = subject.pool();
        assert_eq!(unwrap(pool.submit(1, identity).join()), 1);
        pool.shutdown(how);
        let outcome = pool.submit(1, identity).join();
        let error = outcome.expect_err("a task ran after the shutdown");
        assert!(
            matches!(error.kind(), TaskErrorKind::Refused),
            "after {how:?}: {error}; `spawn` must hand the job back"
        );
    }
}

pub(in crate::conformance) fn every_map_is_refused_after_a_shutdown(subject: &Subject) {
    for how in [Shutdown::Drain, Shutdown::CancelQueued] {
        let pool = subject.pool();
        pool.shutdown(how);
        for (ending, failure) in failures(|| pool.map(0..50, identity)) {
            let failure = failure.unwrap_or_default();
            assert!(
                failure.contains("refused by the executor"),
                "`{ending}` after {how:?} reported {failure:?}"
            );
        }
        let items: Vec<u64> = (0..50).collect();
        let results = pool.map(items, identity).collect::<Vec<_>>();
        let error = results.expect_err("a map ran after the shutdown");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

pub(in crate::conformance) fn a_refused_map_is_an_error_under_every_policy(subject: &Subject) {
    let pool = subject.pool();
    pool.shutdown(Shutdown::Drain);
    for policy in [
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
        ErrorPolicy::StopAfter(9),
    ] {
        for (ending, failure) in failures(|| pool.map(0..50, identity).on_error(policy)) {
            let failure = failure.unwrap_or_default();
            assert!(
                failure.contains("refused by the executor"),
                "`{ending}` under {policy:?} reported {failure:?}"
            );
        }
    }
}

pub(in crate::conformance) fn a_map_ends_after_an_abort(subject: &Subject) {
    let pool = subject.pool();
    pool.shutdown(Shutdown::Abort);
    for (ending, failure) in failures(|| pool.map(0..50, identity)) {
        assert!(failure.is_some(), "`{ending}` passed for complete");
    }
}

pub(in crate::conformance) fn a_pool_can_be_shut_down_twice(subject: &Subject) {
    for first in EVERY {
        for second in EVERY {
            let pool = subject.pool();
            let handles: Vec<_> = (0..20).map(|n| pool.submit(n, identity)).collect();
            pool.shutdown(first);
            pool.shutdown(second);
            handles.into_iter().for_each(|handle| drop(handle.join()));
        }
    }
}

pub(in crate::conformance) fn an_idle_pool_can_be_shut_down(subject: &Subject) {
    for how in EVERY {
        let pool = subject.pool();
        pool.shutdown(how);
        drop(pool);
    }
}

pub(in crate::conformance) fn a_drain_runs_what_was_accepted(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..300).map(|n| pool.submit(n, identity)).collect();
    pool.shutdown(Shutdown::Drain);
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(unwrap(handle.join()), n);
    }
}

pub(in crate::conformance) fn every_handle_resolves_after_a_shutdown(subject: &Subject) {
    for how in EVERY {
        let pool = subject.pool();
        let handles: Vec<_> = (0..300).map(|n| pool.submit(n, identity)).collect();
        pool.shutdown(how);
        for (n, handle) in (0..).zip(handles) {
            match handle.join() {
                Ok(value) => assert_eq!(value, n),
                Err(error) => assert!(error.is_cancelled(), "after {how:?}: {error}"),
            }
        }
    }
}

pub(in crate::conformance) fn submits_race_with_a_shutdown(subject: &Subject) {
    for how in EVERY {
        let pool = subject.pool();
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let pool = pool.clone();
                std::thread::spawn(move || {
                    let submit = |n| pool.submit(n, identity);
                    (0..300).map(submit).collect::<Vec<_>>()
                })
            })
            .collect();
        pool.shutdown(how);
        for submitter in submitters {
            let handles = submitter.join().expect("submitting does not panic");
            for (n, handle) in (0..).zip(handles) {
                match handle.join() {
                    Ok(value) => assert_eq!(value, n),
                    Err(error) => assert!(
                        error.is_cancelled() || matches!(error.kind(), TaskErrorKind::Refused),
                        "after {how:?}: {error}"
                    ),
                }
            }
        }
    }
}
