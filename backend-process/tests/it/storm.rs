//! Many kills at random moments: every item is accounted for, and nothing hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taskfarm_core::{ErrorPolicy, ProcessEnd, SameBinaryExt, TaskErrorKind};
use taskfarm_process::StartMethod;

use crate::Case;
use crate::support::{num_descriptors, pool, signal};

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
        "storm::pools_opened_and_closed_leave_everything_flat",
        |method| flat(method, 30),
    ),
    ("storm::full_500_pools_opened_and_closed", |method| {
        flat(method, 500)
    }),
];

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

fn storm(method: StartMethod, num_kills: u64, num_items: u64) {
    let pool = pool(method, 2);
    let over = AtomicBool::new(false);
    let (outcomes, kills) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut random = 0x9E37_79B9_7F4A_7C15_u64;
            let mut kills = 0;
            while kills < num_kills && !over.load(Ordering::Relaxed) {
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
            kills
        });
        let map = pool.map(0..num_items, spin).on_error(ErrorPolicy::Collect);
        let outcomes = map.outcomes().unwrap();
        over.store(true, Ordering::Relaxed);
        (outcomes, killer.join().unwrap())
    });
    assert_eq!(outcomes.len() as u64, num_items);
    let mut lost = 0;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(result) => assert_eq!(result, 2 * n as u64),
            Err(error) => {
                let TaskErrorKind::WorkerLost(how) = error.kind() else {
                    panic!("{error}");
                };
                assert_eq!(how.ended, ProcessEnd::Signaled(libc::SIGKILL));
                lost += 1;
            }
        }
    }
    assert!(lost <= kills, "{lost} lost by {kills} kills");
    // A storm that was over before all kills were dealt has proved less than it says.
    assert_eq!(kills, num_kills);
    println!("{kills} kills, {lost} items lost, {:?}", pool.stats());
}

fn flat(method: StartMethod, num_pools: usize) {
    if method == StartMethod::Fork {
        // After the first pool this process is as it was: one thread.
        assert_eq!(std::fs::read_dir("/proc/self/task").unwrap().count(), 1);
    }
    let mut first = None;
    for _ in 0..num_pools {
        let pool = pool(method, 2);
        let results: Vec<u32> = pool.map(0..10, |n: u32| n).collect().unwrap();
        assert_eq!(results.len(), 10);
        drop(pool);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let lanes = maps
            .lines()
            .filter(|line| line.contains("taskfarm"))
            .count();
        let now = (num_descriptors(), lanes, crate::support::children().len());
        assert_eq!(
            now,
            *first.get_or_insert(now),
            "descriptors, lanes, children"
        );
        assert_eq!((now.1, now.2), (0, 0));
    }
}
