//! The same maps on every backend give the same results.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use taskfarm::prelude::*;
use taskfarm::{Tally, as_completed, wait};

type Dyn = dyn Executor<Reach = InProcess>;

/// Runs `job` on each backend with one, two and five workers, and compares with serial.
fn same_everywhere<T: PartialEq + Debug>(job: impl Fn(&Dyn) -> T) {
    let serial = Backend::Serial.build(None).unwrap();
    let expected = job(&*serial);
    for backend in Backend::available().filter(|backend| *backend != Backend::Process) {
        for num_workers in [1, 2, 5] {
            let executor = backend.build(Some(num_workers)).unwrap();
            assert_eq!(
                job(&*executor),
                expected,
                "{backend}, {num_workers} workers"
            );
        }
    }
}

fn is_prime(n: u32) -> bool {
    n > 1
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

fn small(n: u32) -> Result<u32, String> {
    if is_prime(n) {
        Err(format!("{n} is prime"))
    } else {
        Ok(n)
    }
}

#[test]
fn collected_results() {
    let text: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    same_everywhere(|executor| {
        let lengths = executor.map(&text, |text| text.len()).collect::<Vec<_>>();
        lengths.unwrap()
    });
}

#[test]
fn collected_results_for_every_chunk_size() {
    for chunk_size in [1, 7, 5000] {
        same_everywhere(|executor| {
            let map = executor.map((0..1000).collect::<Vec<u32>>(), is_prime);
            map.chunk_size(chunk_size).collect::<Vec<_>>().unwrap()
        });
    }
}

#[test]
fn streams_of_unknown_length() {
    same_everywhere(|executor| {
        let items = (0..3000_u32).filter(|n| n % 3 == 0);
        let stream = executor.map(items, |n| n * 2).in_flight(20).ordered();
        stream.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    });
}

#[test]
fn results_as_completed() {
    same_everywhere(|executor| {
        let results = executor.map(0..500_u32, |n| n * n).as_completed().unwrap();
        let by_index = results.map(|(index, result)| (index, result.unwrap()));
        by_index.collect::<BTreeMap<_, _>>()
    });
}

#[test]
fn outcomes_under_each_policy_that_runs_everything() {
    for policy in [ErrorPolicy::Collect, ErrorPolicy::Skip] {
        same_everywhere(|executor| {
            let outcomes = executor.try_map(0..300, small).on_error(policy).outcomes();
            let texts = outcomes.unwrap().into_iter();
            texts
                .map(|outcome| outcome.map_err(|error| error.to_string()))
                .collect::<Vec<_>>()
        });
    }
}

#[test]
fn skipped_failures() {
    same_everywhere(|executor| {
        let map = executor.try_map(0..300, small).on_error(ErrorPolicy::Skip);
        map.collect::<Vec<_>>().unwrap()
    });
}

#[test]
fn the_only_failure_of_a_fail_fast_map() {
    same_everywhere(|executor| {
        let map = executor.map(0..300, |n| assert_ne!(n, 211, "the item is bad"));
        let error = map.run().unwrap_err();
        (error.first().unwrap().index(), error.to_string())
    });
}

#[test]
fn tallies() {
    same_everywhere(|executor| -> Tally {
        let map = executor.try_map((0..300).collect::<Vec<_>>(), small);
        map.on_error(ErrorPolicy::Collect)
            .retries(1)
            .run()
            .unwrap()
            .tally()
    });
}

#[test]
fn worker_state() {
    same_everywhere(|executor| {
        let map = executor.init(String::new).map(0..300, |buffer, n: u32| {
            buffer.clear();
            buffer.push_str(&n.to_string());
            buffer.len()
        });
        map.collect::<Vec<_>>().unwrap()
    });
}

#[test]
fn handles_of_different_executors_can_be_waited_for_together() {
    let executors: Vec<_> = Backend::available()
        .filter(|backend| *backend != Backend::Process)
        .map(|backend| backend.build(Some(1)).unwrap())
        .collect();
    let submit = || {
        let each = executors.iter().enumerate();
        each.map(|(nth, executor)| executor.submit(nth, |n| n * 10))
            .collect::<Vec<_>>()
    };
    let handles = submit();
    let done = wait(&handles, When::All, Some(Duration::from_secs(20)));
    assert!(done.into_iter().eq(0..executors.len()));
    for (position, result) in as_completed(submit()) {
        assert_eq!(result.unwrap(), position * 10);
    }
}

#[test]
fn a_map_inside_of_a_map_inside_of_a_scope() {
    same_everywhere(|executor| {
        let factor = 3;
        executor.scope(|s| {
            let handles: Vec<_> = (0..4_u32)
                .map(|row| {
                    s.submit(row, |row| {
                        let rows = executor.map(0..20_u32, |column| {
                            let cells = executor.map(0..column, |cell| cell * row * factor);
                            cells.collect::<Vec<_>>().unwrap().into_iter().sum::<u32>()
                        });
                        rows.collect::<Vec<_>>().unwrap()
                    })
                })
                .collect();
            handles
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .collect::<Vec<_>>()
        })
    });
}

#[test]
#[cfg(feature = "progress")]
fn a_bar_may_watch_on_every_backend() {
    use taskfarm::ProgressMode;
    same_everywhere(|executor| {
        let bar = ProgressBar::new("watched").mode(ProgressMode::Never);
        executor
            .map(0..100, |n| n + 1)
            .progress(bar)
            .collect::<Vec<i32>>()
            .unwrap()
    });
}

#[test]
#[cfg(feature = "process")]
fn worker_processes_give_what_threads_give() {
    for backend in Backend::available() {
        let pool = backend.build_any(Some(2)).unwrap();
        let primes: Vec<bool> = pool.map(0..2000_u32, is_prime).collect().unwrap();
        assert_eq!(
            primes.iter().filter(|prime| **prime).count(),
            303,
            "{backend}"
        );
        let outcomes = pool
            .try_map(0..100_u32, small)
            .on_error(ErrorPolicy::Collect)
            .outcomes();
        let failed = outcomes.unwrap().into_iter().filter_map(Result::err);
        assert_eq!(
            failed
                .map(|error| error.index())
                .filter(|n| is_prime(*n as u32))
                .count(),
            25,
            "{backend}"
        );
        let scaled: Vec<u32> = pool
            .context(3_u32)
            .map(0..5_u32, |k, n| k * n)
            .collect()
            .unwrap();
        assert_eq!(scaled, [0, 3, 6, 9, 12], "{backend}");
        let first: Vec<u64> = pool
            .map(0_u64.., |n| n + 1)
            .ordered()
            .unwrap()
            .take(50)
            .map(Result::unwrap)
            .collect();
        assert_eq!(first[49], 50, "{backend}");
        assert_eq!(
            pool.submit(20_u32, |n| n + 1).join().unwrap(),
            21,
            "{backend}"
        );
    }
}
