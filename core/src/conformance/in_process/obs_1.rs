//! OBS-1: looking at a map while it runs.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Subject;
use crate::conformance::gate::{Gate, until};
use crate::{Executor as _, InProcessExt as _, Observer, Progress};

#[derive(Default)]
struct Keep(Mutex<Option<Arc<Progress>>>);

impl Observer for Keep {
    fn on_start(&self, progress: &Arc<Progress>) {
        *self.0.lock() = Some(progress.clone());
    }
}

pub(in crate::conformance) fn finished_items_are_counted_while_others_run(subject: &Subject) {
    let pool = subject.pool_of(1);
    for chunk_size in [1, 100] {
        let gate = Gate::new();
        let pass = gate.pass();
        let kept = Arc::new(Keep::default());
        let mapper = std::thread::spawn({
            let (pool, kept) = (pool.clone(), kept.clone());
            move || {
                let map = pool.map((0..20).collect::<Vec<_>>(), |n| {
                    if n == 10 {
                        pass.wait();
                    }
                });
                let map = map.chunk_size(chunk_size).observe(kept);
                map.collect::<Vec<_>>().unwrap().len()
            }
        });
        let num_ok = || kept.0.lock().as_ref().map_or(0, |it| it.tally().ok);
        until(|| num_ok() == 10);
        gate.open();
        assert_eq!(mapper.join().unwrap(), 20);
        assert_eq!(num_ok(), 20);
    }
}

pub(in crate::conformance) fn items_that_were_left_behind_are_counted_once(subject: &Subject) {
    let pool = subject.pool();
    let num = pool.parallelism().get() as u64;
    let gate = Gate::new();
    let pass = gate.pass();
    let kept = Arc::new(Keep::default());
    let map = pool.map(0..num, move |_| pass.wait()).observe(kept.clone());
    let map = map.timeout(std::time::Duration::from_millis(50));
    let _ = map.outcomes().unwrap();
    gate.open();
    drop(pool);
    let tally = kept.0.lock().as_ref().unwrap().tally();
    assert_eq!((tally.ok, tally.total()), (0, num), "{tally:?}");
}
