//! The zygote: a small process with one thread that forks workers and reaps them.
//!
//! It is the program itself, stopped before `main`. It never runs user code, so a fork of
//! it is cheap and clean: no other thread, no lock held, no memory of the pool's process.
//! It ends with its pool, however that ends, and takes the workers along.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::process::{
    PidfdFlags, WaitOptions, getpid, getppid, pidfd_open, set_child_subreaper, setpgid, waitpid,
};

use taskfarm_core::ProcessEnd;

use crate::control::{Control, Refusal};
use crate::exit_code;
use crate::lane::WorkerEnd;
use crate::sys::{self, Fork};
use crate::worker::{self, WorkerSettings};

/// How long nothing must have happened before a worker is forked that stands by: the one that
/// takes a dead one's place needs the CPUs first.
const CALM: Duration = Duration::from_millis(5);

/// Turns this process, started by `pool`, into a zygote. Never returns.
pub(crate) fn run(socket: OwnedFd, pool: u32, settings: WorkerSettings) -> ! {
    let Ok(socket) = sys::close_all_but(vec![socket]).map(|mut kept| kept.remove(0)) else {
        sys::exit_now(exit_code::NO_ZYGOTE);
    };
    let started = watch(pool).and_then(|(pool, children)| {
        Control::Agreed.send(socket.as_fd(), &[])?;
        Ok((pool, children))
    });
    match started {
        Ok((pool, children)) => Zygote {
            socket,
            pool,
            children,
            workers: HashSet::new(),
            standby: None,
            wants_standby: false,
            settings,
        }
        .serve(),
        Err(why) => {
            let _ = Control::Refused(why).send(socket.as_fd(), &[]);
            sys::exit_now(exit_code::NO_ZYGOTE)
        }
    }
}

/// Makes this process a zygote; gives what tells of the pool's end and of children's.
fn watch(pool: u32) -> Result<(OwnedFd, OwnedFd), Refusal> {
    if sys::num_threads()? > 1 {
        return Err(Refusal::HasThreads);
    }
    let _ = setpgid(None, None);
    let _ = rustix::thread::set_name(c"taskfarm-zygote");
    sys::fill_standard_descriptors()?;
    let null = std::fs::File::open("/dev/null")?;
    let _ = rustix::stdio::dup2_stdin(&null);
    let pool_pid = sys::to_pid(pool).ok_or(std::io::ErrorKind::InvalidInput)?;
    let pool = pidfd_open(pool_pid, PidfdFlags::empty())?;
    if getppid() != Some(pool_pid) {
        // It died before it could be watched.
        sys::exit_now(0);
    }
    // Grandchildren of dead workers come here, to be reaped.
    let _ = set_child_subreaper(Some(getpid()));
    Ok((pool, sys::watch_children()?))
}

struct Zygote {
    socket: OwnedFd,
    /// Readable when the pool's process is dead.
    pool: OwnedFd,
    /// Readable when a child has ended.
    children: OwnedFd,
    workers: HashSet<u32>,
    /// A worker without a lane, for the place of the next one that dies.
    standby: Option<Standby>,
    /// Whether workers die here, so that one should stand by.
    wants_standby: bool,
    settings: WorkerSettings,
}

struct Standby {
    pid: u32,
    /// Where it waits for its lane.
    socket: OwnedFd,
}

impl Zygote {
    fn serve(mut self) -> ! {
        loop {
            let watched = [
                self.socket.as_fd(),
                self.pool.as_fd(),
                self.children.as_fd(),
            ];
            let is_missing = self.wants_standby && self.standby.is_none();
            let waited = sys::wait_readable(&watched, is_missing.then_some(CALM));
            if matches!(waited, Ok(sys::Wait::TimedOut)) {
                self.wants_standby = self.prepare().is_ok();
            }
            if waited.is_err() || self.pool_is_dead() {
                self.leave();
            }
            self.reap();
            self.read_packets();
        }
    }

    fn pool_is_dead(&self) -> bool {
        let none = Some(Duration::ZERO);
        matches!(
            sys::wait_readable(&[self.pool.as_fd()], none),
            Ok(sys::Wait::Ready)
        )
    }

    fn read_packets(&mut self) {
        loop {
            match Control::receive(self.socket.as_fd(), false) {
                Ok(Some((Control::Fork { lane }, descriptors))) => self.fork(lane, descriptors),
                // Not reaped yet if it is here, so the number is its own.
                Ok(Some((Control::Kill { pid }, _))) if self.workers.contains(&pid) => {
                    sys::kill_group(pid);
                }
                Ok(Some((Control::Kill { .. }, _))) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(Some(_)) | Ok(None) | Err(_) => self.leave(),
            }
        }
    }

    fn fork(&mut self, lane: u64, descriptors: Vec<OwnedFd>) {
        if let Some(Standby { pid, socket }) = self.standby.take() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            let sent = Control::Fork { lane }.send(socket.as_fd(), &borrowed);
            if sent.is_ok() {
                return self.announce(lane, pid);
            }
            // It has been killed; to be reaped as any other child.
        }
        let Some(end) = WorkerEnd::from_descriptors(descriptors) else {
            self.leave();
        };
        match fork_worker(|zygote| worker::run(end, zygote, self.settings)) {
            Ok(pid) => self.announce(lane, pid),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                self.tell(Control::NotForked { lane, errno }, &[]);
            }
        }
    }

    /// Forks a worker that waits for its lane.
    fn prepare(&mut self) -> std::io::Result<()> {
        let (socket, theirs) = sys::packet_pair()?;
        let pid = fork_worker(|zygote| worker::stand_by(theirs, zygote, self.settings))?;
        self.standby = Some(Standby { pid, socket });
        Ok(())
    }

    /// The lane has this process, which is not reaped yet, so the pid is its own.
    fn announce(&mut self, lane: u64, pid: u32) {
        self.workers.insert(pid);
        let pidfd = sys::to_pid(pid).map(|child| pidfd_open(child, PidfdFlags::empty()));
        let forked = Control::Forked { lane, pid };
        match pidfd {
            Some(Ok(pidfd)) => self.tell(forked, &[pidfd.as_fd()]),
            _ => self.tell(forked, &[]),
        }
    }

    fn reap(&mut self) {
        // Signals merge, so what they say is not read: all that have ended are reaped.
        let mut signals = [0; 1024];
        while rustix::io::read(&self.children, &mut signals).is_ok_and(|len| len > 0) {}
        while let Some((pid, ended)) = sys::reap(None, |pid| self.workers.contains(&pid)) {
            if self.standby.take_if(|standby| standby.pid == pid).is_some() {
                // Not again at once: it may be that none can live.
                self.wants_standby = false;
            }
            if self.workers.remove(&pid) {
                self.tell(Control::Ended { pid, ended }, &[]);
                self.wants_standby |= ended != ProcessEnd::Exited(0);
            }
        }
    }

    fn tell(&self, control: Control, descriptors: &[BorrowedFd<'_>]) {
        if control.send(self.socket.as_fd(), descriptors).is_err() {
            self.leave();
        }
    }

    fn leave(&self) -> ! {
        let standby = self.standby.as_ref().map(|standby| standby.pid);
        for worker in self.workers.iter().copied().chain(standby) {
            sys::kill_group(worker);
        }
        if let Some(standby) = standby.and_then(sys::to_pid) {
            // Or whoever adopts it would have to.
            let _ = waitpid(Some(standby), WaitOptions::empty());
        }
        sys::exit_now(0)
    }
}

/// Forks a process that does what `run` says, in a group of its own.
fn fork_worker(run: impl FnOnce(u32)) -> std::io::Result<u32> {
    let zygote = getpid().as_raw_pid().cast_unsigned();
    match sys::fork()? {
        Fork::Child => {
            run(zygote);
            sys::exit_now(0)
        }
        Fork::Parent(pid) => {
            // The worker does so, too; whoever comes first.
            let _ = setpgid(sys::to_pid(pid), sys::to_pid(pid));
            Ok(pid)
        }
    }
}
