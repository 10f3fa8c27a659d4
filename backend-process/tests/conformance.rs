//! The conformance kit over the process pool.

use taskfarm_core::SameBinary;
use taskfarm_core::conformance::Subject;
use taskfarm_process::ProcessPool;

fn subject(num_workers: usize) -> Subject<SameBinary> {
    Subject::new(ProcessPool::new).workers(num_workers)
}

mod one_worker {
    taskfarm_core::conformance!(super::subject(1));
}

mod two_workers {
    taskfarm_core::conformance!(super::subject(2));
}
