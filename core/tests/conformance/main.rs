//! The conformance kit over the executors of this crate.

mod inline {
    use taskfarm_core::InlineExecutor;
    use taskfarm_core::conformance::Subject;

    taskfarm_core::conformance!(Subject::new(|_| Ok(InlineExecutor::new())).runs_on_caller());
}
