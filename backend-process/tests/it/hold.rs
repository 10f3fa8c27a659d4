//! [`Hold`]: stops children of a pool before they say hello, so that they can be killed
//! there.
//!
//! Whatever becomes a zygote or a worker passes one of two places of this file long before
//! its hello: a constructor if it is executed, a handler of `fork` if it is forked. There it
//! looks for a pass of its kind; who finds one takes it, leaves its pid, and waits for its
//! end or its release.

use std::fs;
use std::time::Duration;

use crate::scratch::{Scratch, append, lines};
use crate::support::eventually;

/// The variable that leads children to the directory.
const VARIABLE: &str = "TASKFARM_IT_HOLD";
const MAX_PASSES: u32 = 16;

/// How a process comes into being.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Birth {
    Executed,
    Forked,
}

impl Birth {
    fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Forked => "forked",
        }
    }
}

/// See the [module](self).
pub(crate) struct Hold<'a>(&'a Scratch);

impl<'a> Hold<'a> {
    /// Before any pool is built, while this process has one thread.
    pub(crate) fn new(scratch: &'a Scratch) -> Self {
        // SAFETY: no other thread can read the environment meanwhile.
        unsafe { std::env::set_var(VARIABLE, scratch.file("hold")) };
        Self(scratch)
    }

    /// Has the next children of this kind held, as many as said.
    pub(crate) fn next_ones(&self, birth: Birth, number: u32) {
        assert!(number <= MAX_PASSES);
        for nth in 0..number {
            let name = format!("hold-{}-{nth}", birth.name());
            fs::write(self.0.file(&name), "").unwrap();
        }
    }

    /// Waits for the nth child that is held.
    pub(crate) fn nth(&self, nth: usize) -> u32 {
        let held = self.0.file("hold");
        eventually("a child is held before its hello", || {
            lines(&held).get(nth).map(|pid| pid.parse().unwrap())
        })
    }

    /// Lets those go on that are held, now or later.
    pub(crate) fn release(&self) {
        fs::write(self.0.file("hold-released"), "").unwrap();
    }
}

fn wait_if_held(birth: Birth) {
    let Some(directory) = std::env::var_os(VARIABLE).and_then(|path| path.into_string().ok())
    else {
        return;
    };
    let mut passes = (0..MAX_PASSES).map(|nth| format!("{directory}-{}-{nth}", birth.name()));
    if passes.any(|pass| fs::remove_file(pass).is_ok()) {
        append(&directory, std::process::id());
        while fs::metadata(format!("{directory}-released")).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs before `main` in every process of this program.
#[used]
// SAFETY: the section holds pointers to functions that the loader calls once each.
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    // SAFETY: the handler lives as long as the program.
    unsafe { libc::pthread_atfork(None, None, Some(in_forked_child)) };
    wait_if_held(Birth::Executed);
}

unsafe extern "C" fn in_forked_child() {
    wait_if_held(Birth::Forked);
}
