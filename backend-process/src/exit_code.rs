//! The codes that children exit with when they cannot be what their pool wants them to be.
//!
//! They mean something only before the hello: a task may exit with any code.

use taskfarm_core::ProcessEnd;

/// A zygote could not even say why.
pub(crate) const NO_ZYGOTE: i32 = 118;
/// Not the same executable.
pub(crate) const OTHER_PROGRAM: i32 = 119;
/// A worker could not set up its lane.
pub(crate) const NO_LANE: i32 = 120;
/// A worker found its messages to be nonsense, or its bell gone.
pub(crate) const BROKEN: i32 = 121;

/// What such an end means, before the hello.
pub(crate) fn explain(ended: ProcessEnd) -> Option<&'static str> {
    match ended {
        ProcessEnd::Exited(NO_ZYGOTE) => Some("it may not open enough descriptors"),
        ProcessEnd::Exited(OTHER_PROGRAM) => Some("it is another program than this one"),
        ProcessEnd::Exited(NO_LANE) => Some(
            "it could not map the memory that it shares with this process, or open enough \
             descriptors",
        ),
        _ => None,
    }
}
