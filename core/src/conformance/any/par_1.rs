//! PAR-1: the number of workers.

use super::{Pool, Subject};

pub(in crate::conformance) fn parallelism_is_what_was_asked_for(subject: &Subject) {
    for wanted in [1, 2, 3, 5] {
        let seen = subject.pool_of(wanted).parallelism().get();
        assert_eq!(seen, wanted, "`parallelism` of a pool of {wanted}");
    }
}

pub(in crate::conformance) fn every_executor_has_an_identity_of_its_own(subject: &Subject) {
    let (one, other): (Pool, Pool) = (subject.pool(), subject.pool());
    assert_eq!(one.id(), one.id(), "one executor with two identities");
    assert_ne!(
        one.id(),
        other.id(),
        "two executors with one identity: each must make its own with `ExecutorId::new`"
    );
}
