//! TIME-1: time limits.

use std::time::Duration;

use super::{Ext as _, Subject, identity, unwrap};
use crate::{SetupErrorKind, TimeLimits};

const LONG: Duration = Duration::from_secs(3600);

pub(in crate::conformance) fn a_limit_that_cannot_be_kept_is_refused(subject: &Subject) {
    let pool = subject.pool();
    let is_unable = pool.capabilities().time_limits() == TimeLimits::None;
    let limited = pool.map(0..10, identity).timeout(LONG).outcomes();
    match limited {
        Ok(outcomes) => assert!(!is_unable, "it ran {} items without limits", outcomes.len()),
        Err(error) => {
            assert!(is_unable, "{error}");
            assert_eq!(error.kind(), SetupErrorKind::Unsupported);
        }
    }
}

pub(in crate::conformance) fn a_limit_that_nobody_exceeds_changes_nothing(subject: &Subject) {
    let pool = subject.pool();
    let wanted: Vec<u64> = (0..300).collect();
    for limit in [LONG, Duration::MAX] {
        let map = || {
            let map = pool.map(0..300, identity);
            map.timeout(limit).deadline(limit).grace(limit)
        };
        assert_eq!(unwrap(map().collect::<Vec<_>>()), wanted, "collect");
        let ordered: Vec<u64> = unwrap(map().ordered()).map(unwrap).collect();
        assert_eq!(ordered, wanted, "ordered");
        assert_eq!(unwrap(map().as_completed()).count(), 300, "as_completed");
        assert_eq!(unwrap(map().run()).tally().ok, 300, "run");
    }
}

pub(in crate::conformance) fn a_deadline_ends_an_endless_map(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.map(0.., identity).deadline(Duration::from_millis(50));
    let last = unwrap(map.ordered()).last().expect("the map has ended");
    let error = last.expect_err("a map that was cut says so");
    assert!(error.is_cancelled() || error.is_timeout(), "{error}");
}
