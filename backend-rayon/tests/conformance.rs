//! The conformance kit over the Rayon pool.

use taskfarm_core::InProcess;
use taskfarm_core::conformance::Subject;
use taskfarm_rayon::RayonPool;

fn subject(num_workers: usize) -> Subject<InProcess> {
    Subject::new(RayonPool::new).workers(num_workers)
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
