//! [`BarePipe`]: a child that sends each byte back, the least that a task elsewhere can cost.

use std::io::{self, Read, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout};

use crate::children;

pub(crate) struct BarePipe {
    child: Child,
    /// `None` once the child is told to leave.
    to: Option<ChildStdin>,
    from: ChildStdout,
}

impl BarePipe {
    /// The name of the task that the child serves.
    pub(crate) const TASK: &str = "bare pipe";

    pub(crate) fn new() -> io::Result<Self> {
        let (child, to, from) = children::start(Self::TASK)?;
        let to = Some(to);
        Ok(Self { child, to, from })
    }

    /// Sends a byte there and back.
    pub(crate) fn round_trip(&mut self) -> io::Result<u8> {
        let mut byte = [7];
        let to = self.to.as_mut().expect("only `drop` takes it");
        to.write_all(&byte)?;
        self.from.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// What the child does.
    pub(crate) fn serve() -> io::Result<()> {
        let (mut from, mut to) = (stdin().lock(), stdout().lock());
        let mut byte = [0];
        while from.read(&mut byte)? > 0 {
            to.write_all(&byte)?;
            to.flush()?;
        }
        Ok(())
    }
}

impl Drop for BarePipe {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}
