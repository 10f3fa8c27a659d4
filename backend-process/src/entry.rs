//! The entry: how a fresh copy of the program becomes a worker instead of running `main`.
//!
//! A pool starts its own executable with a marker in the environment and a socket as
//! descriptor 0. The entry acts only when everything agrees: the program runs with no more
//! rights than its user, the marker is there (it is removed at once, so that nobody
//! inherits it) and was meant for this version of this crate, of which a program may hold
//! two, descriptor 0 is a packet socket, and the first packet on it is a hello
//! of this version from a pool of the same executable. Otherwise the program goes on as
//! usual.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::control::{Control, Hello, Refusal};
use crate::exit_code;
use crate::image;
use crate::lane::WorkerEnd;
use crate::sys::{self, Wait};
use crate::worker::{self, WorkerSettings};
use crate::zygote;

/// The marker's name; the number is that of the protocol.
const MARKER: &CStr = c"TASKFARM_PROCESS_CHILD_1";

/// How long a child waits for the first packet.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How many pools lie above this process.
static DEPTH: AtomicU32 = AtomicU32::new(0);

/// Turns this process into a worker, if a pool has started it to become one; otherwise it
/// does nothing.
///
/// With the default feature `entry` this happens by itself, before `main`. Without it,
/// call this function first thing in `main`: everything before it would run in every
/// worker, too.
///
/// # Examples
///
/// ```
/// // First thing in `main`:
/// taskfarm_process::init();
/// ```
pub fn init() {
    enter_if_asked(|| {});
}

/// What the environment of a child gets: name and value. The value is where the anchor lies:
/// another version of this crate in the same executable has another one.
pub(crate) fn marker() -> (&'static str, String) {
    let [_, anchor] = image::identity();
    (MARKER.to_str().unwrap_or_default(), anchor.to_string())
}

fn is_own_marker(value: &CStr) -> bool {
    value.to_bytes() == marker().1.as_bytes()
}

/// Whether this process was started to become a worker, and nobody has called the entry:
/// it must not open pools of its own, or each of their children would do so again.
pub(crate) fn is_stray_child() -> bool {
    std::env::var_os(marker().0).is_some()
}

/// How many pools lie above this process.
pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed)
}

/// Notes how many pools lie above this process.
pub(crate) fn set_depth(depth: u32) {
    DEPTH.store(depth, Ordering::Relaxed);
}

/// `run_constructors` runs what should have happened before `main`.
pub(crate) fn enter_if_asked(run_constructors: impl FnOnce()) {
    if sys::is_privileged() || !sys::take_env_if(MARKER, is_own_marker) {
        return;
    }
    if !sys::is_packet_socket(rustix::stdio::stdin()) {
        return;
    }
    // Before descriptors come along with the hello.
    if sys::fill_standard_descriptors().is_err() {
        return;
    }
    let Some((hello, descriptors)) = receive_hello() else {
        return;
    };
    if hello.identity != image::identity() {
        let refused = Control::Refused(Refusal::OtherProgram);
        let _ = refused.send(rustix::stdio::stdin(), &[]);
        sys::exit_now(exit_code::OTHER_PROGRAM);
    }
    run_constructors();
    sys::ignore_broken_pipes();
    set_depth(hello.depth);
    let settings = WorkerSettings {
        memory_limit: Some(hello.memory_limit).filter(|limit| *limit != 0),
        silent: hello.silent,
    };
    if hello.is_worker {
        match WorkerEnd::from_descriptors(descriptors) {
            Some(end) => worker::run(end, hello.pool, settings),
            None => sys::exit_now(exit_code::NO_LANE),
        }
    }
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) else {
        sys::exit_now(exit_code::NO_ZYGOTE);
    };
    zygote::run(socket, hello.pool, settings)
}

fn receive_hello() -> Option<(Hello, Vec<OwnedFd>)> {
    let socket = rustix::stdio::stdin();
    let socket = socket.as_fd();
    if sys::wait_readable(&[socket], Some(HELLO_TIMEOUT)).ok()? == Wait::TimedOut {
        return None;
    }
    match Control::receive(socket, false) {
        Ok(Some((Control::Hello(hello), descriptors))) => Some((hello, descriptors)),
        _ => None,
    }
}

#[cfg(feature = "entry")]
pub(crate) mod constructor {
    //! The entry that runs before `main`.

    use std::ffi::{c_char, c_int};

    use super::enter_if_asked;
    use crate::sys;

    /// The address in the table of constructors.
    ///
    /// It is part of every program that opens a pool, because the builder names it.
    #[used]
    // SAFETY: the section holds pointers to functions of this type, and the loader calls
    // them once each, on one thread.
    #[unsafe(link_section = ".init_array")]
    pub(crate) static CONSTRUCTOR: extern "C" fn(
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) = construct;

    extern "C" fn construct(
        num_arguments: c_int,
        arguments: *const *const c_char,
        environment: *const *const c_char,
    ) {
        enter_if_asked(|| {
            sys::run_constructors_after(construct, num_arguments, arguments, environment);
        });
    }
}
