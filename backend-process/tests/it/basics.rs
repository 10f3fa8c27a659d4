//! What a pool does when nothing goes wrong.

use std::time::{Duration, Instant};

use taskfarm_core::{Executor, SameBinaryExt, Shutdown, TaskErrorKind};
use taskfarm_process::{ProcessPool, StartMethod, WorkerState};

use crate::Case;
use crate::scratch::{Scratch, append, lines};
use crate::support::{builder, children, eventually, idle_workers, num_descriptors, pool, warm_up};

pub(crate) const CASES: &[Case] = &[
    ("basics::a_map_keeps_input_order", a_map_keeps_input_order),
    (
        "basics::every_submitted_task_gives_its_result",
        every_submitted_task_gives_its_result,
    ),
    (
        "basics::errors_and_panics_come_back_with_message_and_place",
        errors_and_panics_come_back,
    ),
    (
        "basics::panics_have_a_place_when_the_program_has_panicked_before",
        panics_have_a_place_when_the_program_has_panicked_before,
    ),
    (
        "basics::a_context_is_decoded_once_per_worker",
        a_context_is_decoded_once_per_worker,
    ),
    (
        "basics::exit_hooks_run_when_the_map_is_over",
        exit_hooks_run_when_the_map_is_over,
    ),
    (
        "basics::exit_hooks_run_when_the_pool_is_dropped",
        exit_hooks_run_when_the_pool_is_dropped,
    ),
    (
        "basics::a_worker_leaves_after_its_last_task",
        a_worker_leaves_after_its_last_task,
    ),
    (
        "basics::a_map_that_ends_early_leaves_nothing_behind",
        a_map_that_ends_early,
    ),
    (
        "basics::no_jobs_are_taken_after_a_shutdown",
        no_jobs_are_taken_after_a_shutdown,
    ),
    (
        "basics::a_drained_pool_finishes_what_it_has",
        a_drained_pool_finishes_what_it_has,
    ),
    (
        "basics::nothing_is_left_of_a_dropped_pool",
        nothing_is_left_of_a_dropped_pool,
    ),
    ("basics::many_pools_live_at_once", many_pools_live_at_once),
    (
        "basics::a_task_opens_a_pool_of_its_own",
        a_task_opens_a_pool_of_its_own,
    ),
    (
        "basics::endless_recursion_of_pools_is_an_error",
        endless_recursion_of_pools_is_an_error,
    ),
    (
        "basics::workers_tell_what_they_do",
        workers_tell_what_they_do,
    ),
    ("basics::an_idle_pool_uses_no_cpu", an_idle_pool_uses_no_cpu),
    (
        "basics::a_long_item_does_not_hold_back_what_is_finished",
        a_long_item_does_not_hold_back,
    ),
    (
        "basics::a_short_task_behind_a_long_one_moves_to_an_idle_worker",
        a_short_task_moves,
    ),
];

fn a_map_keeps_input_order(method: StartMethod) {
    let pool = pool(method, 2);
    for chunk in [1, 7, 1000] {
        let items = pool.map(0..10_000_u64, |n| n * 3).chunk_size(chunk);
        let tripled: Vec<u64> = items.collect().unwrap();
        assert!(
            tripled
                .iter()
                .enumerate()
                .all(|(at, n)| *n == 3 * at as u64)
        );
    }
    let lengths: Vec<usize> = pool
        .map((0..500).map(|n| "x".repeat(n)), |text| text.len())
        .collect()
        .unwrap();
    assert_eq!(lengths, (0..500).collect::<Vec<_>>());
}

fn every_submitted_task_gives_its_result(method: StartMethod) {
    let pool = pool(method, 2);
    let handles: Vec<_> = (0..20_000_u32).map(|n| pool.submit(n, |n| n ^ 1)).collect();
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u32 ^ 1);
    }
}

fn errors_and_panics_come_back(method: StartMethod) {
    let pool = pool(method, 1);
    let failed = pool.try_submit("7x".to_owned(), |text: String| {
        text.parse::<u32>().map_err(|error| error.to_string())
    });
    let error = failed.join().unwrap_err();
    assert_eq!(error.cause().unwrap(), "invalid digit found in string");
    let panicked = pool.submit(3, |n: u32| match n {
        3 => panic!("three is too many"),
        n => n,
    });
    let error = panicked.join().unwrap_err();
    let TaskErrorKind::Panicked(panic) = error.kind() else {
        panic!("{error:?}");
    };
    assert_eq!(panic.message(), "three is too many");
    assert!(panic.location().unwrap().contains("basics.rs"));
    assert_eq!(pool.stats().replaced, 0);
    assert_eq!(pool.submit(1, |n: u32| n).join().unwrap(), 1);
}

fn panics_have_a_place_when_the_program_has_panicked_before(method: StartMethod) {
    fn fail(_: u32) -> u32 {
        panic!("on purpose")
    }
    // The process has its hook from here on, and so has a copy of it.
    let error = pool(method, 1).submit(1, fail).join().unwrap_err();
    assert!(error.to_string().contains("basics.rs"), "{error}");
    std::panic::set_hook(Box::new(|_| std::process::abort()));
    let error = pool(method, 1).submit(2, fail).join().unwrap_err();
    assert!(error.to_string().contains("basics.rs"), "{error}");
}

fn a_context_is_decoded_once_per_worker(method: StartMethod) {
    let pool = pool(method, 2);
    let table: Vec<u64> = (0..100_000).collect();
    let sums: Vec<u64> = pool
        .context(table)
        .map(0..2_000_usize, |table, at| table[at] + table.len() as u64)
        .chunk_size(10)
        .collect()
        .unwrap();
    assert!(
        sums.iter()
            .enumerate()
            .all(|(at, sum)| *sum == at as u64 + 100_000)
    );
}

fn exit_hooks_run_when_the_map_is_over(method: StartMethod) {
    let pool = pool(method, 1);
    let path = std::env::temp_dir().join(format!("taskfarm-exit-{}", std::process::id()));
    let mark = path.to_str().unwrap().to_owned();
    let counts: Vec<usize> = pool
        .context(mark)
        .init(|mark| (mark.clone(), 0))
        .on_exit(|(mark, count)| std::fs::write(mark, format!("{count}")).unwrap())
        .map(0..10_u32, |(_, count), _| {
            *count += 1;
            *count
        })
        .chunk_size(1)
        .collect()
        .unwrap();
    assert_eq!(
        counts,
        (1..=10).collect::<Vec<_>>(),
        "one state for all chunks"
    );
    let count = eventually("the exit hook has run", || {
        std::fs::read_to_string(&path)
            .ok()
            .filter(|text| !text.is_empty())
    });
    std::fs::remove_file(&path).unwrap();
    assert_eq!(count, "10");
}

fn exit_hooks_run_when_the_pool_is_dropped(method: StartMethod) {
    let pool = pool(method, 1);
    let path = std::env::temp_dir().join(format!("taskfarm-bye-{}", std::process::id()));
    let mark = path.to_str().unwrap().to_owned();
    let map = pool
        .context(mark)
        .init(|mark| mark.clone())
        .on_exit(|mark| std::fs::write(mark, "bye").unwrap())
        .map(0..2_u32, |_, n| n);
    map.run().unwrap();
    drop(pool);
    let said = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(said, "bye");
}

fn a_worker_leaves_after_its_last_task(method: StartMethod) {
    let pool = builder(method, 1).max_tasks_per_worker(10).build().unwrap();
    let pids: Vec<u32> = pool
        .map(0..100_u32, |_| std::process::id())
        .chunk_size(25)
        .collect()
        .unwrap();
    let mut runs: Vec<(u32, usize)> = Vec::new();
    for pid in pids {
        match runs.last_mut() {
            Some((last, count)) if *last == pid => *count += 1,
            _ => runs.push((pid, 1)),
        }
    }
    assert_eq!(runs.len(), 10, "{runs:?}");
    assert!(runs.iter().all(|(_, count)| *count == 10), "{runs:?}");
    assert_eq!(pool.stats().replaced, 0, "nobody died");
}

fn a_map_that_ends_early(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..20 {
        let mut results = pool.map(0.., |n: u64| n).ordered().unwrap();
        assert_eq!(results.next().unwrap().unwrap(), 0);
    }
    let all: Vec<u64> = pool.map(0..100, |n: u64| n + 1).collect().unwrap();
    assert_eq!(all, (1..=100).collect::<Vec<_>>());
}

fn no_jobs_are_taken_after_a_shutdown(method: StartMethod) {
    for how in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Abort] {
        if method == StartMethod::Fork && how != Shutdown::Drain {
            break;
        }
        let pool = pool(method, 1);
        pool.submit(1, |n: u32| n).join().unwrap();
        pool.shutdown(how);
        let error = pool.submit(1, |n: u32| n).join().unwrap_err();
        assert!(matches!(error.kind(), TaskErrorKind::Refused), "{error}");
    }
}

fn a_drained_pool_finishes_what_it_has(method: StartMethod) {
    let pool = pool(method, 2);
    let handles: Vec<_> = (0..100_u64)
        .map(|n| {
            pool.submit(n, |n| {
                std::thread::sleep(Duration::from_millis(1));
                n
            })
        })
        .collect();
    drop(pool);
    for (n, handle) in handles.into_iter().enumerate() {
        assert!(handle.is_finished());
        assert_eq!(handle.join().unwrap(), n as u64);
    }
}

fn nothing_is_left_of_a_dropped_pool(method: StartMethod) {
    let rounds = if method == StartMethod::Fork { 1 } else { 20 };
    let mut before = None;
    for round in 0..rounds {
        let pool = pool(method, 2);
        let pids: Vec<u32> = warm_up(&pool, 2).iter().map(|worker| worker.pid).collect();
        drop(pool);
        assert_eq!(children(), [], "zombies or processes");
        for pid in pids {
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        }
        let now = num_descriptors();
        let first = *before.get_or_insert(now);
        assert_eq!(now, first, "descriptors after round {round}");
    }
}

fn many_pools_live_at_once(method: StartMethod) {
    let pools: Vec<ProcessPool> = (0..5).map(|_| pool(method, 1)).collect();
    let handles: Vec<_> = (0..50_u64)
        .map(|n| pools[n as usize % 5].submit(n, |n| n + 1))
        .collect();
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u64 + 1);
    }
}

/// As an item carries it.
fn number_of(method: StartMethod) -> u8 {
    match method {
        StartMethod::Zygote => 0,
        StartMethod::Exec => 1,
        _ => 2,
    }
}

fn method_of(number: u8) -> StartMethod {
    [StartMethod::Zygote, StartMethod::Exec, StartMethod::Fork][usize::from(number)]
}

/// With the start method of the case inside, too: a worker has one thread, so that even
/// [`StartMethod::Fork`] may be used there.
fn a_task_opens_a_pool_of_its_own(method: StartMethod) {
    let pool = pool(method, 2);
    let items = (0..4).map(|n| (n, number_of(method)));
    let items: Vec<(u64, u8)> = items.collect();
    let sums: Vec<u64> = pool
        .map(items, |(n, method)| {
            let inner = crate::support::pool(method_of(method), 2);
            let squares: Vec<u64> = inner.map(0..=n, |n| n * n).collect().unwrap();
            drop(inner);
            assert_eq!(children(), [], "of the worker");
            one_thread_is_left();
            squares.iter().sum()
        })
        .collect()
        .unwrap();
    assert_eq!(sums, [0, 1, 5, 14]);
}

/// A thread that was joined is still listed for a moment.
fn one_thread_is_left() {
    eventually("one thread is left", || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        (threads.count() == 1).then_some(())
    });
}

fn endless_recursion_of_pools_is_an_error(method: StartMethod) {
    fn deeper(depth: u32) -> Result<u32, String> {
        let pool = ProcessPool::new(1).map_err(|error| format!("{depth}: {error}"))?;
        let below = pool.try_submit(depth + 1, deeper).join();
        below.map_err(|error| error.cause().cloned().unwrap_or_else(|| error.to_string()))
    }
    let error = pool(method, 1).try_submit(1, deeper).join().unwrap_err();
    let why = error.cause().unwrap();
    assert!(
        why.starts_with("10: ") && why.contains("recursion"),
        "{why}"
    );
}

/// Two workers are held in the third item of a chunk each, with what they report beside what
/// their items say of themselves.
fn workers_tell_what_they_do(method: StartMethod) {
    const CHUNK: u32 = 4;
    let scratch = Scratch::new();
    let (inside, go) = (scratch.file("inside"), scratch.file("go"));
    let item = |n| (n, inside.clone(), go.clone());
    let items: Vec<(u32, String, String)> = (0..2 * CHUNK).map(item).collect();
    let pool = pool(method, 2);
    let started = Instant::now();
    let results: Vec<u32> = std::thread::scope(|scope| {
        let map = scope.spawn(|| {
            let map = pool.map(items, |(n, inside, go)| {
                if n % CHUNK == 2 {
                    append(&inside, format!("{n} {}", std::process::id()));
                    eventually("it may go on", || (!lines(&go).is_empty()).then_some(()));
                }
                n
            });
            map.chunk_size(CHUNK as usize).collect().unwrap()
        });
        let held = eventually("both workers are in their third item", || {
            Some(lines(&inside)).filter(|lines| lines.len() == 2)
        });
        let workers = eventually("the first two items of each are known to be done", || {
            let workers = pool.workers();
            let known = workers.iter().filter(|worker| worker.items_done == 2);
            (known.count() == 2).then_some(workers)
        });
        let now = Instant::now();
        for line in held {
            let (n, pid) = line.split_once(' ').unwrap();
            let pid: u32 = pid.parse().unwrap();
            let worker = workers.iter().find(|worker| worker.pid == pid).unwrap();
            let item = worker.item.unwrap();
            assert_eq!(worker.state, WorkerState::Busy);
            assert_eq!(item.index, n.parse::<usize>().unwrap());
            assert!(started <= item.since && item.since <= now);
            // Two items are left, each with two paths.
            let paths = 2 * (inside.len() + go.len());
            assert!((paths..paths + 20).contains(&worker.bytes_in_flight));
        }
        append(&go, "go");
        map.join().unwrap()
    });
    assert_eq!(results, Vec::from_iter(0..2 * CHUNK));
    for worker in idle_workers(&pool, 2) {
        assert_eq!((worker.item, worker.items_done), (None, u64::from(CHUNK)));
        assert_eq!(worker.bytes_in_flight, 0);
    }
}

fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn an_idle_pool_uses_no_cpu(method: StartMethod) {
    let pool = pool(method, 2);
    let pids: Vec<u32> = warm_up(&pool, 2).iter().map(|worker| worker.pid).collect();
    let long = pool.submit((), |()| std::thread::sleep(Duration::from_millis(600)));
    std::thread::sleep(Duration::from_millis(50));
    let measure = || {
        let workers: u64 = pids.iter().map(|pid| cpu_ticks(*pid)).sum();
        workers + cpu_ticks(std::process::id())
    };
    let before = measure();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        measure() - before,
        0,
        "hundredths of a second in half a second"
    );
    long.join().unwrap();
}

/// The last item of the chunk does not end before all others have been delivered.
fn a_long_item_does_not_hold_back(method: StartMethod) {
    let scratch = Scratch::new();
    let go = scratch.file("go");
    let pool = pool(method, 1);
    let items: Vec<(u32, String)> = (0..50).map(|n| (n, go.clone())).collect();
    let results = pool
        .map(items, |(n, go)| {
            if n == 49 {
                wait_for_a_line(&go);
            }
            n
        })
        .chunk_size(50)
        .as_completed()
        .unwrap();
    let mut delivered = Vec::new();
    for (index, result) in results {
        assert_eq!(result.unwrap() as usize, index);
        delivered.push(index);
        if delivered.len() == 49 {
            append(&go, "go");
        }
    }
    assert_eq!(delivered, Vec::from_iter(0..50));
}

fn wait_for_a_line(path: &str) {
    eventually("it may go on", || (!lines(path).is_empty()).then_some(()));
}

/// Two tasks hold both workers, with others behind them; one of the two goes on, and the
/// other one does not before all the others have ended.
fn a_short_task_moves(method: StartMethod) {
    let scratch = Scratch::new();
    let files = ["first", "second"].map(|name| scratch.file(name));
    let pool = pool(method, 2);
    warm_up(&pool, 2);
    let hold = |path: &String| pool.submit(path.clone(), |path| wait_for_a_line(&path));
    let [first, second] = files.each_ref().map(hold);
    let others: Vec<_> = (0..20_u32).map(|n| pool.submit(n, |n| n)).collect();
    eventually("both workers are held", || {
        let workers = pool.workers();
        let held = workers.iter().filter(|worker| worker.item.is_some());
        (held.count() == 2).then_some(())
    });
    append(&files[1], "go");
    second.join().unwrap();
    for (n, handle) in others.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u32);
    }
    assert!(!first.is_finished());
    append(&files[0], "go");
    first.join().unwrap();
}
