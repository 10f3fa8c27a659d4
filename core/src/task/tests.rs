use std::time::Duration;

use super::*;
use crate::{Handle, When, wait};

/// Each wait whose time ran out left its waiter on the task's list.
#[test]
fn waits_that_time_out_leave_nothing_on_the_task() {
    let task = Arc::new(Task::new(0, || Ok::<_, ()>(1)));
    let mut handle = Handle::new(task.clone());
    for _ in 0..100 {
        assert!(
            wait(
                std::slice::from_ref(&handle),
                When::All,
                Some(Duration::ZERO)
            )
            .is_empty()
        );
        handle = handle.join_timeout(Duration::ZERO).unwrap_err();
    }
    let num_watchers = task.head.side.lock().watchers.len();
    assert!(num_watchers <= 8, "{num_watchers} watchers are left");
    task.run();
    assert_eq!(handle.join().unwrap(), 1);
}
