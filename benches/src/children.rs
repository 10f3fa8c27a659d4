//! This program once more, as a child between two pipes: what the rivals written here are
//! made of.

use std::io;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::process_tasks;

/// Names what the child is to do.
const TASK_VAR: &str = "TASKFARM_BENCHES_TASK";

/// Starts a child that serves `task`: see [`process_tasks::serve`].
pub(crate) fn start(task: &str) -> io::Result<(Child, ChildStdin, ChildStdout)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(TASK_VAR, task);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
        return Err(io::Error::other("a child without pipes"));
    };
    Ok((child, stdin, stdout))
}

/// In a child, serves until the parent closes its pipe, and then says so. To be called first
/// in `main`.
pub fn serve_if_child() -> bool {
    let Ok(task) = std::env::var(TASK_VAR) else {
        return false;
    };
    process_tasks::serve(&task).expect("the parent closes its pipe between frames");
    true
}
