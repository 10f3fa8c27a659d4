//! OBS-1: observers.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{CHUNK_SIZES, Ext as _, Subject, dislike_7, identity, unwrap};
use crate::{CancellationToken, ErrorPolicy, Observer, Progress, Report};

/// Writes down what it hears.
#[derive(Default)]
struct Diary {
    started: Mutex<Vec<Arc<Progress>>>,
    failures: Mutex<Vec<usize>>,
    finished: Mutex<Vec<Report>>,
}

impl Observer for Diary {
    fn on_start(&self, progress: &Arc<Progress>) {
        self.started.lock().push(progress.clone());
    }

    fn on_failure(&self, index: usize, message: &str) {
        assert!(message.contains(&format!("item {index} ")), "{message}");
        self.failures.lock().push(index);
    }

    fn on_finish(&self, report: &Report) {
        self.finished.lock().push(*report);
    }
}

impl Diary {
    /// The one report, of a map that had one beginning and one end.
    fn report(&self, what: &str) -> Report {
        assert_eq!(self.started.lock().len(), 1, "beginnings of {what}");
        let finished = self.finished.lock();
        assert_eq!(finished.len(), 1, "ends of {what}");
        let tally = self.started.lock()[0].tally();
        assert_eq!(
            tally,
            finished[0].tally(),
            "the tally after the end of {what}"
        );
        finished[0]
    }
}

pub(in crate::conformance) fn the_beginning_and_the_end_are_told_once(subject: &Subject) {
    let pool = subject.pool();
    let map = |diary: &Arc<Diary>| pool.map(0..500, identity).observe(diary.clone());
    let told = |what: &str, run: &dyn Fn(&Arc<Diary>)| {
        let diary = Arc::<Diary>::default();
        run(&diary);
        let tally = diary.report(what).tally();
        assert_eq!((tally.ok, tally.total()), (500, 500), "{what}");
    };
    told("collect", &|it| drop(unwrap(map(it).collect::<Vec<_>>())));
    told("outcomes", &|it| drop(unwrap(map(it).outcomes())));
    told("ordered", &|it| {
        assert_eq!(unwrap(map(it).ordered()).count(), 500)
    });
    told("as_completed", &|it| {
        assert_eq!(unwrap(map(it).as_completed()).count(), 500)
    });
    told("for_each", &|it| assert!(map(it).for_each(drop).is_ok()));
    told("run", &|it| assert!(map(it).run().is_ok()));
    told("collect of a vector", &|it| {
        let items: Vec<u64> = (0..500).collect();
        let map = pool.map(items, identity).observe(it.clone());
        assert_eq!(unwrap(map.collect::<Vec<_>>()).len(), 500);
    });
}

pub(in crate::conformance) fn every_failure_is_told_once(subject: &Subject) {
    let pool = subject.pool();
    for size in CHUNK_SIZES {
        let diary = Arc::<Diary>::default();
        let map = pool.try_map(0..100, dislike_7).chunk_size(size);
        let map = map.on_error(ErrorPolicy::Collect).observe(diary.clone());
        assert_eq!(unwrap(map.outcomes()).len(), 100);
        let mut at = diary.failures.lock().clone();
        at.sort_unstable();
        let wanted: Vec<usize> = (0..10).map(|n| n * 10 + 7).collect();
        assert_eq!(at, wanted, "failures told, in chunks of {size}");
        let tally = diary.report("outcomes").tally();
        assert_eq!((tally.ok, tally.failed), (90, 10));
    }
}

pub(in crate::conformance) fn the_sum_is_the_total_under_every_policy(subject: &Subject) {
    let pool = subject.pool();
    for policy in [
        ErrorPolicy::FailFast,
        ErrorPolicy::Collect,
        ErrorPolicy::Skip,
        ErrorPolicy::StopAfter(3),
        ErrorPolicy::StopAbove(5.0),
    ] {
        let diary = Arc::<Diary>::default();
        let map = pool.try_map(0..700, dislike_7).on_error(policy);
        let _ = map.observe(diary.clone()).collect::<Vec<_>>();
        let tally = diary.report("collect").tally();
        assert_eq!(tally.total(), 700, "{policy:?}: {tally:?}");
        let diary = Arc::<Diary>::default();
        let map = pool.try_map(0..700, dislike_7).on_error(policy);
        let _ = unwrap(map.observe(diary.clone()).ordered()).count();
        let tally = diary.report("ordered").tally();
        assert_eq!(tally.total(), 700, "{policy:?}, ordered: {tally:?}");
    }
}

pub(in crate::conformance) fn the_sum_is_the_total_of_a_vector_that_fails(subject: &Subject) {
    let pool = subject.pool();
    let diary = Arc::<Diary>::default();
    let items: Vec<u64> = (0..700).collect();
    let map = pool.try_map(items, dislike_7).observe(diary.clone());
    assert!(map.collect::<Vec<_>>().is_err());
    let tally = diary.report("collect").tally();
    assert_eq!(tally.total(), 700, "{tally:?}");
    assert!(tally.failed >= 1 && diary.failures.lock().len() as u64 == tally.failed);
}

pub(in crate::conformance) fn the_end_is_told_when_an_iterator_is_left(subject: &Subject) {
    let pool = subject.pool();
    let diary = Arc::<Diary>::default();
    let map = pool.map(0.., identity).observe(diary.clone());
    assert_eq!(unwrap(map.ordered()).take(10).count(), 10);
    let tally = diary.report("an iterator that was left").tally();
    assert!(tally.ok >= 10, "{tally:?}");
}

pub(in crate::conformance) fn finish_gives_the_report_of_the_observer(subject: &Subject) {
    let pool = subject.pool();
    let diary = Arc::<Diary>::default();
    let map = pool.map(0..1000, identity).observe(diary.clone());
    let mut map = unwrap(map.ordered());
    assert_eq!(map.by_ref().take(10).count(), 10);
    let report = map.finish();
    assert_eq!(report, diary.report("a finished iterator"));
    assert_eq!(report.tally().total(), 1000, "{report:?}");
}

pub(in crate::conformance) fn the_end_is_told_when_the_map_is_cancelled(subject: &Subject) {
    let pool = subject.pool();
    let diary = Arc::<Diary>::default();
    let token = CancellationToken::new();
    token.cancel();
    let map = pool.map(0..100, identity).cancel_token(&token);
    assert!(map.observe(diary.clone()).run().is_err());
    let tally = diary.report("a cancelled map").tally();
    assert_eq!((tally.ok, tally.cancelled), (0, 100), "{tally:?}");
}

pub(in crate::conformance) fn totals_are_told_where_they_are_known(subject: &Subject) {
    let pool = subject.pool();
    let diary = Arc::<Diary>::default();
    unwrap(pool.map(0..50, identity).observe(diary.clone()).run());
    assert_eq!(diary.started.lock()[0].total(), Some(50));
    let diary = Arc::<Diary>::default();
    let input = (0..50).filter(|_| true);
    unwrap(pool.map(input, identity).observe(diary.clone()).run());
    assert_eq!(diary.started.lock()[0].total(), None);
    assert_eq!(diary.report("run").tally().ok, 50);
}

struct Hysteric;

impl Observer for Hysteric {
    fn on_start(&self, _: &Arc<Progress>) {
        panic!("a beginning!");
    }

    fn on_failure(&self, _: usize, _: &str) {
        panic!("a failure!");
    }

    fn on_finish(&self, _: &Report) {
        panic!("an end!");
    }
}

pub(in crate::conformance) fn a_panicking_observer_harms_nothing(subject: &Subject) {
    let pool = subject.pool();
    let diary = Arc::<Diary>::default();
    let map = pool.try_map(0..100, dislike_7).on_error(ErrorPolicy::Skip);
    let map = map.observe(Hysteric).observe(diary.clone());
    assert_eq!(unwrap(map.collect::<Vec<_>>()).len(), 90);
    assert_eq!(diary.report("collect").tally().total(), 100);
    let items: Vec<u64> = (0..100).collect();
    let map = pool.try_map(items, dislike_7).observe(Hysteric);
    assert!(map.collect::<Vec<_>>().is_err());
}

pub(in crate::conformance) fn every_observer_is_told(subject: &Subject) {
    let pool = subject.pool();
    let diaries = [Arc::<Diary>::default(), Arc::<Diary>::default()];
    let map = pool.try_map(0..10, dislike_7);
    let map = map.observe(diaries[0].clone()).observe(diaries[1].clone());
    assert!(map.run().is_err());
    for diary in &diaries {
        assert_eq!(*diary.failures.lock(), [7]);
        assert_eq!(diary.report("run").tally().total(), 10);
    }
}

pub(in crate::conformance) fn retries_are_counted_beside_the_total(subject: &Subject) {
    let pool = subject.pool();
    let map = pool.try_map(0..20, dislike_7).on_error(ErrorPolicy::Skip);
    let tally = unwrap(map.retries(3).run()).tally();
    assert_eq!((tally.ok, tally.failed, tally.retried), (18, 2, 6));
}
