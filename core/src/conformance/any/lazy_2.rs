//! LAZY-2: who enters the input, and what happens when it panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Ext as _, Subject, failures, identity, unwrap};
use crate::{ErrorPolicy, TaskErrorKind};

/// Notices when two threads are inside.
struct Guarded {
    left: u64,
    is_entered: AtomicBool,
    was_disturbed: Arc<AtomicBool>,
}

impl Iterator for Guarded {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.is_entered.swap(true, Ordering::SeqCst) {
            self.was_disturbed.store(true, Ordering::SeqCst);
        }
        std::thread::yield_now();
        self.is_entered.store(false, Ordering::SeqCst);
        self.left = self.left.checked_sub(1)?;
        Some(self.left)
    }
}

pub(in crate::conformance) fn the_input_is_entered_by_one_thread_at_a_time(subject: &Subject) {
    let pool = subject.pool();
    let was_disturbed = Arc::new(AtomicBool::new(false));
    let input = Guarded {
        left: 2000,
        is_entered: AtomicBool::new(false),
        was_disturbed: was_disturbed.clone(),
    };
    let num = unwrap(pool.map(input, identity).as_completed()).count();
    assert_eq!(num, 2000);
    assert!(
        !was_disturbed.load(Ordering::SeqCst),
        "two threads were inside"
    );
}

/// Ten items, and then a panic.
fn broken_input() -> impl Iterator<Item = u64> + Send + 'static {
    (0..).inspect(|n| assert!(*n < 10, "the input broke"))
}

pub(in crate::conformance) fn a_panic_in_the_input_reaches_every_kind_of_caller(subject: &Subject) {
    let pool = subject.pool();
    for policy in [
        ErrorPolicy::FailFast,
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
        ErrorPolicy::StopAfter(5),
    ] {
        let seen = failures(|| pool.map(broken_input(), identity).on_error(policy));
        for (ending, failure) in seen {
            let failure = failure.unwrap_or_default();
            assert!(
                failure.contains("item 10") && failure.contains("the input broke"),
                "`{ending}` under {policy:?} reported {failure:?}"
            );
        }
    }
}

pub(in crate::conformance) fn items_before_a_panic_in_the_input_are_delivered(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .map(broken_input(), identity)
        .on_error(ErrorPolicy::Collect);
    let mut outcomes: Vec<_> = unwrap(map.ordered()).collect();
    let last = outcomes.pop().expect("the panic is reported");
    assert!(matches!(
        last.unwrap_err().kind(),
        TaskErrorKind::InputPanicked(_)
    ));
    let results: Vec<u64> = outcomes.into_iter().map(unwrap).collect();
    assert_eq!(results, (0..10).collect::<Vec<u64>>());
}

pub(in crate::conformance) fn outcomes_end_with_the_panic_of_the_input(subject: &Subject) {
    let pool = subject.pool();
    let map = pool
        .map(broken_input(), identity)
        .on_error(ErrorPolicy::Collect);
    let outcomes = unwrap(map.outcomes());
    assert_eq!(outcomes.len(), 11, "{outcomes:?}");
    let last = outcomes[10].as_ref().unwrap_err();
    assert!(
        matches!(last.kind(), TaskErrorKind::InputPanicked(_)),
        "{last}"
    );
    assert!(outcomes[..10].iter().all(Result::is_ok), "{outcomes:?}");
}

pub(in crate::conformance) fn the_pool_survives_a_panic_in_the_input(subject: &Subject) {
    let pool = subject.pool();
    for _ in 0..20 {
        let _ = pool.map(broken_input(), identity).run();
    }
    let results: Vec<u64> = unwrap(pool.map(0..100, identity).collect());
    assert_eq!(results.len(), 100);
}

/// Gives more items after it has said that there are none.
struct Unfused(u64);

impl Iterator for Unfused {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 += 1;
        (self.0 != 50).then_some(self.0)
    }
}

pub(in crate::conformance) fn an_input_that_has_ended_is_not_asked_again(subject: &Subject) {
    let pool = subject.pool();
    let results: Vec<u64> = unwrap(pool.map(Unfused(0), identity).collect());
    assert_eq!(results, (1..50).collect::<Vec<u64>>());
    let num = unwrap(pool.map(Unfused(0), identity).ordered()).count();
    assert_eq!(num, 49);
}

/// A hundred items whose number nobody should believe.
struct Liar(std::ops::Range<u64>, (usize, Option<usize>));

impl Iterator for Liar {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.1
    }
}

pub(in crate::conformance) fn a_wrong_size_hint_loses_nothing_in_silence(subject: &Subject) {
    let pool = subject.pool();
    for hint in [
        (0, Some(0)),
        (3, Some(3)),
        (500, Some(500)),
        (usize::MAX, None),
        (0, None),
    ] {
        match pool.map(Liar(0..100, hint), identity).collect::<Vec<_>>() {
            Ok(results) => assert_eq!(results.len(), 100, "collect with a hint of {hint:?}"),
            Err(error) => assert!(error.to_string().contains("size_hint"), "{error}"),
        }
        let num = unwrap(pool.map(Liar(0..100, hint), identity).ordered()).count();
        assert_eq!(num, 100, "ordered with a hint of {hint:?}");
        let report = unwrap(pool.map(Liar(0..100, hint), identity).run());
        assert_eq!(report.tally().ok, 100, "run with a hint of {hint:?}");
    }
}
