//! [`Scope`](crate::Scope): see "Why borrowed data is safe" in `scope.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Seen, Threads, panic_quietly};
use crate::InProcessExt;

/// A scope ends after its last task, joined or not, and the owner has what was borrowed.
#[test]
fn loom_scope_exit_against_the_last_job() {
    loom::model(|| {
        let pool = Threads::new(1);
        let number = Seen::new(0);
        pool.scope(|s| {
            drop(s.submit(&number, |number| number.set(1)));
        });
        assert_eq!(number.get(), 1);
        number.set(2);
    });
}

/// The same for a task that another task submits while the scope wants to end.
#[test]
fn loom_scope_exit_against_a_nested_job() {
    loom::model(|| {
        let pool = Threads::new(2);
        let number = Seen::new(0);
        pool.scope(|s| {
            drop(s.submit(&number, |number| {
                drop(s.submit(number, |number| number.set(1)));
            }));
        });
        assert_eq!(number.get(), 1);
        number.set(2);
    });
}

/// A body that unwinds leaves no task behind: it ran, or never will.
#[test]
fn loom_a_scope_that_unwinds_leaves_nobody_behind() {
    loom::model(|| {
        let pool = Threads::new(1);
        let number = Seen::new(0);
        let body = || {
            pool.scope(|s| {
                drop(s.submit(&number, |number| number.set(1)));
                panic_quietly()
            })
        };
        let caught = catch_unwind(AssertUnwindSafe(body));
        assert!(caught.is_err());
        number.set(2);
    });
}

/// The same for a task that another task submits while the body unwinds.
#[test]
fn loom_a_nested_job_against_a_body_that_unwinds() {
    loom::model(|| {
        let pool = Threads::new(2);
        let number = Seen::new(0);
        let body = || {
            pool.scope(|s| {
                drop(s.submit(&number, |number| {
                    drop(s.submit(number, |number| number.set(1)));
                }));
                panic_quietly()
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(body)).is_err());
        number.set(2);
    });
}
