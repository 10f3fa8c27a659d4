//! The conformance kit over the executors of this crate.

mod thread_per_job;

mod inline {
    use taskfarm_core::InlineExecutor;
    use taskfarm_core::conformance::Subject;

    taskfarm_core::conformance!(Subject::new(|_| Ok(InlineExecutor::new())).runs_on_caller());
}

mod one_thread {
    use super::thread_per_job::ThreadPerJob;
    use taskfarm_core::conformance::Subject;

    taskfarm_core::conformance!(Subject::new(ThreadPerJob::new).workers(1));
}

mod three_threads {
    use super::thread_per_job::ThreadPerJob;
    use taskfarm_core::conformance::Subject;

    taskfarm_core::conformance!(Subject::new(ThreadPerJob::new).workers(3));
}
