//! Time limits kill, and hit exactly the item that ran too long.

use std::time::{Duration, Instant};

use taskfarm_core::{BuildError, ErrorPolicy, SameBinaryExt, TaskErrorKind};
use taskfarm_process::{ProcessPool, StartMethod};

use crate::Case;
use crate::support::{builder, eventually, is_alive, pool};

pub(crate) const CASES: &[Case] = &[
    (
        "limits::an_endless_item_times_out_and_the_rest_of_its_chunk_runs",
        an_endless_item,
    ),
    (
        "limits::a_limit_counts_from_the_start_of_the_item",
        a_limit_counts_from_the_start,
    ),
    (
        "limits::items_just_below_the_limit_all_succeed",
        items_just_below_the_limit,
    ),
    (
        "limits::an_exit_hook_that_hangs_is_killed",
        an_exit_hook_that_hangs_is_killed,
    ),
    (
        "limits::values_that_make_no_sense_are_named",
        values_that_make_no_sense_are_named,
    ),
    (
        "limits::fork_needs_a_single_thread",
        fork_needs_a_single_thread,
    ),
];

fn an_endless_item(method: StartMethod) {
    let pool = pool(method, 2);
    let started = Instant::now();
    let outcomes = pool
        .map(0..60_u32, |n| {
            if n % 20 == 7 {
                loop {
                    std::hint::spin_loop();
                }
            }
            n
        })
        .chunk_size(20)
        .timeout(Duration::from_millis(500))
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(result) => assert!(result == n as u32 && n % 20 != 7),
            Err(error) => {
                assert_eq!(n % 20, 7, "{error}");
                assert!(
                    matches!(error.kind(), TaskErrorKind::TimedOut(limit) if limit.as_millis() == 500)
                );
            }
        }
    }
    assert_eq!((pool.stats().timed_out, pool.stats().replaced), (3, 3));
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn a_limit_counts_from_the_start(method: StartMethod) {
    let pool = pool(method, 1);
    // Together far longer than the limit, and the last ones wait for all the others.
    let results: Vec<u32> = pool
        .map(0..60_u32, |n| {
            std::thread::sleep(Duration::from_millis(25));
            n
        })
        .timeout(Duration::from_millis(1000))
        .chunk_size(60)
        .collect()
        .unwrap();
    assert_eq!(results.len(), 60);
}

fn items_just_below_the_limit(method: StartMethod) {
    let pool = pool(method, 2);
    let results: Vec<u64> = pool
        .map(0..2000_u64, |n| {
            std::thread::sleep(Duration::from_micros(n % 7 * 100));
            n
        })
        .timeout(Duration::from_millis(1500))
        .collect()
        .unwrap();
    assert_eq!(results.len(), 2000);
    assert_eq!(pool.stats().replaced, 0);
}

fn an_exit_hook_that_hangs_is_killed(method: StartMethod) {
    let pool = builder(method, 1)
        .exit_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let map = pool
        .init(std::process::id)
        .on_exit(|_| std::thread::sleep(Duration::from_secs(1000)))
        .map(0..1_u32, |pid, _| *pid);
    let pid = map.collect::<Vec<u32>>().unwrap()[0];
    let started = Instant::now();
    drop(pool);
    assert!(started.elapsed() < Duration::from_secs(5));
    eventually("the worker is dead", || (!is_alive(pid)).then_some(()));
}

fn values_that_make_no_sense_are_named(_: StartMethod) {
    let options = || ProcessPool::builder().num_workers(1);
    let complaint = |result: Result<ProcessPool, BuildError>| result.unwrap_err().to_string();
    assert!(complaint(ProcessPool::new(0)).contains("num_workers"));
    assert!(complaint(options().max_tasks_per_worker(0).build()).contains("max_tasks_per_worker"));
    assert!(complaint(options().memory_limit(10).build()).contains("memory_limit"));
    assert!(complaint(options().start_timeout(Duration::ZERO).build()).contains("start_timeout"));
}

fn fork_needs_a_single_thread(_: StartMethod) {
    let (tell, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    let options = ProcessPool::builder().start(StartMethod::Fork);
    let error = options.build().unwrap_err().to_string();
    assert!(
        error.contains("thread") && error.contains("Zygote"),
        "{error}"
    );
    drop(tell);
    let _ = thread.join().unwrap();
}
