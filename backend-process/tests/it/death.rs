//! Death in every form costs one item, says why, and the rest goes on.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use taskfarm_core::{ErrorPolicy, ProcessEnd, SameBinaryExt, TaskErrorKind, WorkerLost};
use taskfarm_process::{ProcessPool, StartMethod};

use crate::Case;
use crate::scratch::{Scratch, lines};
use crate::support::{
    builder, eventually, idle_workers, is_alive, leave_a_grandchild, pool, signal, warm_up,
    worker_at,
};

pub(crate) const CASES: &[Case] = &[
    (
        "death::a_segfault_costs_one_item",
        a_segfault_costs_one_item,
    ),
    ("death::an_abort_costs_one_item", an_abort_costs_one_item),
    ("death::exit_0_costs_one_item", exit_0_costs_one_item),
    ("death::exit_42_costs_one_item", exit_42_costs_one_item),
    (
        "death::a_stack_overflow_costs_one_item",
        a_stack_overflow_costs_one_item,
    ),
    (
        "death::a_double_panic_costs_one_item",
        a_double_panic_costs_one_item,
    ),
    ("death::a_sigkill_costs_one_item", a_sigkill_costs_one_item),
    ("death::a_sigterm_costs_one_item", a_sigterm_costs_one_item),
    ("death::every_item_dies", every_item_dies),
    (
        "death::a_signal_while_idle_costs_nothing",
        a_signal_while_idle_costs_nothing,
    ),
    (
        "death::dying_while_decoding_blames_the_item",
        dying_while_decoding,
    ),
    (
        "death::dying_while_encoding_blames_the_item",
        dying_while_encoding,
    ),
    (
        "death::dying_while_decoding_the_context_blames_the_first_item",
        dying_in_the_context,
    ),
    (
        "death::dying_in_an_exit_hook_costs_nothing",
        dying_in_an_exit_hook,
    ),
    (
        "death::a_grandchild_that_holds_all_descriptors_delays_nothing",
        a_grandchild_that_holds_descriptors,
    ),
    (
        "death::all_workers_at_the_same_instant",
        all_workers_at_the_same_instant,
    ),
    (
        "death::a_stopped_worker_can_be_killed",
        a_stopped_worker_can_be_killed,
    ),
    (
        "death::retries_run_the_item_elsewhere",
        retries_run_the_item_elsewhere,
    ),
    (
        "death::the_zygote_itself_is_killed",
        the_zygote_itself_is_killed,
    ),
    (
        "death::nothing_runs_twice_whoever_dies",
        nothing_runs_twice_whoever_dies,
    ),
    (
        "death::a_worker_out_of_memory_says_so",
        a_worker_out_of_memory_says_so,
    ),
];

const VICTIM: u32 = 57;

/// Runs a map in which one item dies so, and checks everything else.
#[track_caller]
fn check(method: StartMethod, f: fn(u32) -> u32, expected: &[ProcessEnd]) {
    for chunk in [1, 10, 100] {
        if method == StartMethod::Fork && chunk != 10 {
            continue;
        }
        let pool = pool(method, 2);
        let outcomes = pool
            .map(0..200, f)
            .chunk_size(chunk)
            .on_error(ErrorPolicy::Collect);
        let outcomes = outcomes.outcomes().unwrap();
        assert_eq!(outcomes.len(), 200);
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(result) => {
                    assert_ne!(n as u32, VICTIM);
                    assert_eq!(result, n as u32 + 1);
                }
                Err(error) => {
                    assert_eq!((n, error.index()), (57, 57), "{error}");
                    let lost = lost(error.kind());
                    assert!(expected.contains(&lost.ended), "{lost}");
                    assert!(!is_alive(lost.pid));
                }
            }
        }
        assert_eq!(pool.stats().replaced, 1);
        eventually("full strength", || {
            (pool.workers().len() == 2).then_some(())
        });
        assert_eq!(pool.submit(1, |n: u32| n).join().unwrap(), 1);
    }
}

#[track_caller]
fn lost<E: std::fmt::Debug>(kind: &TaskErrorKind<E>) -> WorkerLost {
    match kind {
        TaskErrorKind::WorkerLost(lost) => lost.clone(),
        other => panic!("not lost: {other:?}"),
    }
}

fn a_segfault_costs_one_item(method: StartMethod) {
    fn segfault(n: u32) -> u32 {
        if n == VICTIM {
            // SAFETY: not safe at all, which is the point.
            unsafe { std::ptr::without_provenance_mut::<u32>(8).write_volatile(1) };
        }
        n + 1
    }
    check(method, segfault, &[ProcessEnd::Signaled(libc::SIGSEGV)]);
}

fn an_abort_costs_one_item(method: StartMethod) {
    fn abort(n: u32) -> u32 {
        if n == VICTIM {
            std::process::abort();
        }
        n + 1
    }
    check(method, abort, &[ProcessEnd::Signaled(libc::SIGABRT)]);
}

fn exit_0_costs_one_item(method: StartMethod) {
    fn exit(n: u32) -> u32 {
        if n == VICTIM {
            std::process::exit(0);
        }
        n + 1
    }
    check(method, exit, &[ProcessEnd::Exited(0)]);
}

fn exit_42_costs_one_item(method: StartMethod) {
    fn exit(n: u32) -> u32 {
        if n == VICTIM {
            std::process::exit(42);
        }
        n + 1
    }
    check(method, exit, &[ProcessEnd::Exited(42)]);
}

fn a_stack_overflow_costs_one_item(method: StartMethod) {
    fn deep(n: u64) -> u64 {
        let frame = std::hint::black_box([n; 128]);
        if n == u64::MAX {
            0
        } else {
            deep(n + 1) + frame[(n % 128) as usize]
        }
    }
    fn overflow(n: u32) -> u32 {
        if n == VICTIM {
            return deep(0) as u32;
        }
        n + 1
    }
    // With `main`'s handler, which says so and aborts; without it, as the kernel does it.
    let expected = [libc::SIGABRT, libc::SIGSEGV].map(ProcessEnd::Signaled);
    check(method, overflow, &expected);
}

fn a_double_panic_costs_one_item(method: StartMethod) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("second");
        }
    }
    fn panic_twice(n: u32) -> u32 {
        if n == VICTIM {
            let _bomb = Bomb;
            panic!("first");
        }
        n + 1
    }
    check(method, panic_twice, &[ProcessEnd::Signaled(libc::SIGABRT)]);
}

fn die_of(signal_number: i32) -> ! {
    signal(std::process::id(), signal_number);
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn a_sigkill_costs_one_item(method: StartMethod) {
    fn kill(n: u32) -> u32 {
        if n == VICTIM {
            die_of(libc::SIGKILL);
        }
        n + 1
    }
    check(method, kill, &[ProcessEnd::Signaled(libc::SIGKILL)]);
}

fn a_sigterm_costs_one_item(method: StartMethod) {
    fn terminate(n: u32) -> u32 {
        if n == VICTIM {
            die_of(libc::SIGTERM);
        }
        n + 1
    }
    check(method, terminate, &[ProcessEnd::Signaled(libc::SIGTERM)]);
}

fn every_item_dies(method: StartMethod) {
    fn die(n: u32) -> u32 {
        std::process::exit(n as i32)
    }
    let pool = pool(method, 2);
    let outcomes = pool
        .map(0..60, die)
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let ended = lost(outcome.unwrap_err().kind()).ended;
        assert_eq!(ended, ProcessEnd::Exited(n as i32));
    }
    assert_eq!(pool.stats().replaced, 60);
}

fn a_signal_while_idle_costs_nothing(method: StartMethod) {
    let pool = pool(method, 2);
    for number in [libc::SIGTERM, libc::SIGKILL] {
        let before = pool.stats().replaced;
        let workers = warm_up(&pool, 2);
        for worker in &workers {
            signal(worker.pid, number);
        }
        eventually("both were replaced", || {
            (pool.stats().replaced == before + 2).then_some(())
        });
        let results: Vec<u32> = pool.map(0..100, |n: u32| n).collect().unwrap();
        assert_eq!(results.len(), 100);
    }
    assert_eq!(pool.stats().lost, 0);
}

/// Dies when it is decoded (1) or encoded (2) in a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Deadly(u32, u32);

impl Serialize for Deadly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 2 && self.1 == VICTIM {
            std::process::exit(22);
        }
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (when, n) = <(u32, u32)>::deserialize(deserializer)?;
        if when == 1 && n == VICTIM {
            std::process::exit(11);
        }
        Ok(Self(when, n))
    }
}

#[track_caller]
fn check_deadly(pool: &ProcessPool, items: Vec<Deadly>, f: fn(Deadly) -> Deadly, code: i32) {
    let outcomes = pool
        .map(items, f)
        .chunk_size(20)
        .on_error(ErrorPolicy::Collect);
    for (n, outcome) in outcomes.outcomes().unwrap().into_iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(n as u32, VICTIM),
            Err(error) => {
                assert_eq!(n as u32, VICTIM, "{error}");
                assert_eq!(lost(error.kind()).ended, ProcessEnd::Exited(code));
            }
        }
    }
}

fn dying_while_decoding(method: StartMethod) {
    let items = (0..100).map(|n| Deadly(1, n)).collect();
    check_deadly(&pool(method, 2), items, |deadly| Deadly(0, deadly.1), 11);
}

fn dying_while_encoding(method: StartMethod) {
    let items = (0..100).map(|n| Deadly(0, n)).collect();
    check_deadly(&pool(method, 2), items, |deadly| Deadly(2, deadly.1), 22);
}

fn dying_in_the_context(method: StartMethod) {
    let pool = pool(method, 1);
    let outcomes = pool
        .context(Deadly(1, VICTIM))
        .map(0..5_u32, |_, n| n)
        .chunk_size(5)
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    for outcome in outcomes {
        let ended = lost(outcome.unwrap_err().kind()).ended;
        assert_eq!(ended, ProcessEnd::Exited(11));
    }
}

fn dying_in_an_exit_hook(method: StartMethod) {
    let pool = pool(method, 1);
    let results: Vec<u32> = pool
        .init(|| ())
        .on_exit(|()| std::process::exit(3))
        .map(0..10_u32, |(), n| n)
        .collect()
        .unwrap();
    assert_eq!(results.len(), 10);
    eventually("the hook was noticed", || {
        (pool.stats().replaced == 1).then_some(())
    });
    assert_eq!(pool.stats().lost, 0);
    assert_eq!(pool.submit(1, |n: u32| n).join().unwrap(), 1);
}

/// A death is not noticed by the end of a pipe: here a copy of the worker in a session of its
/// own holds every descriptor that the worker had, and lives on.
fn a_grandchild_that_holds_descriptors(method: StartMethod) {
    let pool = pool(method, 1);
    let scratch = Scratch::new();
    let path = scratch.file("grandchild");
    let handle = pool.submit(path.clone(), |path| {
        leave_a_grandchild(&path);
        std::process::exit(5)
    });
    let handle: taskfarm_core::Handle<'_, ()> = handle;
    let error = handle.join().unwrap_err();
    let grandchild: u32 = lines(&path)[0].parse().unwrap();
    assert!(is_alive(grandchild));
    assert_eq!(lost(error.kind()).ended, ProcessEnd::Exited(5));
    assert_eq!(pool.submit(1, |n: u32| n).join().unwrap(), 1);
    drop(pool);
    assert!(is_alive(grandchild));
    signal(grandchild, libc::SIGKILL);
}

fn all_workers_at_the_same_instant(method: StartMethod) {
    let pool = pool(method, 4);
    let handles: Vec<_> = (0..4)
        .map(|n| {
            pool.submit(n, |n: u32| {
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                    if n > 100 {
                        return n;
                    }
                }
            })
        })
        .collect();
    let later: Vec<_> = (0..100).map(|n| pool.submit(n, |n: u32| n)).collect();
    let workers = eventually("four workers are busy", || {
        let workers = pool.workers();
        let busy = workers
            .iter()
            .filter(|worker| worker.item.is_some())
            .count();
        (busy == 4).then_some(workers)
    });
    for worker in &workers {
        signal(worker.pid, libc::SIGKILL);
    }
    let mut pids = Vec::new();
    for handle in handles {
        let lost = lost(handle.join().unwrap_err().kind());
        assert_eq!(lost.ended, ProcessEnd::Signaled(libc::SIGKILL));
        pids.push(lost.pid);
    }
    let mut killed: Vec<u32> = workers.iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    killed.sort_unstable();
    assert_eq!(pids, killed, "each was in an item of its own");
    for (n, handle) in later.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u32);
    }
    eventually("full strength", || {
        (pool.workers().len() == 4).then_some(())
    });
    assert_eq!(pool.stats().replaced, 4);
}

fn a_stopped_worker_can_be_killed(method: StartMethod) {
    let pool = pool(method, 1);
    let handle = pool.submit(1, |n: u32| {
        signal(std::process::id(), libc::SIGSTOP);
        n
    });
    let worker = worker_at(&pool, 0);
    signal(worker.pid, libc::SIGKILL);
    let lost = lost(handle.join().unwrap_err().kind());
    assert_eq!(lost.ended, ProcessEnd::Signaled(libc::SIGKILL));
}

fn retries_run_the_item_elsewhere(method: StartMethod) {
    let pool = pool(method, 2);
    let directory = std::env::temp_dir().join(format!("taskfarm-retry-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let items: Vec<(String, u32)> = (0..50)
        .map(|n| (directory.to_str().unwrap().to_owned(), n))
        .collect();
    let results: Vec<u32> = pool
        .map(items, |(directory, n)| {
            let mark = format!("{directory}/{n}");
            if n % 10 == 0 && !std::path::Path::new(&mark).exists() {
                std::fs::write(mark, "").unwrap();
                std::process::abort();
            }
            n
        })
        .retries(1)
        .collect()
        .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(results, (0..50).collect::<Vec<_>>());
    assert_eq!(pool.stats().replaced, 5);
}

fn the_zygote_itself_is_killed(method: StartMethod) {
    if method != StartMethod::Zygote {
        return;
    }
    let pool = pool(method, 2);
    let workers = warm_up(&pool, 2);
    let zygote = crate::support::children();
    assert_eq!(zygote.len(), 1);
    signal(zygote[0], libc::SIGKILL);
    eventually("the workers went along", || {
        workers
            .iter()
            .all(|worker| !is_alive(worker.pid))
            .then_some(())
    });
    let results: Vec<u32> = pool.map(0..1000, |n: u32| n).collect().unwrap();
    assert_eq!(results.len(), 1000);
}

fn nothing_runs_twice_whoever_dies(method: StartMethod) {
    let directory = std::env::temp_dir().join(format!("taskfarm-once-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let pool = pool(method, 2);
    let items: Vec<(String, u32)> = (0..400)
        .map(|n| (directory.to_str().unwrap().to_owned(), n))
        .collect();
    let outcomes = pool
        .map(items, |(directory, n)| {
            // Fails if the item has been here before.
            std::fs::File::create_new(format!("{directory}/{n}")).unwrap();
            if n % 7 == 3 {
                std::process::exit(1);
            }
            n
        })
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    let made = std::fs::read_dir(&directory).unwrap().count();
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(made, 400, "each item ran");
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(result) => assert!(result == n as u32 && n % 7 != 3),
            Err(error) => assert_eq!(lost(error.kind()).ended, ProcessEnd::Exited(1)),
        }
    }
    idle_workers(&pool, 2);
}

fn a_worker_out_of_memory_says_so(method: StartMethod) {
    let pool = builder(method, 1).memory_limit(256 << 20).build().unwrap();
    let handle = pool.submit(1_usize, |mut len: usize| {
        let mut hoard = Vec::new();
        loop {
            hoard.push(vec![1_u8; 1 << 20]);
            len += hoard.len();
            if len == 0 {
                return hoard.len();
            }
        }
    });
    let lost = lost(handle.join().unwrap_err().kind());
    assert_eq!(lost.ended, ProcessEnd::MemoryLimit);
    let handle = pool.submit(1 << 20, |len: usize| vec![1_u8; len].len());
    assert_eq!(handle.join().unwrap(), 1 << 20);
}
