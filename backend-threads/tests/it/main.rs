//! The pool through its public interface.
#![cfg(not(taskfarm_loom))]

mod small;

use std::time::Duration;

use taskfarm_core::{Executor, Shutdown};
use taskfarm_threads::{ThreadPool, ThreadPoolBuilder};

fn message(builder: ThreadPoolBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn options_out_of_range_are_named() {
    let build = ThreadPool::builder;
    assert!(message(build().num_workers(0)).starts_with("num_workers is 0"));
    assert!(message(build().num_workers(1 << 16)).contains("at most 65535"));
    assert!(message(build().stack_size(0)).starts_with("stack_size is 0"));
    assert!(message(build().stack_size(usize::MAX)).contains("at most"));
    assert!(message(build().name("a\0b")).starts_with("name is \"a\\0b\""));
}

#[test]
fn the_builder_hands_its_options_on() {
    let pool = ThreadPool::builder()
        .num_workers(3)
        .name("mine")
        .build()
        .unwrap();
    assert_eq!(pool.parallelism().get(), 3);
    assert_eq!(pool.id().name(), "mine");
}

#[test]
fn an_unused_pool_has_no_threads_and_ends_at_once() {
    for how in [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Abort] {
        let pool = ThreadPool::new(64).unwrap();
        assert_eq!(pool.num_threads(), 0);
        pool.shutdown(how);
        pool.shutdown(how);
        assert!(pool.shutdown_timeout(how, Duration::ZERO));
    }
}
