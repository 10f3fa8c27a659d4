//! Every road through the unsafe code, on a handful of items: for Miri and the sanitizers,
//! which are slow. Items and results are strings, so that one which is dropped twice, or
//! never, shows.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use taskfarm_core::{Executor, ExecutorId, InProcess, InProcessExt, InlineExecutor, Job};

/// Two threads at a time, which are joined in the end.
struct Joined {
    id: ExecutorId,
    threads: std::sync::Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Executor for Joined {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let thread = std::thread::spawn(|| job.run());
        self.threads.lock().unwrap().push(thread);
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::new(2).expect("not zero")
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        for thread in self.threads.get_mut().unwrap().drain(..) {
            thread.join().unwrap();
        }
    }
}

fn on_each(check: impl Fn(&dyn Executor<Reach = InProcess>)) {
    check(&InlineExecutor::new());
    check(&Joined {
        id: ExecutorId::new("joined"),
        threads: std::sync::Mutex::default(),
    });
}

fn texts() -> Vec<String> {
    (0..6).map(|n| format!("text {n}")).collect()
}

fn shout(text: String) -> String {
    text.to_uppercase()
}

#[test]
fn results_in_the_memory_of_the_items() {
    on_each(|pool| {
        let all: Vec<_> = pool.map(texts(), shout).chunk_size(2).collect().unwrap();
        assert_eq!(all[5], "TEXT 5");
    });
}

#[test]
fn results_in_memory_of_their_own() {
    on_each(|pool| {
        let all: Vec<_> = pool.map(texts(), |text| (text, 1_u8)).collect().unwrap();
        assert_eq!(all[5].0, "text 5");
    });
}

#[test]
fn results_of_items_from_an_iterator() {
    on_each(|pool| {
        let all: Vec<_> = pool
            .map(texts().into_iter().rev(), shout)
            .collect()
            .unwrap();
        assert_eq!(all[0], "TEXT 5");
    });
}

#[test]
fn items_and_results_without_size() {
    on_each(|pool| {
        let all: Vec<()> = pool.map(vec![(); 5], |()| ()).collect().unwrap();
        assert_eq!(all.len(), 5);
        let all: Vec<[u8; 0]> = pool.map(texts(), |_| []).collect().unwrap();
        assert_eq!(all.len(), 6);
    });
}

#[test]
fn a_failure_in_the_middle_drops_what_is_there() {
    on_each(|pool| {
        for bad in 0..6 {
            let is_bad = |text: String| match text.ends_with(&bad.to_string()) {
                true => Err(text),
                false => Ok(shout(text)),
            };
            let map = pool.try_map(texts(), is_bad).chunk_size(4);
            let error = map.collect::<Vec<_>>().unwrap_err();
            assert_eq!(error.first().unwrap().cause(), Some(&format!("text {bad}")));
            let map = pool.try_map(texts(), |text| is_bad(text).map(|text| (text, 1_u8)));
            assert!(map.collect::<Vec<_>>().is_err());
        }
    });
}

#[test]
fn a_panic_in_the_middle_drops_what_is_there() {
    on_each(|pool| {
        let map = pool.map(texts(), |text| {
            assert!(!text.ends_with('3'), "meant");
            text
        });
        assert!(map.chunk_size(4).collect::<Vec<_>>().is_err());
    });
}

#[test]
fn a_stream_that_is_dropped_early() {
    on_each(|pool| {
        let numbers = (0..).map(|n: i32| n.to_string());
        let results = pool.map(numbers, shout).in_flight(3).ordered().unwrap();
        let all: Vec<_> = results.take(5).map(Result::unwrap).collect();
        assert_eq!(all, ["0", "1", "2", "3", "4"]);
    });
}

#[test]
fn tasks_that_borrow_and_submit_more() {
    on_each(|pool| {
        let texts = texts();
        let len = AtomicUsize::new(0);
        let first = pool.scope(|s| {
            for text in &texts {
                drop(s.submit(text, |text| {
                    len.fetch_add(text.len(), Ordering::Relaxed);
                    drop(s.submit(text, |text| len.fetch_add(text.len(), Ordering::Relaxed)));
                    text.clone()
                }));
            }
            s.submit(&texts[0], |text| text.clone()).join().unwrap()
        });
        assert_eq!(first, texts[0]);
        assert_eq!(
            len.into_inner(),
            2 * texts.iter().map(String::len).sum::<usize>()
        );
    });
}

/// Sets its flag when it is dropped.
struct SetsOnDrop<'a>(&'a AtomicBool);

impl Drop for SetsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// The scope itself is among what its tasks borrow, and its body's panic must not end it
/// before they do.
#[test]
fn a_task_uses_its_scope_after_the_body_panicked() {
    let pool = Joined {
        id: ExecutorId::new("joined"),
        threads: std::sync::Mutex::default(),
    };
    let texts = texts();
    let (has_started, has_panicked) = (AtomicBool::new(false), AtomicBool::new(false));
    let used = AtomicUsize::new(0);
    let body = || {
        pool.scope(|s| {
            let _unwinds = SetsOnDrop(&has_panicked);
            drop(s.submit(&texts, |texts| {
                has_started.store(true, Ordering::Release);
                wait_for(&has_panicked);
                for text in texts {
                    drop(s.submit(text, |text| used.fetch_add(text.len(), Ordering::Relaxed)));
                    used.fetch_add(text.len(), Ordering::Relaxed);
                    std::thread::yield_now();
                }
            }));
            wait_for(&has_started);
            resume_unwind(Box::new("meant"));
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(body)).is_err());
    // What the task submitted ran only while the scope was not closed yet.
    let len: usize = texts.iter().map(String::len).sum();
    let used = used.into_inner();
    assert!((len..=2 * len).contains(&used), "{used}");
}

#[test]
fn handles_that_are_joined_cancelled_or_dropped() {
    on_each(|pool| {
        let handles = texts().into_iter().map(|text| pool.submit(text, shout));
        for (n, handle) in handles.enumerate() {
            match n % 3 {
                0 => assert_eq!(handle.join().unwrap(), format!("TEXT {n}")),
                1 => drop(handle),
                _ => {
                    let _ = handle.cancel();
                }
            }
        }
    });
}

#[test]
fn maps_inside_maps() {
    on_each(|pool| {
        let outer = pool.map(0..3, |n| {
            let inner = pool.map(texts(), |text| text + &n.to_string());
            inner.collect::<Vec<_>>().unwrap().concat()
        });
        let all: Vec<_> = outer.collect().unwrap();
        assert!(all[2].ends_with("text 52"));
    });
}
