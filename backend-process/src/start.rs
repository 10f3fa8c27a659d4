//! [`Starter`]: brings worker processes into being and hears of their ends.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal,
    waitpid,
};
use taskfarm_core::ProcessEnd;

use crate::builder::{StartMethod, WorkerOutput};
use crate::control::{Control, Hello};
use crate::lane::WorkerEnd;
use crate::sys::{self, Fork};
use crate::worker::WorkerSettings;
use crate::{entry, exit_code, image, zygote};

/// How long a zygote that was told to leave may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// What has become of workers.
#[derive(Debug)]
pub(crate) enum Event {
    /// The worker of this lane has this process.
    Forked {
        lane: u64,
        pid: u32,
        pidfd: Option<OwnedFd>,
    },
    /// There is no worker for this lane, for this reason.
    NotForked { lane: u64, why: String },
    /// A worker has ended.
    Ended { pid: u32, ended: ProcessEnd },
    /// The process that forks workers is gone, for this reason; they are going, too.
    ZygoteLost { why: String, agreed: bool },
}

/// Brings worker processes into being.
#[derive(Debug)]
pub(crate) struct Starter {
    method: StartMethod,
    settings: WorkerSettings,
    zygote: Option<Zygote>,
    /// Sockets of executed workers, by pid: what a worker that disagrees says.
    executed: HashMap<u32, OwnedFd>,
}

#[derive(Debug)]
struct Zygote {
    socket: OwnedFd,
    child: Child,
    agreed: bool,
}

/// A process that this one has started.
#[derive(Debug)]
struct Child {
    pid: u32,
    /// Taken at once: later on, if somebody else reaps it, the pid may be a stranger's.
    pidfd: OwnedFd,
}

impl Starter {
    /// With [`StartMethod::Fork`], forks this process, which must have one thread, now.
    pub(crate) fn new(
        method: StartMethod,
        memory_limit: Option<u64>,
        output: WorkerOutput,
    ) -> io::Result<Self> {
        let mut starter = Self {
            method,
            settings: WorkerSettings {
                memory_limit,
                silent: output == WorkerOutput::Null,
            },
            zygote: None,
            executed: HashMap::new(),
        };
        if method == StartMethod::Fork {
            starter.zygote = Some(starter.fork_zygote()?);
        }
        Ok(starter)
    }

    pub(crate) fn method(&self) -> StartMethod {
        self.method
    }

    /// Kills the zygote, which does not answer.
    pub(crate) fn give_up(&mut self) {
        if let Some(zygote) = &self.zygote {
            zygote.child.kill();
        }
    }

    /// The socket to wait on, if there is one.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.zygote.as_ref().map(|zygote| zygote.socket.as_fd())
    }

    /// Asks for a worker; an event follows, or came back here.
    pub(crate) fn start(&mut self, lane: u64, end: &WorkerEnd) -> Option<Event> {
        let started = match self.method {
            StartMethod::Exec => self.execute_worker(lane, end).map(Some),
            StartMethod::Zygote | StartMethod::Fork => self.ask_zygote(lane, end).map(|()| None),
        };
        started.unwrap_or_else(|error| {
            let why = error.to_string();
            Some(Event::NotForked { lane, why })
        })
    }

    fn ask_zygote(&mut self, lane: u64, end: &WorkerEnd) -> io::Result<()> {
        if self.zygote.is_none() {
            if self.method == StartMethod::Fork {
                return Err(io::Error::other("the process forked at the start is gone"));
            }
            self.zygote = Some(self.execute_zygote()?);
        }
        match &self.zygote {
            Some(zygote) => Control::Fork { lane }.send(zygote.socket.as_fd(), &end.descriptors()),
            None => Ok(()),
        }
    }

    fn execute_zygote(&self) -> io::Result<Zygote> {
        let (socket, child) = sys::packet_pair()?;
        let hello = Control::Hello(self.hello(false));
        // Before the child exists, so that it never waits.
        hello.send(socket.as_fd(), &[])?;
        let child = execute(child)?;
        let agreed = false;
        Ok(Zygote {
            socket,
            child,
            agreed,
        })
    }

    fn execute_worker(&mut self, lane: u64, end: &WorkerEnd) -> io::Result<Event> {
        let (socket, child) = sys::packet_pair()?;
        let hello = Control::Hello(self.hello(true));
        hello.send(socket.as_fd(), &end.descriptors())?;
        let Child { pid, pidfd } = execute(child)?;
        self.executed.insert(pid, socket);
        let pidfd = Some(pidfd);
        Ok(Event::Forked { lane, pid, pidfd })
    }

    fn fork_zygote(&self) -> io::Result<Zygote> {
        let (socket, child) = sys::packet_pair()?;
        let pool = own_pid();
        // What is waiting to be printed would be printed by both.
        let _ = io::Write::flush(&mut io::stdout());
        match sys::fork()? {
            Fork::Parent(pid) => Ok(Zygote {
                socket,
                child: Child::watch(pid)?,
                agreed: false,
            }),
            Fork::Child => {
                entry::set_depth(entry::depth() + 1);
                sys::ignore_broken_pipes();
                zygote::run(child, pool, self.settings)
            }
        }
    }

    fn hello(&self, is_worker: bool) -> Hello {
        Hello {
            identity: image::identity(),
            pool: own_pid(),
            depth: entry::depth() + 1,
            is_worker,
            silent: self.settings.silent,
            memory_limit: self.settings.memory_limit.unwrap_or(0),
        }
    }

    /// Everything that the zygote has said.
    pub(crate) fn read(&mut self, events: &mut Vec<Event>) {
        while let Some(zygote) = &mut self.zygote {
            let event = match Control::receive(zygote.socket.as_fd(), false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Some((Control::Agreed, _))) => {
                    zygote.agreed = true;
                    continue;
                }
                Ok(Some((Control::Forked { lane, pid }, descriptors))) => Event::Forked {
                    lane,
                    pid,
                    pidfd: descriptors.into_iter().next(),
                },
                Ok(Some((Control::NotForked { lane, errno }, _))) => Event::NotForked {
                    lane,
                    why: format!("fork failed: {}", io::Error::from_raw_os_error(errno)),
                },
                Ok(Some((Control::Ended { pid, ended }, _))) => Event::Ended { pid, ended },
                Ok(Some((Control::Refused(why), _))) => {
                    self.lose_zygote(&why.to_string(), events);
                    return;
                }
                Ok(Some(_)) | Err(_) => {
                    self.lose_zygote("it said nonsense", events);
                    return;
                }
                Ok(None) => {
                    self.lose_zygote("", events);
                    return;
                }
            };
            events.push(event);
        }
    }

    fn lose_zygote(&mut self, why: &str, events: &mut Vec<Event>) {
        let Some(zygote) = self.zygote.take() else {
            return;
        };
        let ended = zygote.end();
        let why = match why {
            "" => match exit_code::explain(ended) {
                None => format!("the process that starts workers {ended}"),
                Some(why) => format!("the process that starts workers left at once: {why}"),
            },
            why => format!("the process that starts workers was started, but {why}"),
        };
        let agreed = zygote.agreed;
        events.push(Event::ZygoteLost { why, agreed });
    }

    /// Reaps an executed worker that has ended, as its pidfd says.
    pub(crate) fn reap(&mut self, pid: u32) -> Event {
        self.executed.remove(&pid);
        // If somebody else has reaped it (or the program ignores SIGCHLD, so the kernel has),
        // it is dead all the same.
        let (pid, ended) = sys::reap(Some(pid), |_| true).unwrap_or((pid, ProcessEnd::Unknown));
        Event::Ended { pid, ended }
    }

    /// Kills a worker that only the process that forked it can kill.
    pub(crate) fn kill(&self, pid: u32) {
        match &self.zygote {
            // If it is gone, its workers die with it.
            Some(zygote) => drop(Control::Kill { pid }.send(zygote.socket.as_fd(), &[])),
            None => log::error!(
                "taskfarm-process: worker {pid} cannot be killed: this program has given up the \
                 right to"
            ),
        }
    }

    /// Kills a worker, waits for its end, and reaps it if nobody else does.
    pub(crate) fn end(&mut self, pid: u32, pidfd: BorrowedFd<'_>) {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
        let _ = sys::wait_readable(&[pidfd], Some(LEAVE_TIMEOUT));
        if self.method == StartMethod::Exec {
            self.reap(pid);
        }
    }

    /// Sends the zygote away, when there are no workers any more.
    pub(crate) fn close(&mut self) {
        if let Some(zygote) = self.zygote.take() {
            let _ = Control::Leave.send(zygote.socket.as_fd(), &[]);
            zygote.end();
        }
    }
}

impl Zygote {
    /// Waits for its end, and helps if that does not come soon.
    fn end(&self) -> ProcessEnd {
        if !self.child.ends_within(LEAVE_TIMEOUT) {
            self.child.kill();
            self.child.ends_within(LEAVE_TIMEOUT);
        }
        let reaped = sys::reap(Some(self.child.pid), |_| true);
        reaped.map_or(ProcessEnd::Unknown, |(_, ended)| ended)
    }
}

impl Child {
    /// The child with this pid, which was started a moment ago. What cannot be watched is
    /// not left running.
    fn watch(pid: u32) -> io::Result<Self> {
        let opened = sys::to_pid(pid).ok_or(io::ErrorKind::InvalidInput)?;
        match pidfd_open(opened, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(error) => {
                if error != rustix::io::Errno::SRCH {
                    let _ = kill_process(opened, Signal::KILL);
                    let _ = waitpid(Some(opened), WaitOptions::empty());
                }
                Err(error.into())
            }
        }
    }

    fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let ended = sys::wait_readable(&[self.pidfd.as_fd()], Some(limit));
        matches!(ended, Ok(sys::Wait::Ready))
    }
}

/// Executes this very program with `socket` as descriptor 0.
///
/// In a group of its own, so that a terminal's Ctrl-C does not reach it. Without anything
/// that would have `Command` fork instead of spawning: in a big process that costs a
/// hundred times as much.
fn execute(socket: OwnedFd) -> io::Result<Child> {
    let (name, value) = entry::marker();
    let child = Command::new("/proc/self/exe")
        .arg0("taskfarm-worker")
        .env(name, value)
        .stdin(Stdio::from(socket))
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::other(format!("/proc/self/exe cannot be executed: {error}")))?;
    Child::watch(child.id())
}

fn own_pid() -> u32 {
    Pid::as_raw_pid(getpid()).cast_unsigned()
}
