//! Many kills at random moments: every item is accounted for, and nothing hangs.

use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taskfarm_core::{ErrorPolicy, ProcessEnd, SameBinaryExt, TaskError, TaskErrorKind};
use taskfarm_process::{ProcessPool, StartMethod};

use crate::Case;
use crate::scratch::Scratch;
use crate::support::{children, eventually, num_descriptors, pool, signal};

pub(crate) const CASES: &[Case] = &[
    (
        "storm::kills_at_random_moments_lose_at_most_one_item_each",
        |method| {
            storm(method, 60, 20_000);
        },
    ),
    // The whole storm, with `--ignored` (or `--include-ignored`).
    ("storm::full_1000_kills_over_200000_items", |method| {
        storm(method, 1000, 200_000)
    }),
    (
        "storm::no_item_starts_twice_whenever_workers_are_killed",
        |method| no_item_starts_twice(method, 150),
    ),
    (
        "storm::full_no_item_starts_twice_under_1000_kills",
        |method| no_item_starts_twice(method, 1000),
    ),
    (
        "storm::pools_opened_and_closed_leave_everything_flat",
        |method| flat(method, 30),
    ),
    ("storm::full_500_pools_opened_and_closed", |method| {
        flat(method, 500)
    }),
];

/// About 20 microseconds, or 200 without optimisation.
fn spin(n: u64) -> u64 {
    let mut state = n | 1;
    for _ in 0..5000 {
        state = std::hint::black_box(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
        );
    }
    std::hint::black_box(state);
    n * 2
}

/// Kills that many workers at random moments, then sets `over`. The items of a storm go on
/// until then, so no storm is over before all its kills are dealt.
fn deal_kills(pool: &ProcessPool, num_kills: u64, over: &AtomicBool) {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut kills = 0;
    while kills < num_kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 4000));
        let workers = pool.workers();
        if !workers.is_empty() {
            signal(workers[random as usize % workers.len()].pid, libc::SIGKILL);
            kills += 1;
        }
    }
    over.store(true, Ordering::Relaxed);
}

/// Whether the item had no other end than the one that it may have here.
fn is_lost<R>(outcome: &Result<R, TaskError>) -> bool {
    match outcome {
        Ok(_) => false,
        Err(error) => match error.kind() {
            TaskErrorKind::WorkerLost(how) => {
                assert_eq!(how.ended, ProcessEnd::Signaled(libc::SIGKILL));
                true
            }
            _ => panic!("{error}"),
        },
    }
}

fn storm(method: StartMethod, num_kills: u64, num_items: u64) {
    let pool = pool(method, 2);
    let over = AtomicBool::new(false);
    let outcomes = std::thread::scope(|scope| {
        scope.spawn(|| deal_kills(&pool, num_kills, &over));
        let items = (0..).take_while(|n| *n < num_items || !over.load(Ordering::Relaxed));
        let map = pool.map(items, spin).on_error(ErrorPolicy::Collect);
        map.outcomes().unwrap()
    });
    assert!(outcomes.len() as u64 >= num_items);
    let lost = outcomes.iter().filter(|outcome| is_lost(outcome)).count();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(result) => assert_eq!(result, 2 * n as u64),
            Err(error) => assert_eq!(error.index(), n),
        }
    }
    assert!(lost as u64 <= num_kills, "{lost} lost by {num_kills} kills");
    assert_eq!(pool.stats().lost, lost as u64);
    println!("{num_kills} kills, {lost} items lost, {:?}", pool.stats());
}

/// Each item begins by writing its number to a file that all workers share, so a second
/// start shows, whatever was reported: items with a result have started once, and the others
/// once or, if their worker was killed on the way to them, never.
fn no_item_starts_twice(method: StartMethod, num_kills: u64) {
    let scratch = Scratch::new();
    let path = scratch.file("started");
    let pool = pool(method, 2);
    let over = AtomicBool::new(false);
    let outcomes = std::thread::scope(|scope| {
        scope.spawn(|| deal_kills(&pool, num_kills, &over));
        let items = (0..).take_while(|_| !over.load(Ordering::Relaxed));
        let map = pool
            .context(path.clone())
            .init(|path| {
                let file = File::options().append(true).create(true).open(path);
                file.unwrap()
            })
            .map(items, |file, n: u32| {
                // One call of the system, which a kill does not cut.
                file.write_all(&n.to_ne_bytes()).unwrap();
                spin(n.into()) as u32
            });
        map.on_error(ErrorPolicy::Collect).outcomes().unwrap()
    });
    let mut starts = vec![0; outcomes.len()];
    for number in std::fs::read(&path).unwrap().chunks(4) {
        starts[u32::from_ne_bytes(number.try_into().unwrap()) as usize] += 1;
    }
    let mut lost = 0;
    for (n, (outcome, starts)) in outcomes.iter().zip(starts).enumerate() {
        if is_lost(outcome) {
            assert!(
                starts <= 1,
                "item {n} was lost and has started {starts} times"
            );
            lost += 1;
        } else {
            assert_eq!(starts, 1, "starts of item {n}");
        }
    }
    assert!(lost <= num_kills);
    println!("{} items, {num_kills} kills, {lost} lost", outcomes.len());
}

/// What a process may use more and more of.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usage {
    descriptors: usize,
    lanes: usize,
    children: usize,
    threads: usize,
}

impl Usage {
    fn now() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let lanes = maps.lines().filter(|line| line.contains("memfd:taskfarm"));
        Self {
            descriptors: num_descriptors(),
            lanes: lanes.count(),
            children: children().len(),
            threads: std::fs::read_dir("/proc/self/task").unwrap().count(),
        }
    }
}

/// The memory that this process has, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// After each pool everything is as it was before the first one, and from the tenth on
/// memory no longer grows. (2 MiB of slack: with 500 pools, 4 KiB each would show.)
fn flat(method: StartMethod, num_pools: usize) {
    const SLACK: u64 = 2 << 10;
    let before = Usage::now();
    assert_eq!((before.lanes, before.children, before.threads), (0, 0, 1));
    let mut memory_then = 0;
    for nth in 0..num_pools {
        let pool = pool(method, 2);
        let results: Vec<u32> = pool.map(0..10, |n: u32| n).collect().unwrap();
        assert_eq!(results.len(), 10);
        drop(pool);
        // A thread that was joined is still listed for a moment.
        eventually("one thread is left", || {
            (Usage::now().threads == 1).then_some(())
        });
        assert_eq!(Usage::now(), before, "after {nth} pools");
        if nth < 10 {
            memory_then = memory();
        }
        assert!(
            memory() < memory_then + SLACK,
            "{memory_then} KiB have become {} after {nth} pools",
            memory()
        );
    }
    println!("{memory_then} KiB have become {}", memory());
}
