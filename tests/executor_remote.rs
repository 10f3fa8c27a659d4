//! The conformance kit over the executor of `examples/executor_remote.rs`: its `main` runs
//! the kit, and is also that of its workers.

#[path = "../examples/executor_remote.rs"]
mod example;

use std::process::ExitCode;

fn main() -> ExitCode {
    example::main()
}
