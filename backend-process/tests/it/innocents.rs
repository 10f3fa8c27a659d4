//! What one task, map or shortage does must not be felt by others.

use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use taskfarm_core::{CancelOutcome, CancellationToken, ErrorPolicy, SameBinaryExt, TaskErrorKind};
use taskfarm_process::{ProcessPool, StartMethod, WorkerState};

use crate::Case;
use crate::support::{
    adopt_orphans, builder, children, children_of, eventually, idle_workers, pool, signal, warm_up,
    worker_at,
};

pub(crate) const CASES: &[Case] = &[
    (
        "innocents::a_half_sent_task_is_cancelled_without_its_neighbour",
        a_half_sent_task_is_cancelled_without_its_neighbour,
    ),
    (
        "innocents::a_task_that_is_told_to_be_killed_has_no_result",
        a_task_that_is_told_to_be_killed_has_no_result,
    ),
    (
        "innocents::the_process_that_forks_is_replaced_with_starts_pending",
        the_process_that_forks_is_replaced,
    ),
    (
        "innocents::a_zygote_that_does_not_answer_costs_no_running_item",
        a_zygote_that_does_not_answer_costs_no_running_item,
    ),
    (
        "innocents::a_process_that_stands_by_takes_the_place_of_a_dead_worker",
        a_process_that_stands_by_takes_the_place,
    ),
    (
        "innocents::a_process_that_stands_by_may_die_or_stop",
        a_process_that_stands_by_may_die_or_stop,
    ),
    (
        "innocents::a_process_that_stands_by_leaves_with_the_others",
        a_process_that_stands_by_leaves_with_the_others,
    ),
    (
        "innocents::a_stopped_worker_holds_no_task",
        a_stopped_worker_holds_no_task,
    ),
    (
        "innocents::the_only_worker_is_replaced_when_it_was_stopped",
        the_only_worker_is_replaced_when_it_was_stopped,
    ),
    (
        "innocents::a_hanging_exit_hook_holds_no_task",
        a_hanging_exit_hook_holds_no_task,
    ),
    (
        "innocents::an_initialiser_does_not_count_against_an_item",
        an_initialiser_does_not_count_against_an_item,
    ),
    (
        "innocents::an_initialiser_has_a_limit_of_its_own",
        an_initialiser_has_a_limit_of_its_own,
    ),
    (
        "innocents::a_worker_that_receives_for_long_is_not_stuck",
        a_worker_that_receives_for_long_is_not_stuck,
    ),
    (
        "innocents::a_map_is_cancelled_while_its_context_is_sent",
        a_map_is_cancelled_while_its_context_is_sent,
    ),
    (
        "innocents::a_worker_that_stops_while_it_receives_is_replaced",
        a_worker_that_stops_while_it_receives_is_replaced,
    ),
    (
        "innocents::a_context_above_the_memory_limit_fails_its_map_alone",
        a_context_above_the_memory_limit_fails_its_map_alone,
    ),
    (
        "innocents::an_item_above_the_memory_limit_is_lost_alone",
        an_item_above_the_memory_limit_is_lost_alone,
    ),
];

const LONG: Duration = Duration::from_secs(30);

fn a_half_sent_task_is_cancelled_without_its_neighbour(method: StartMethod) {
    let pool = pool(method, 1);
    // A worker that is known to be quick is sent more than it runs.
    for _ in 0..5 {
        let handles: Vec<_> = (0..500_u32).map(|n| pool.submit(n, |n: u32| n)).collect();
        handles.into_iter().for_each(|handle| drop(handle.join()));
    }
    let innocent = pool.submit(7, |n: u32| {
        std::thread::sleep(Duration::from_secs(2));
        n
    });
    worker_at(&pool, 0);
    // More than any ring holds, behind an item that runs: it is half-sent.
    let big = pool.submit(ByteBuf::from(vec![1; 32 << 20]), |bytes: ByteBuf| {
        bytes.len()
    });
    eventually("the big one is on its way", || {
        (pool.workers()[0].bytes_in_flight > 1 << 20).then_some(())
    });
    assert_eq!(big.cancel(), CancelOutcome::NotStarted);
    assert_eq!(innocent.join().unwrap(), 7);
    assert_eq!(pool.submit(8, |n: u32| n).join().unwrap(), 8);
    assert_eq!(pool.stats().replaced, 0);
}

fn a_task_that_is_told_to_be_killed_has_no_result(method: StartMethod) {
    let pool = pool(method, 2);
    let mut num_killed = 0;
    for round in 0..200_u64 {
        let handle = pool.submit(round, |round: u64| {
            std::thread::sleep(Duration::from_micros(round % 20 * 10));
        });
        std::thread::sleep(Duration::from_micros(round % 17 * 20));
        let answer = handle.cancel();
        let result = handle.join();
        match answer {
            CancelOutcome::TooLate => assert!(result.is_ok(), "{result:?}"),
            _ => assert!(result.is_err(), "{answer:?}, and yet a result"),
        }
        num_killed += u32::from(answer == CancelOutcome::Killed);
    }
    println!("{num_killed} of 200 were killed");
}

fn the_process_that_forks_is_replaced(method: StartMethod) {
    if method != StartMethod::Zygote {
        // Executed workers have none, and a fork of the start cannot be had again.
        return;
    }
    let pool = pool(method, 4);
    pool.submit(1, |n: u32| n).join().unwrap();
    let [zygote] = children()[..] else {
        panic!("more than one child: {:?}", children());
    };
    signal(zygote, libc::SIGSTOP);
    // With one worker there, three more are wanted, for which the zygote cannot be asked.
    let handles: Vec<_> = (0..8_u32)
        .map(|n| {
            pool.submit(n, |n: u32| {
                std::thread::sleep(Duration::from_millis(50));
                n
            })
        })
        .collect();
    worker_at(&pool, 0);
    signal(zygote, libc::SIGKILL);
    let results: Vec<_> = handles.into_iter().map(|handle| handle.join()).collect();
    let num_lost = results.iter().filter(|result| result.is_err()).count();
    // At most the one that ran.
    assert!(num_lost <= 1, "{results:?}");
    assert_eq!(pool.submit(3, |n: u32| n).join().unwrap(), 3);
    warm_up(&pool, 4);
}

fn a_zygote_that_does_not_answer_costs_no_running_item(method: StartMethod) {
    if method != StartMethod::Zygote {
        return;
    }
    let pool = builder(method, 2)
        .start_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    pool.submit(1, |n: u32| n).join().unwrap();
    let [zygote] = children()[..] else {
        panic!("more than one child: {:?}", children());
    };
    signal(zygote, libc::SIGSTOP);
    // Runs until the second worker has been late twice.
    let running = pool.submit(1, |n: u32| {
        std::thread::sleep(Duration::from_millis(1000));
        n
    });
    worker_at(&pool, 0);
    let waiting = pool.submit(2, |n: u32| n);
    assert_eq!(running.join().unwrap(), 1);
    assert_eq!(waiting.join_timeout(LONG).expect("it ends").unwrap(), 2);
    // Another zygote takes the place of the one that does not answer.
    warm_up(&pool, 2);
    assert_ne!(children(), [zygote]);
}

/// A pool of one worker, which has died once, and the process that forks.
fn pool_with_a_death(method: StartMethod) -> Option<(ProcessPool, u32)> {
    if method == StartMethod::Exec {
        // There is nobody to fork one that stands by.
        return None;
    }
    let builder = builder(method, 1).start_timeout(Duration::from_millis(500));
    let pool = builder.build().unwrap();
    let worker = warm_up(&pool, 1)[0].pid;
    let [zygote] = children()[..] else {
        panic!("more than one child: {:?}", children());
    };
    assert_eq!(children_of(zygote), [worker], "nobody stands by at first");
    kill_and_replace(&pool);
    Some((pool, zygote))
}

/// Kills the only worker; the pid of the next one.
fn kill_and_replace(pool: &ProcessPool) -> u32 {
    let worker = idle_workers(pool, 1)[0].pid;
    signal(worker, libc::SIGKILL);
    eventually("another worker is ready", || {
        let next = pool.workers().into_iter().next()?;
        (next.pid != worker && next.state == WorkerState::Idle).then_some(next.pid)
    })
}

/// The process that stands by.
fn standby(pool: &ProcessPool, zygote: u32) -> u32 {
    eventually("a process stands by", || {
        let worker = pool.workers().first()?.pid;
        let mut others = children_of(zygote).into_iter().filter(|pid| *pid != worker);
        others.next()
    })
}

fn a_process_that_stands_by_takes_the_place(method: StartMethod) {
    let Some((pool, zygote)) = pool_with_a_death(method) else {
        return;
    };
    for _ in 0..3 {
        let expected = standby(&pool, zygote);
        assert_eq!(kill_and_replace(&pool), expected);
        assert_eq!(pool.submit(1, |n: u32| n + 1).join().unwrap(), 2);
    }
    let stats = pool.stats();
    assert_eq!(stats.replaced, 4);
    assert!(stats.replacing > Duration::ZERO);
}

fn a_process_that_stands_by_may_die_or_stop(method: StartMethod) {
    let Some((pool, zygote)) = pool_with_a_death(method) else {
        return;
    };
    let killed = standby(&pool, zygote);
    signal(killed, libc::SIGKILL);
    eventually("it is gone", || {
        (!children_of(zygote).contains(&killed)).then_some(())
    });
    assert_ne!(kill_and_replace(&pool), killed);
    let stopped = standby(&pool, zygote);
    signal(stopped, libc::SIGSTOP);
    assert_ne!(kill_and_replace(&pool), stopped, "it is given up");
    assert_eq!(pool.submit(1, |n: u32| n + 1).join().unwrap(), 2);
}

fn a_process_that_stands_by_leaves_with_the_others(method: StartMethod) {
    // What nobody reaps would come here.
    adopt_orphans();
    let Some((pool, zygote)) = pool_with_a_death(method) else {
        return;
    };
    standby(&pool, zygote);
    drop(pool);
    assert_eq!(children(), []);
}

fn a_stopped_worker_holds_no_task(method: StartMethod) {
    let pool = pool(method, 2);
    let workers = warm_up(&pool, 2);
    signal(workers[0].pid, libc::SIGSTOP);
    for n in 0..4_u32 {
        let handle = pool.submit(n, |n: u32| n);
        assert_eq!(handle.join_timeout(LONG).expect("it ends").unwrap(), n);
    }
    signal(workers[0].pid, libc::SIGCONT);
}

fn the_only_worker_is_replaced_when_it_was_stopped(method: StartMethod) {
    let pool = builder(method, 1)
        .exit_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let workers = warm_up(&pool, 1);
    signal(workers[0].pid, libc::SIGSTOP);
    let handle = pool.submit(5, |n: u32| n);
    assert_eq!(handle.join_timeout(LONG).expect("it ends").unwrap(), 5);
    // It is listed at once, whether its zygote has told of it or not.
    assert_ne!(pool.workers()[0].pid, workers[0].pid);
}

fn a_hanging_exit_hook_holds_no_task(method: StartMethod) {
    let pool = builder(method, 1)
        .exit_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let map = pool
        .init(|| ())
        .on_exit(|()| std::thread::sleep(Duration::from_secs(3600)));
    let results: Vec<u32> = map.map(0..3_u32, |(), n| n).collect().unwrap();
    assert_eq!(results, [0, 1, 2]);
    let handle = pool.submit(5, |n: u32| n);
    assert_eq!(handle.join_timeout(LONG).expect("it ends").unwrap(), 5);
}

fn an_initialiser_does_not_count_against_an_item(method: StartMethod) {
    let pool = pool(method, 1);
    let outcomes = pool
        .init(|| std::thread::sleep(Duration::from_millis(1500)))
        .map(0..3_u32, |(), n| n)
        // A busy machine may well hold an item up for some of this.
        .timeout(Duration::from_millis(1000))
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    let results: Vec<u32> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [0, 1, 2]);
    assert_eq!(pool.stats().started, 1);
}

fn an_initialiser_has_a_limit_of_its_own(method: StartMethod) {
    let pool = builder(method, 1)
        .init_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let error = pool
        .init(|| std::thread::sleep(Duration::from_secs(3600)))
        .map(0..1_u32, |(), n| n)
        .timeout(Duration::from_millis(100))
        .collect::<Vec<u32>>()
        .unwrap_err();
    let kind = error.first().expect("it failed").kind();
    assert!(matches!(kind, TaskErrorKind::TimedOut(_)), "{error}");
}

fn a_worker_that_receives_for_long_is_not_stuck(method: StartMethod) {
    const LEN: usize = 32 << 20;
    let pool = builder(method, 1)
        .exit_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let worker = warm_up(&pool, 1).remove(0).pid;
    let started = Instant::now();
    let results: Vec<usize> = std::thread::scope(|scope| {
        let map = scope.spawn(|| {
            let context = ByteBuf::from(vec![1; LEN]);
            let map = pool.context(context);
            map.map(0..2_usize, |context, n| context.len() + n)
                .collect()
        });
        // It runs for a moment now and then, in which it takes a few MiB at most.
        while !map.is_finished() {
            signal(worker, libc::SIGSTOP);
            std::thread::sleep(Duration::from_millis(100));
            signal(worker, libc::SIGCONT);
            std::thread::sleep(Duration::from_millis(1));
        }
        map.join().unwrap().unwrap()
    });
    assert_eq!(results, [LEN, LEN + 1]);
    assert!(
        started.elapsed() > Duration::from_secs(1),
        "too soon to be taken for stuck"
    );
    assert_eq!(pool.stats().replaced, 0);
}

fn a_map_is_cancelled_while_its_context_is_sent(method: StartMethod) {
    let pool = pool(method, 1);
    let worker = warm_up(&pool, 1).remove(0).pid;
    let num_items = pool.stats().items;
    signal(worker, libc::SIGSTOP);
    let token = CancellationToken::new();
    let error = std::thread::scope(|scope| {
        let map = scope.spawn(|| {
            let context = ByteBuf::from(vec![1; 32 << 20]);
            let map = pool
                .context(context)
                .map(0..2_usize, |context, n| context.len() + n);
            map.cancel_token(&token)
                .collect::<Vec<usize>>()
                .unwrap_err()
        });
        eventually("the map is on its way", || {
            (pool.workers()[0].bytes_in_flight > 0).then_some(())
        });
        token.cancel();
        // Stopped as the worker is, only the pool itself can end this.
        eventually("the map has ended", || map.is_finished().then_some(()));
        map.join().unwrap()
    });
    let kind = error.first().expect("it failed").kind();
    assert!(matches!(kind, TaskErrorKind::Cancelled(_)), "{error}");
    signal(worker, libc::SIGCONT);
    assert_eq!(pool.submit(5, |n: u32| n).join().unwrap(), 5);
    let stats = pool.stats();
    assert_eq!(
        (stats.items, stats.replaced),
        (num_items + 1, 0),
        "none of the map ran"
    );
}

fn a_worker_that_stops_while_it_receives_is_replaced(method: StartMethod) {
    let pool = builder(method, 1)
        .exit_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let worker = warm_up(&pool, 1).remove(0).pid;
    signal(worker, libc::SIGSTOP);
    let context = ByteBuf::from(vec![1; 32 << 20]);
    let map = pool
        .context(context)
        .map(0..2_usize, |context, n| context.len() + n);
    let results: Vec<usize> = map.collect().unwrap();
    assert_eq!(results, [32 << 20, (32 << 20) + 1]);
    assert_ne!(pool.workers()[0].pid, worker);
}

fn a_context_above_the_memory_limit_fails_its_map_alone(method: StartMethod) {
    let pool = builder(method, 2).memory_limit(64 << 20).build().unwrap();
    let context = ByteBuf::from(vec![1; 100 << 20]);
    let map = pool
        .context(context)
        .map(0..3_usize, |context, n| context.len() + n);
    let error = map.collect::<Vec<usize>>().unwrap_err();
    let kind = error.first().expect("it failed").kind();
    assert!(matches!(kind, TaskErrorKind::Undeliverable(_)), "{error}");
    assert_eq!(pool.submit(3, |n: u32| n).join().unwrap(), 3);
}

fn an_item_above_the_memory_limit_is_lost_alone(method: StartMethod) {
    let pool = builder(method, 2).memory_limit(128 << 20).build().unwrap();
    let len = |bytes: ByteBuf| bytes.len();
    let items: Vec<ByteBuf> = (0..20)
        .map(|n| ByteBuf::from(vec![1; if n == 7 { 100 << 20 } else { 1000 }]))
        .collect();
    let map = pool.map(items, len).on_error(ErrorPolicy::Collect);
    for (n, outcome) in map.outcomes().unwrap().into_iter().enumerate() {
        match outcome {
            Ok(len) => assert!(len == 1000 && n != 7),
            Err(error) => {
                let lost = matches!(error.kind(), TaskErrorKind::WorkerLost(_));
                assert!(n == 7 && lost, "{error}");
            }
        }
    }
    assert_eq!(pool.stats().lost, 1);
    assert_eq!(pool.submit(3, |n: u32| n).join().unwrap(), 3);
}
