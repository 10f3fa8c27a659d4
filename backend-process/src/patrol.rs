//! [`Patrol`]: has the I/O thread look at workers that may not be able to speak.
//!
//! Callers send messages to idle workers without waking the I/O thread, which may sleep
//! without a time limit: the worker's own bell wakes it. A worker that does not run (it was
//! stopped, or an exit hook hangs) never rings, so a timer does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::driver::{Nanos, nanos};

/// How long after a message was sent the I/O thread looks at the latest.
const AFTER: Duration = Duration::from_millis(50);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Patrol {
    timer: OwnedFd,
    /// Until when another order need not set the timer, which is set for later than now.
    set_until: AtomicU64,
}

impl Patrol {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC.union(TimerfdFlags::NONBLOCK);
        Ok(Self {
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            set_until: AtomicU64::new(0),
        })
    }

    /// Readable when it is time.
    pub(crate) fn timer(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Has the timer go off in a while, or a little earlier if it is set already.
    pub(crate) fn order(&self, now: Nanos) {
        let after = nanos(AFTER);
        if self.set_until.load(Ordering::Relaxed) > now {
            return;
        }
        self.set_until.store(now + after / 2, Ordering::Relaxed);
        let timespec = |nanos: Nanos| Timespec {
            tv_sec: 0,
            tv_nsec: nanos as _,
        };
        let setting = Itimerspec {
            it_interval: timespec(0),
            it_value: timespec(after),
        };
        // An error could only mean that the arguments are wrong.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting);
    }

    /// Takes the timer's word that it is time.
    pub(crate) fn quiet(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut count);
    }
}
