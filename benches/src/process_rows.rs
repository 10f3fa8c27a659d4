//! The rows for worker processes, with the goals that the project has set itself.
//!
//! procspawn gives a task to a worker when the worker has none, and holds its result back
//! until somebody joins it. Big arguments are written by the thread that spawns the task, so
//! a task that is spawned while no worker is free hangs for good once its arguments exceed
//! what a socket takes (some 200 KiB) and the results before it are not joined: two tasks of
//! 1 MiB for one worker are enough. So here no more big tasks are in flight than there are
//! workers, and small ones are joined in turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use taskfarm::prelude::*;
use taskfarm::process::{WorkerInfo, WorkerState};

use crate::bare_pipe::BarePipe;
use crate::naive_pipes::NaivePipes;
use crate::process_tasks::{
    block_or_stamp, doze, echo, now, produce, rounds_per_micro, spin, swallow, tiny,
};
use crate::{Entrant, Goal, NUM_WORKERS, Row, cpu_time};

/// The rows: a name to choose it by, and how to open its pools.
pub const ROWS: &[(&str, fn() -> Row)] = &[
    ("tiny-map", tiny_map),
    ("submits", submits),
    ("heavy-random", heavy_in_random_order),
    ("heavy-worst", heavy_in_worst_order),
    ("idle-task", idle_task),
    ("open-first", open_to_first_result),
    ("open-close", open_and_close),
    ("bytes-256k", bytes_256k),
    ("bytes-1m", bytes_1m),
    ("bytes-1m-in", bytes_1m_in),
    ("bytes-1m-out", bytes_1m_out),
    ("killed-chunk", killed_chunk),
    ("killed-worker", killed_worker),
    ("cpu-idle", cpu_of_idle_pool),
    ("cpu-waiting", cpu_of_waiting_pool),
];

/// Tasks of procspawn that are spawned before the oldest is joined. Each holds four
/// descriptors.
const PROCSPAWN_WINDOW: usize = 64;

fn ours() -> ProcessPool {
    ProcessPool::new(NUM_WORKERS).expect("a pool can be built")
}

fn naive(task: &str) -> NaivePipes {
    NaivePipes::new(NUM_WORKERS, task).expect("children can be started")
}

fn procspawn_pool() -> procspawn::Pool {
    procspawn::Pool::new(NUM_WORKERS).expect("a pool can be built")
}

/// Spawns a task for each item, joins the oldest once `window` of them are there.
fn procspawn_each<A, R>(
    pool: &procspawn::Pool,
    items: impl IntoIterator<Item = A>,
    window: usize,
    task: fn(A) -> R,
    mut then: impl FnMut(R),
) where
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let mut join = |handle: procspawn::JoinHandle<R>| then(handle.join().expect("a result"));
    let mut handles = VecDeque::with_capacity(window);
    for item in items {
        if handles.len() == window {
            handles.pop_front().into_iter().for_each(&mut join);
        }
        handles.push_back(pool.spawn(item, task));
    }
    handles.into_iter().for_each(join);
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Goal: half the naive pipes' time.
fn tiny_map() -> Row {
    const NUM_ITEMS: u64 = 1_000_000;
    /// Of several tried, what suits the rivals best.
    const CHUNK: usize = 8192;
    let nanos_per_item = |seconds: f64| seconds * 1e9 / NUM_ITEMS as f64;
    let input = || (0..NUM_ITEMS).collect::<Vec<u64>>();
    let check = |results: Vec<u64>| {
        assert_eq!(results.len() as u64, NUM_ITEMS);
        assert_eq!(results.last(), Some(&tiny(NUM_ITEMS - 1)));
    };
    let (mut naive, ours, procspawn) = (naive("tiny"), ours(), procspawn_pool());
    Row {
        what: "ordered map of 1 M tiny items",
        unit: "ns per item",
        rounds: 21,
        entrants: vec![
            Entrant::new("naive pipes, chunks of 8192", move || {
                let input = input();
                nanos_per_item(seconds(|| check(naive.map(&input, CHUNK))))
            }),
            Entrant::new("taskfarm process", move || {
                let input = input();
                nanos_per_item(seconds(|| check(ours.map(input, tiny).collect().unwrap())))
            })
            .with_goal(Goal::RatioAtMost(0.5)),
            Entrant::new("procspawn, chunks of 8192 by hand", move || {
                let input = input();
                nanos_per_item(seconds(|| {
                    let chunks = input.chunks(CHUNK).map(<[u64]>::to_vec);
                    let map = |chunk: Vec<u64>| chunk.into_iter().map(tiny).collect::<Vec<_>>();
                    let mut results = Vec::with_capacity(input.len());
                    let window = NUM_WORKERS;
                    procspawn_each(&procspawn, chunks, window, map, |part| results.extend(part));
                    check(results);
                }))
            }),
        ],
    }
}

/// Goal: over 400 k tasks a second.
fn submits() -> Row {
    const NUM_TASKS: u64 = 200_000;
    const NUM_NAIVE: u64 = 20_000;
    const NUM_PROCSPAWN: u64 = 4_000;
    let (mut naive, ours, procspawn) = (naive("tiny"), ours(), procspawn_pool());
    Row {
        what: "200 k submits with a handle each (naive: 20 k chunks of one; procspawn: 4 k)",
        unit: "tasks per second",
        rounds: 7,
        entrants: vec![
            Entrant::new("naive pipes, a chunk for each", move || {
                let input: Vec<u64> = (0..NUM_NAIVE).collect();
                NUM_NAIVE as f64 / seconds(|| naive.run::<u64, u64>(&input, 1))
            }),
            Entrant::new("taskfarm process", move || {
                NUM_TASKS as f64
                    / seconds(|| {
                        let handles: Vec<_> =
                            (0..NUM_TASKS).map(|n| ours.submit(n, tiny)).collect();
                        for (n, handle) in handles.into_iter().enumerate() {
                            assert_eq!(handle.join().unwrap(), tiny(n as u64));
                        }
                    })
            })
            .with_goal(Goal::AtLeast(400_000.0)),
            Entrant::new("procspawn", move || {
                let tasks = 0..NUM_PROCSPAWN;
                let each = || procspawn_each(&procspawn, tasks, PROCSPAWN_WINDOW, tiny, drop);
                NUM_PROCSPAWN as f64 / seconds(each)
            }),
        ],
    }
}

/// Goal: within 3 % of the ideal.
fn heavy_in_random_order() -> Row {
    let mut costs = heavy_tailed_costs();
    let mut random = Random::new();
    for n in (1..costs.len()).rev() {
        costs.swap(n, (random.next() * (n + 1) as f64) as usize);
    }
    heavy("5000 heavy-tailed CPU tasks in random order", costs)
}

/// Goal: within 3 % of the ideal.
fn heavy_in_worst_order() -> Row {
    let mut costs = heavy_tailed_costs();
    costs.sort_unstable();
    heavy("5000 heavy-tailed CPU tasks, the longest last", costs)
}

/// Each entrant's time, over the CPU time of its tasks shared evenly among the workers.
fn heavy(what: &'static str, costs: Vec<u64>) -> Row {
    let over_ideal = |run: &mut dyn FnMut() -> u64| {
        let mut nanos = 0;
        let time = seconds(|| nanos = run());
        time / (nanos as f64 / 1e9 / NUM_WORKERS as f64)
    };
    let costs = Arc::new(costs);
    let (mut naive, ours, procspawn) = (naive("spin"), ours(), procspawn_pool());
    let threads = ThreadPool::new(NUM_WORKERS).expect("a pool can be built");
    let (for_naive, for_ours, for_threads) = (costs.clone(), costs.clone(), costs.clone());
    Row {
        what,
        unit: "times the ideal (sum of the tasks' CPU times / workers)",
        rounds: 5,
        entrants: vec![
            Entrant::new("naive pipes, chunks of 50", move || {
                over_ideal(&mut || naive.map(&for_naive, 50).iter().sum())
            }),
            Entrant::new("taskfarm process", move || {
                over_ideal(&mut || {
                    let times: Vec<u64> = ours.map(for_ours.to_vec(), spin).collect().unwrap();
                    times.iter().sum()
                })
            })
            .with_goal(Goal::AtMost(1.03)),
            Entrant::new("taskfarm threads", move || {
                over_ideal(&mut || {
                    let map = threads.map(for_threads.to_vec(), spin);
                    map.collect::<Vec<u64>>().unwrap().iter().sum()
                })
            }),
            Entrant::new("procspawn, a task for each", move || {
                over_ideal(&mut || {
                    let (tasks, mut sum) = (costs.iter().copied(), 0);
                    procspawn_each(&procspawn, tasks, PROCSPAWN_WINDOW, spin, |time| {
                        sum += time
                    });
                    sum
                })
            }),
        ],
    }
}

/// Rounds of [`spin`]: from 20 µs to 8 ms, a tail of Pareto's with the exponent 1.1, half a
/// second in all. The longest is below 2 % of the sum, so that the ideal can be reached with
/// the longest last.
fn heavy_tailed_costs() -> Vec<u64> {
    let rounds_per_micro = rounds_per_micro();
    let mut random = Random::new();
    let micros = |random: &mut Random| (20.0 * random.next().powf(-1.0 / 1.1)).min(8000.0);
    let mut costs: Vec<f64> = (0..5000).map(|_| micros(&mut random)).collect();
    let scale = 500_000.0 / costs.iter().sum::<f64>();
    costs.iter_mut().for_each(|cost| *cost *= scale);
    let rounds = costs.iter().map(|cost| cost * rounds_per_micro);
    rounds.map(|rounds| rounds as u64).collect()
}

/// The same numbers in each run; xorshift.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Above zero, at most one.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// One task on a pool that has been idle for a millisecond, until its result is there.
/// Goal: within 1.5 times of a bare pipe round trip.
fn idle_task() -> Row {
    let after_rest = |work: &mut dyn FnMut()| {
        sleep(Duration::from_millis(1));
        seconds(work) * 1e6
    };
    let mut bare = BarePipe::new().expect("a child can be started");
    let (mut naive, ours, procspawn) = (naive("tiny"), ours(), procspawn_pool());
    Row {
        what: "one task on an idle pool",
        unit: "µs",
        rounds: 501,
        entrants: vec![
            Entrant::new("bare pipe round trip", move || {
                after_rest(&mut || assert_eq!(bare.round_trip().unwrap(), 7))
            }),
            Entrant::new("taskfarm process", move || {
                after_rest(&mut || assert_eq!(ours.submit(7, tiny).join().unwrap(), tiny(7)))
            })
            .with_goal(Goal::RatioAtMost(1.5)),
            Entrant::new("naive pipes", move || {
                after_rest(&mut || assert_eq!(naive.call::<u64, u64>(7), tiny(7)))
            }),
            Entrant::new("procspawn", move || {
                after_rest(&mut || assert_eq!(procspawn.spawn(7, tiny).join().unwrap(), tiny(7)))
            }),
        ],
    }
}

/// Goal: 2 ms.
fn open_to_first_result() -> Row {
    openings("open a pool, until the first result", Moment::First, 2.0)
}

/// Goal: 3 ms.
fn open_and_close() -> Row {
    openings("open a pool, run one task, close it", Moment::Closed, 3.0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    First,
    Closed,
}

fn openings(what: &'static str, until: Moment, goal: f64) -> Row {
    Row {
        what,
        unit: "ms",
        rounds: 51,
        entrants: vec![
            Entrant::new("naive pipes", move || {
                opening(until, || naive("tiny"), |pool| pool.call::<u64, u64>(7))
            }),
            Entrant::new("taskfarm process", move || {
                opening(until, ours, |pool| pool.submit(7, tiny).join().unwrap())
            })
            .with_goal(Goal::AtMost(goal)),
            Entrant::new("procspawn", move || {
                let run = |pool: &mut procspawn::Pool| pool.spawn(7, tiny).join().unwrap();
                opening(until, procspawn_pool, run)
            }),
        ],
    }
}

fn opening<P>(until: Moment, open: impl Fn() -> P, run: impl Fn(&mut P) -> u64) -> f64 {
    let start = Instant::now();
    let mut pool = open();
    assert_eq!(run(&mut pool), tiny(7));
    let first = start.elapsed();
    drop(pool);
    let time = match until {
        Moment::First => first,
        Moment::Closed => start.elapsed(),
    };
    time.as_secs_f64() * 1e3
}

const TOTAL_BYTES: usize = 128 << 20;

fn blocks(len: usize) -> Vec<ByteBuf> {
    (0..TOTAL_BYTES / len)
        .map(|n| ByteBuf::from(vec![n as u8; len]))
        .collect()
}

/// Goal: over 2.5 times the naive pipes.
fn bytes_256k() -> Row {
    let what = "256 KiB there and back";
    let goal = Goal::RatioAtLeast(2.5);
    bytes(what, goal, || blocks(256 << 10), "echo", echo)
}

/// Goal: over 8 GB/s.
fn bytes_1m() -> Row {
    let goal = Goal::AtLeast(8.0);
    bytes(
        "1 MiB there and back",
        goal,
        || blocks(1 << 20),
        "echo",
        echo,
    )
}

/// Goal: over 8 GB/s.
fn bytes_1m_in() -> Row {
    let goal = Goal::AtLeast(8.0);
    bytes(
        "1 MiB to the worker",
        goal,
        || blocks(1 << 20),
        "swallow",
        swallow,
    )
}

/// Goal: over 8 GB/s.
fn bytes_1m_out() -> Row {
    let lens = || vec![1_u64 << 20; TOTAL_BYTES >> 20];
    bytes(
        "1 MiB from the worker",
        Goal::AtLeast(8.0),
        lens,
        "produce",
        produce,
    )
}

/// Results are dropped as they come: what is measured is the way, not the memory of the
/// parent.
fn bytes<A, R>(
    what: &'static str,
    goal: Goal,
    items: fn() -> Vec<A>,
    naive_task: &str,
    task: fn(A) -> R,
) -> Row
where
    A: Serialize + DeserializeOwned + Send + Sync + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let rate = |seconds: f64| TOTAL_BYTES as f64 / seconds / 1e9;
    let (mut naive, procspawn) = (naive(naive_task), procspawn_pool());
    let (by_default, one_by_one) = (Arc::new(ours()), NUM_WORKERS);
    let same = by_default.clone();
    Row {
        what,
        unit: "GB/s, each way counted once",
        rounds: 9,
        entrants: vec![
            Entrant::new("naive pipes, a chunk for each", move || {
                let items = items();
                rate(seconds(|| naive.run::<A, R>(&items, 1)))
            }),
            Entrant::new("taskfarm process", move || {
                let items = items();
                let map = by_default.map(items, task);
                rate(seconds(|| assert!(map.for_each(drop).is_ok())))
            })
            .with_goal(goal),
            Entrant::new("taskfarm process, chunk_size(1)", move || {
                let items = items();
                let map = same.map(items, task).chunk_size(1);
                rate(seconds(|| assert!(map.for_each(drop).is_ok())))
            }),
            Entrant::new("procspawn, a task in flight for each worker", move || {
                let items = items();
                rate(seconds(|| {
                    procspawn_each(&procspawn, items, one_by_one, task, drop)
                }))
            }),
        ],
    }
}

/// All workers run the first of two items in their chunks when one is killed: until the
/// second item of its chunk runs. Goal: 2 ms.
fn killed_chunk() -> Row {
    let ours = ours();
    let procspawn = procspawn::Pool::new(1).expect("a pool can be built");
    Row {
        what: "a worker is killed, until the rest of its chunk runs again",
        unit: "ms",
        rounds: 21,
        entrants: vec![
            Entrant::new("taskfarm process", move || {
                let (killed, _, stamps) = kill_in_map(&ours, CLOSELY);
                // The other worker's second item runs later, or it had waited there.
                let first = stamps.into_iter().min().expect("the rest of both chunks");
                first.saturating_sub(killed) as f64 / 1e6
            })
            .with_goal(Goal::AtMost(2.0)),
            Entrant::new(
                "procspawn, one worker, until the next task runs",
                move || {
                    let blocked = procspawn.spawn(true, block_or_stamp);
                    let next = procspawn.spawn(false, block_or_stamp);
                    // It says which process has the task, not that the task runs.
                    let pid = wait_for(CLOSELY, || blocked.pid());
                    sleep(Duration::from_millis(10));
                    let killed = now();
                    kill(pid);
                    assert!(blocked.join().is_err());
                    next.join().unwrap().saturating_sub(killed) as f64 / 1e6
                },
            ),
        ],
    }
}

/// Until the pool has a new worker that is ready, from the kill (looked for every few
/// microseconds, which takes its share of two CPUs), and from the moment at which the pool
/// hears of the death, as it says itself. Goal for the latter: 0.3 ms.
fn killed_worker() -> Row {
    let (from_the_kill, from_the_notice) = (ours(), ours());
    Row {
        what: "a worker is killed, until its replacement is ready",
        unit: "ms",
        rounds: 21,
        entrants: vec![
            Entrant::new("taskfarm process, from the kill", move || {
                let (killed, replaced, _) = kill_in_map(&from_the_kill, CLOSELY);
                replaced.saturating_sub(killed) as f64 / 1e6
            }),
            Entrant::new("taskfarm process, the replacement itself", move || {
                let before = from_the_notice.stats();
                kill_in_map(&from_the_notice, FROM_AFAR);
                // The second of the two that died is replaced after its map has ended.
                let num_workers = |pool: &ProcessPool| {
                    let workers = pool.workers().into_iter();
                    let is_ready = |worker: &WorkerInfo| worker.state == WorkerState::Idle;
                    workers.filter(is_ready).count()
                };
                wait_for(FROM_AFAR, || {
                    (num_workers(&from_the_notice) == NUM_WORKERS).then_some(())
                });
                let after = from_the_notice.stats();
                let num_replaced = (after.replaced - before.replaced) as f64;
                (after.replacing - before.replacing).as_secs_f64() * 1e3 / num_replaced
            })
            .with_goal(Goal::AtMost(0.3)),
        ],
    }
}

/// Kills a worker of two that each run the first item of a chunk of two, and later the
/// other. It looks for the replacement after every pause. The results: when the first was killed, when its replacement was seen, and when
/// the second items ran.
fn kill_in_map(pool: &ProcessPool, pause: Duration) -> (u64, u64, Vec<u64>) {
    let run_blocked = |worker: &WorkerInfo| worker.item.is_some();
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let blocked = wait_for(pause, || {
                let workers = pool.workers();
                let all = workers.len() == NUM_WORKERS && workers.iter().all(run_blocked);
                all.then(|| [workers[0].pid, workers[1].pid])
            });
            // Until the pool has noted all this, and all its threads sleep.
            sleep(Duration::from_millis(5));
            let killed = now();
            kill(blocked[0]);
            let is_new = |worker: &WorkerInfo| !blocked.contains(&worker.pid);
            let is_ready =
                |worker: &WorkerInfo| matches!(worker.state, WorkerState::Idle | WorkerState::Busy);
            let replaced = wait_for(pause, || {
                let mut workers = pool.workers().into_iter();
                let is_there = workers.any(|worker| is_new(&worker) && is_ready(&worker));
                is_there.then(now)
            });
            // A chunk that waits behind the other worker's item would not run until then.
            sleep(Duration::from_millis(30));
            kill(blocked[1]);
            (killed, replaced)
        });
        let items = [true, false].repeat(NUM_WORKERS);
        let map = pool.map(items, block_or_stamp).chunk_size(2);
        let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
        let lost = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(lost, NUM_WORKERS, "{outcomes:?}");
        let (killed, replaced) = killer.join().expect("both workers run");
        (killed, replaced, outcomes.into_iter().flatten().collect())
    })
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), Signal::KILL).expect("it lives");
}

/// How often it is asked for what is measured by the answer, and for anything else.
const CLOSELY: Duration = Duration::from_micros(10);
const FROM_AFAR: Duration = Duration::from_millis(2);

/// Asks again after every pause, for five seconds.
fn wait_for<T>(pause: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it does not come about");
        sleep(pause);
    }
}

/// Goal: nothing that can be told from no pool at all.
const NO_CPU: Goal = Goal::AtMost(500.0);

/// How long the CPU time is looked at.
const WINDOW: Duration = Duration::from_millis(400);

fn burned(pool: impl Sized) -> f64 {
    // What comes after work (spinning, for example) is over by then.
    sleep(Duration::from_millis(50));
    let micros = cpu_time::micros_per_second(WINDOW);
    drop(pool);
    micros
}

fn cpu_of_idle_pool() -> Row {
    Row {
        what: "CPU of an idle pool, parent and workers",
        unit: "µs per second",
        rounds: 5,
        entrants: vec![
            Entrant::new("no pool at all", || burned(())),
            Entrant::new("taskfarm process", || {
                let pool = ours();
                let results: Vec<u64> = pool.map(0..1000, tiny).collect().unwrap();
                assert_eq!(results.len(), 1000);
                burned(pool)
            })
            .with_goal(NO_CPU),
            Entrant::new("procspawn", || {
                let pool = procspawn_pool();
                procspawn_each(&pool, 0..1000, PROCSPAWN_WINDOW, tiny, drop);
                burned(pool)
            }),
        ],
    }
}

fn cpu_of_waiting_pool() -> Row {
    const TASK: u64 = 600;
    Row {
        what: "CPU of a pool that waits for one long task, parent and workers",
        unit: "µs per second",
        rounds: 5,
        entrants: vec![
            Entrant::new("no pool at all", || burned(())),
            Entrant::new("taskfarm process", || {
                let pool = ours();
                let warm_up: Vec<u64> = pool.map(0..1000, tiny).collect().unwrap();
                assert_eq!(warm_up.len(), 1000);
                std::thread::scope(|scope| {
                    let join = || pool.submit(TASK, doze).join().unwrap();
                    let waiter = scope.spawn(join);
                    let micros = burned(());
                    assert!(!waiter.is_finished(), "the task is over too soon");
                    micros
                })
            })
            .with_goal(NO_CPU),
            Entrant::new("procspawn", || {
                let pool = procspawn_pool();
                procspawn_each(&pool, 0..1000, PROCSPAWN_WINDOW, tiny, drop);
                let handle = pool.spawn(TASK, doze);
                let micros = burned(());
                handle.join().unwrap();
                micros
            }),
        ],
    }
}
