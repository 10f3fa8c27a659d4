//! Tasks that print, close descriptors, fork and start processes.

use std::process::Command;
use std::time::Duration;

use taskfarm_core::{ErrorPolicy, SameBinaryExt, TaskErrorKind};
use taskfarm_process::StartMethod;

use crate::Case;
use crate::support::{builder, eventually, is_alive, pool, worker_at};

pub(crate) const CASES: &[Case] = &[
    (
        "hostile::printing_disturbs_nothing",
        printing_disturbs_nothing,
    ),
    (
        "hostile::closing_the_standard_descriptors_disturbs_nothing",
        closing_standard_descriptors,
    ),
    (
        "hostile::closing_every_descriptor_costs_at_most_its_worker",
        closing_every_descriptor,
    ),
    (
        "hostile::subprocesses_disturb_nothing",
        subprocesses_disturb_nothing,
    ),
    ("hostile::forks_disturb_nothing", forks_disturb_nothing),
    (
        "hostile::a_fork_that_comes_back_disturbs_nothing",
        a_fork_that_comes_back,
    ),
    (
        "hostile::grandchildren_die_with_a_killed_worker",
        grandchildren_die,
    ),
    ("hostile::standard_input_is_empty", standard_input_is_empty),
    (
        "hostile::a_changed_panic_hook_disturbs_nothing",
        a_changed_panic_hook,
    ),
    (
        "hostile::threads_of_tasks_disturb_nothing",
        threads_of_tasks,
    ),
    ("hostile::the_marker_is_gone_in_workers", the_marker_is_gone),
];

fn printing_disturbs_nothing(method: StartMethod) {
    let pool = pool(method, 2);
    let results: Vec<u32> = pool
        .map(0..500, |n| {
            println!("task {n} says something");
            eprintln!("and complains");
            n
        })
        .collect()
        .unwrap();
    assert_eq!(results, (0..500).collect::<Vec<_>>());
}

fn closing_standard_descriptors(method: StartMethod) {
    let pool = pool(method, 1);
    let results: Vec<u32> = pool
        .map(0..50, |n| {
            for descriptor in 0..3 {
                // SAFETY: nothing here owns them.
                unsafe { libc::close(descriptor) };
            }
            n
        })
        .chunk_size(5)
        .collect()
        .unwrap();
    assert_eq!(results.len(), 50);
    assert_eq!(pool.stats().replaced, 0);
}

fn closing_every_descriptor(method: StartMethod) {
    let pool = pool(method, 2);
    let outcomes = pool
        .map(0..50, |n: u32| {
            if n == 20 {
                // SAFETY: a rude task, which owns none of them.
                unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
            }
            n
        })
        .chunk_size(10)
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    assert!(
        outcomes.iter().all(Result::is_ok),
        "the results were in the shared memory"
    );
    let more: Vec<u32> = pool.map(0..50, |n: u32| n).collect().unwrap();
    assert_eq!(more.len(), 50);
}

fn subprocesses_disturb_nothing(method: StartMethod) {
    let pool = pool(method, 2);
    let results: Vec<String> = pool
        .map(0..20_u32, |n| {
            let output = Command::new("echo").arg(n.to_string()).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        })
        .collect()
        .unwrap();
    assert_eq!(results, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

fn forks_disturb_nothing(method: StartMethod) {
    let pool = pool(method, 2);
    let results: Vec<i32> = pool
        .map(0..20, |n: i32| {
            // SAFETY: the worker has one thread; the child ends at once.
            match unsafe { libc::fork() } {
                // SAFETY: ends the child.
                0 => unsafe { libc::_exit(n) },
                pid => {
                    let mut status = 0;
                    // SAFETY: the pointer is to this frame.
                    unsafe { libc::waitpid(pid, &raw mut status, 0) };
                    libc::WEXITSTATUS(status)
                }
            }
        })
        .collect()
        .unwrap();
    assert_eq!(results, (0..20).collect::<Vec<_>>());
}

fn a_fork_that_comes_back(method: StartMethod) {
    let pool = pool(method, 1);
    let results: Vec<i32> = pool
        .map(0..20, |n: i32| {
            if n == 5 {
                // SAFETY: the worker has one thread.
                unsafe { libc::fork() };
            }
            n
        })
        .chunk_size(10)
        .collect()
        .unwrap();
    assert_eq!(results, (0..20).collect::<Vec<_>>());
    assert_eq!(pool.submit(1, |n: i32| n).join().unwrap(), 1);
}

fn grandchildren_die(method: StartMethod) {
    let pool = pool(method, 1);
    let path = std::env::temp_dir().join(format!("taskfarm-grand-{}", std::process::id()));
    let handle = pool.submit(path.clone(), |path| {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        std::fs::write(path, child.id().to_string()).unwrap();
        child.wait().unwrap();
    });
    let grandchild: u32 = eventually("the grandchild runs", || {
        std::fs::read_to_string(&path).ok()?.parse().ok()
    });
    std::fs::remove_file(&path).unwrap();
    worker_at(&pool, 0);
    handle.cancel();
    eventually("the grandchild is dead", || {
        (!is_alive(grandchild)).then_some(())
    });
}

fn standard_input_is_empty(method: StartMethod) {
    let pool = pool(method, 1);
    let read = pool.submit((), |()| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).unwrap()
    });
    assert_eq!(read.join().unwrap(), 0);
}

fn a_changed_panic_hook(method: StartMethod) {
    let pool = pool(method, 1);
    let handle = pool.submit(1, |n: u32| {
        std::panic::set_hook(Box::new(|_| println!("a hook of the task")));
        match n {
            1 => panic!("caught all the same"),
            n => n,
        }
    });
    let error = handle.join().unwrap_err();
    let TaskErrorKind::Panicked(panic) = error.kind() else {
        panic!("{error}");
    };
    assert_eq!(panic.message(), "caught all the same");
}

fn threads_of_tasks(method: StartMethod) {
    let pool = pool(method, 2);
    let results: Vec<u32> = pool
        .map(0..100, |n| {
            std::thread::spawn(|| std::thread::sleep(Duration::from_millis(20)));
            std::thread::spawn(move || n + 1).join().unwrap()
        })
        .collect()
        .unwrap();
    assert_eq!(results, (1..=100).collect::<Vec<_>>());
}

fn the_marker_is_gone(method: StartMethod) {
    let pool = builder(method, 1).build().unwrap();
    let names = pool.submit((), |()| {
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with("TASKFARM_PROCESS"))
            .collect::<Vec<String>>()
    });
    assert_eq!(names.join().unwrap(), Vec::<String>::new());
}
