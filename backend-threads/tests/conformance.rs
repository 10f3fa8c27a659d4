//! The conformance kit over the thread pool.

use taskfarm_core::conformance::Subject;
use taskfarm_core::{BuildError, InProcess};
use taskfarm_threads::ThreadPool;

fn subject(num_workers: usize) -> Subject<InProcess> {
    let make = |num_workers| -> Result<ThreadPool, BuildError> { ThreadPool::new(num_workers) };
    Subject::new(make).workers(num_workers)
}

mod one_worker {
    taskfarm_core::conformance!(super::subject(1));
}

mod two_workers {
    taskfarm_core::conformance!(super::subject(2));
}

mod four_workers {
    taskfarm_core::conformance!(super::subject(4));
}
