//! The conformance kit over the process pool, for each start method and with one worker too.
//!
//! `harness = false`: the usual harness runs tests on threads, and a process with threads
//! cannot use [`StartMethod::Fork`]. (That the pool works under the usual harness, too, is
//! shown by `tests/harness.rs`.)

use std::process::ExitCode;

use taskfarm_core::SameBinary;
use taskfarm_core::conformance::{self, Subject};
use taskfarm_process::{ProcessPool, StartMethod};

fn subject(method: StartMethod, num_workers: usize) -> Subject<SameBinary> {
    let make = move |num_workers| {
        let builder = ProcessPool::builder().start(method);
        builder.num_workers(num_workers).build()
    };
    Subject::new(make).workers(num_workers)
}

fn main() -> ExitCode {
    use StartMethod::{Exec, Fork, Zygote};
    conformance::main(&[
        subject(Zygote, 1).named("zygote::one_worker"),
        subject(Zygote, 2).named("zygote::two_workers"),
        subject(Exec, 1).named("exec::one_worker"),
        subject(Exec, 2).named("exec::two_workers"),
        subject(Fork, 1)
            .named("fork::one_worker")
            .opens_on_one_thread(),
        subject(Fork, 2)
            .named("fork::two_workers")
            .opens_on_one_thread(),
    ])
}
