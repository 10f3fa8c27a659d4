//! The contests, with the goals that the project has set itself.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use pariter::IteratorExt;
use rayon::prelude::*;
use taskfarm::prelude::*;
use threadpool::ThreadPool as OtherPool;

use crate::channel_pool::{ChannelPool, Slot};
use crate::{Contender, Contest, NUM_WORKERS};

/// All contests.
pub fn contests() -> Vec<Contest> {
    vec![tiny_map(), submits(), stream(), idle(), open_and_close()]
}

/// About a nanosecond of work.
fn tiny(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
}

fn timed<R>(work: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    let result = work();
    let time = start.elapsed();
    drop(black_box(result));
    time
}

fn rayon_threads() -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(NUM_WORKERS);
    builder.build().expect("threads can be started")
}

fn ours() -> ThreadPool {
    ThreadPool::new(NUM_WORKERS).expect("a pool can be built")
}

fn ours_on_rayon() -> RayonPool {
    RayonPool::new(NUM_WORKERS).expect("a pool can be built")
}

/// Ordered map of 1 M items of about 1 ns. Goal: threads below Rayon's
/// `par_iter().map().collect()`, `RayonPool` within 10 % of plain Rayon.
fn tiny_map() -> Contest {
    fn input() -> Vec<u64> {
        (0..1_000_000).collect()
    }
    let (by_ref, by_value, threads, on_rayon) =
        (rayon_threads(), rayon_threads(), ours(), ours_on_rayon());
    Contest {
        name: "ordered map of 1 M tiny items",
        rounds: 101,
        contenders: vec![
            Contender::new("rayon par_iter", move || {
                let input = input();
                timed(|| by_ref.install(|| input.par_iter().map(|&n| tiny(n)).collect::<Vec<_>>()))
            }),
            Contender::new("rayon into_par_iter", move || {
                let input = input();
                timed(|| by_value.install(|| input.into_par_iter().map(tiny).collect::<Vec<_>>()))
            }),
            Contender::new("taskfarm threads", move || {
                let input = input();
                timed(|| threads.map(input, tiny).collect::<Vec<_>>())
            }),
            Contender::new("taskfarm rayon", move || {
                let input = input();
                timed(|| on_rayon.map(input, tiny).collect::<Vec<_>>())
            }),
        ],
    }
}

/// 200 k tasks, each with a handle that is joined. Goal: threads below every other.
fn submits() -> Contest {
    const NUM_TASKS: u64 = 200_000;
    let (rayon, threadpool) = (rayon_threads(), OtherPool::new(NUM_WORKERS));
    let (channels, threads, on_rayon) = (ChannelPool::new(NUM_WORKERS), ours(), ours_on_rayon());
    Contest {
        name: "200 k submits with a handle each",
        rounds: 15,
        contenders: vec![
            Contender::new("hand-written channel pool", move || {
                timed(|| {
                    let submit = |n| channels.submit(move || tiny(n));
                    let handles: Vec<_> = (0..NUM_TASKS).map(submit).collect();
                    sum(handles.into_iter().map(Slot::join))
                })
            }),
            Contender::new("threadpool + channel", move || {
                timed(|| {
                    let submit = |n| {
                        let (sender, receiver) = mpsc::sync_channel(1);
                        threadpool.execute(move || sender.send(tiny(n)).unwrap());
                        receiver
                    };
                    let handles: Vec<_> = (0..NUM_TASKS).map(submit).collect();
                    sum(handles.into_iter().map(|handle| handle.recv().unwrap()))
                })
            }),
            Contender::new("rayon spawn + channel", move || {
                timed(|| {
                    let submit = |n| {
                        let (sender, receiver) = mpsc::sync_channel(1);
                        rayon.spawn(move || sender.send(tiny(n)).unwrap());
                        receiver
                    };
                    let handles: Vec<_> = (0..NUM_TASKS).map(submit).collect();
                    sum(handles.into_iter().map(|handle| handle.recv().unwrap()))
                })
            }),
            Contender::new("taskfarm threads", move || {
                timed(|| submit_and_join(&threads, NUM_TASKS))
            }),
            Contender::new("taskfarm rayon", move || {
                timed(|| submit_and_join(&on_rayon, NUM_TASKS))
            }),
        ],
    }
}

fn submit_and_join(executor: &impl Executor<Reach = InProcess>, num_tasks: u64) -> u64 {
    let handles: Vec<_> = (0..num_tasks).map(|n| executor.submit(n, tiny)).collect();
    sum(handles.into_iter().map(|handle| handle.join().unwrap()))
}

fn sum(results: impl Iterator<Item = u64>) -> u64 {
    results.fold(0, u64::wrapping_add)
}

/// 2 M items of a lazy iterator, consumed in order: strings, which are allocated by whoever
/// pulls them, and released by whoever handles them. Goal: threads level with Rayon over
/// hand-made blocks, a third of pariter.
fn stream() -> Contest {
    fn items() -> impl Iterator<Item = String> + Send + 'static {
        (0..2_000_000_u64).map(|n| n.to_string())
    }
    fn parse(text: String) -> u64 {
        tiny(text.parse().expect("digits"))
    }
    let (rayon, threads, on_rayon) = (rayon_threads(), ours(), ours_on_rayon());
    Contest {
        name: "2 M lazily streamed items in order",
        rounds: 9,
        contenders: vec![
            Contender::new("rayon over blocks", move || {
                timed(|| {
                    let (mut items, mut total) = (items(), 0_u64);
                    loop {
                        let block: Vec<String> = items.by_ref().take(8192).collect();
                        if block.is_empty() {
                            return total;
                        }
                        let map = || block.into_par_iter().map(parse).collect::<Vec<_>>();
                        total = total.wrapping_add(sum(rayon.install(map).into_iter()));
                    }
                })
            }),
            Contender::new("pariter", || {
                timed(|| sum(items().parallel_map_custom(|o| o.threads(NUM_WORKERS), parse)))
            }),
            Contender::new("taskfarm threads", move || {
                timed(|| {
                    sum(threads
                        .map(items(), parse)
                        .ordered()
                        .unwrap()
                        .map(Result::unwrap))
                })
            }),
            Contender::new("taskfarm rayon", move || {
                timed(|| {
                    sum(on_rayon
                        .map(items(), parse)
                        .ordered()
                        .unwrap()
                        .map(Result::unwrap))
                })
            }),
        ],
    }
}

/// One task on a pool that has been idle for a millisecond, until its result is there. Goal:
/// threads below every other.
fn idle() -> Contest {
    let (rayon, threadpool) = (rayon_threads(), OtherPool::new(NUM_WORKERS));
    let (channels, threads, on_rayon) = (ChannelPool::new(NUM_WORKERS), ours(), ours_on_rayon());
    let rest = || sleep(Duration::from_millis(1));
    Contest {
        name: "one task on an idle pool",
        rounds: 1001,
        contenders: vec![
            Contender::new("hand-written channel pool", move || {
                rest();
                timed(|| channels.submit(|| tiny(7)).join())
            }),
            Contender::new("threadpool + channel", move || {
                rest();
                timed(|| {
                    let (sender, receiver) = mpsc::sync_channel(1);
                    threadpool.execute(move || sender.send(tiny(7)).unwrap());
                    receiver.recv()
                })
            }),
            Contender::new("rayon install", move || {
                rest();
                timed(|| rayon.install(|| tiny(7)))
            }),
            Contender::new("taskfarm threads", move || {
                rest();
                timed(|| threads.submit(7, tiny).join())
            }),
            Contender::new("taskfarm rayon", move || {
                rest();
                timed(|| on_rayon.submit(7, tiny).join())
            }),
        ],
    }
}

/// A pool is opened, runs one task, and is closed. Goal: threads below Rayon.
fn open_and_close() -> Contest {
    Contest {
        name: "open a pool, run one task, close it",
        rounds: 301,
        contenders: vec![
            // Rayon does not join its threads when a pool is dropped: this is less than
            // what the others do.
            Contender::new("rayon install", || {
                timed(|| rayon_threads().install(|| tiny(7)))
            }),
            Contender::new("hand-written channel pool", || {
                timed(|| ChannelPool::new(NUM_WORKERS).submit(|| tiny(7)).join())
            }),
            Contender::new("taskfarm threads", || {
                timed(|| ours().submit(7, tiny).join())
            }),
            Contender::new("taskfarm rayon", || {
                timed(|| ours_on_rayon().submit(7, tiny).join())
            }),
        ],
    }
}
