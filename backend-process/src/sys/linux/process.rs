//! Processes: fork, signals, limits, the reaping of children.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, kill_process_group,
    set_parent_process_death_signal, setpgid, setrlimit,
};
use rustix::time::{ClockId, Timespec, clock_gettime};
use taskfarm_core::ProcessEnd;

/// Descriptors of the protocol lie at or above this number, where tasks that close or
/// replace the small ones do not meet them.
const FIRST_PROTOCOL_DESCRIPTOR: RawFd = 500;

/// Which side of a [`fork`] this is.
pub(crate) enum Fork {
    Parent(u32),
    Child,
}

/// How a wait for readable descriptors ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Ready,
    TimedOut,
}

/// The clock of all processes of this machine.
#[inline]
pub(crate) fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// How many threads this process has.
pub(crate) fn num_threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Whether this program runs with more rights than the user who started it.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: `getauxval` only reads what the kernel passed at the start.
    let secure = unsafe { libc::getauxval(libc::AT_SECURE) };
    secure != 0
}

/// Takes a variable out of the environment if its value is the right one; whether it was.
/// Only for the time before `main` or its first lines, when no other thread can read the
/// environment.
pub(crate) fn take_env_if(name: &CStr, is_right: impl FnOnce(&CStr) -> bool) -> bool {
    // SAFETY: no other thread changes the environment, as this function demands.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return false;
    }
    // SAFETY: `getenv` gave a string that lives until the environment is changed.
    if !is_right(unsafe { CStr::from_ptr(value) }) {
        return false;
    }
    // SAFETY: as above.
    unsafe { libc::unsetenv(name.as_ptr()) };
    true
}

/// Copies this process.
///
/// Only for a process with one thread: a lock held by any other would stay locked in the
/// child for ever. The child must end in [`exit_now`].
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: with one thread, the child is a full copy in a consistent state.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid.cast_unsigned())),
    }
}

/// Ends this process now, without what would normally run at its end.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing runs afterwards.
    unsafe { libc::_exit(code) }
}

/// Has ended children wait until they are reaped, whatever the program that executed this
/// one thought of them: an ignored SIGCHLD is inherited, and then nobody learns how a child
/// ended.
fn keep_ended_children() {
    // SAFETY: `SIG_DFL` is a valid disposition, and no handler is involved.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Has writes to a closed pipe fail instead of killing the process, as in `main`.
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: `SIG_IGN` is a valid disposition, and no handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Blocks every signal on this thread, so that the program's handlers run on its own.
pub(crate) fn block_all_signals() {
    change_signals(libc::SIG_BLOCK, all_signals());
}

/// Unblocks every signal on this thread.
fn default_signals() {
    change_signals(libc::SIG_UNBLOCK, all_signals());
}

fn all_signals() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigfillset` writes a whole set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: just written.
    unsafe { set.assume_init() }
}

fn change_signals(how: i32, set: libc::sigset_t) {
    // SAFETY: both pointers are valid or null as the call allows.
    unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) };
}

/// A descriptor that is readable when children have ended.
pub(crate) fn watch_children() -> io::Result<OwnedFd> {
    keep_ended_children();
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigemptyset` writes a whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was just written, and the number is a signal's.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: written above.
    let set = unsafe { set.assume_init() };
    change_signals(libc::SIG_BLOCK, set);
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: a new descriptor for a valid set.
    let descriptor = unsafe { libc::signalfd(-1, &raw const set, flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new, and nobody else's.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(descriptor) })
}

/// Reaps one child that has ended, if there is one: its pid, and how it ended.
///
/// If it `leads_group`, what is left of its process group is killed first, while the
/// group's number cannot have been given to anybody else.
pub(crate) fn reap(
    which: Option<u32>,
    leads_group: impl FnOnce(u32) -> bool,
) -> Option<(u32, ProcessEnd)> {
    let pid = ended_child(which)?;
    if leads_group(pid) {
        kill_group(pid);
    }
    let mut status = 0;
    let pid_arg = libc::pid_t::try_from(pid).ok()?;
    // SAFETY: the pointer is to memory of this frame.
    let reaped = unsafe { libc::waitpid(pid_arg, &raw mut status, libc::WNOHANG) };
    (reaped > 0).then(|| (pid, end_of(status)))
}

/// The pid of a child that has ended and was not reaped.
fn ended_child(which: Option<u32>) -> Option<u32> {
    let (kind, id) = which.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid));
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is to memory of this frame.
    let found = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) };
    // SAFETY: zeroed, and all zeros are valid; the kernel filled it in.
    let info = unsafe { info.assume_init() };
    if found != 0 {
        return None;
    }
    // SAFETY: `waitid` fills in this part of the union.
    let pid = unsafe { info.si_pid() };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

fn end_of(status: i32) -> ProcessEnd {
    if libc::WIFSIGNALED(status) {
        ProcessEnd::Signaled(libc::WTERMSIG(status))
    } else if libc::WIFEXITED(status) {
        ProcessEnd::Exited(libc::WEXITSTATUS(status))
    } else {
        ProcessEnd::Unknown
    }
}

/// Kills every process of the group that this process leads or led.
pub(crate) fn kill_group(leader: u32) {
    if let Some(group) = to_pid(leader) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

pub(crate) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Waits until one of the descriptors has something to read (or is closed).
pub(crate) fn wait_readable(
    descriptors: &[BorrowedFd<'_>],
    timeout: Option<std::time::Duration>,
) -> io::Result<Wait> {
    let mut polled: Vec<PollFd<'_>> = descriptors
        .iter()
        .map(|descriptor| PollFd::new(descriptor, PollFlags::IN))
        .collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(0) => Ok(Wait::TimedOut),
        // A signal: the caller looks, and waits again.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Wait::Ready),
        Err(error) => Err(error.into()),
    }
}

/// Opens `/dev/null` under those of the numbers 0 to 2 that are closed, as the runtime does
/// before `main`: what is opened next would get them, and be written to by whoever prints.
pub(crate) fn fill_standard_descriptors() -> io::Result<()> {
    let standard = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for descriptor in standard {
        if rustix::io::fcntl_getfd(descriptor).is_err() {
            // The lowest number that is free, so this one; left there.
            std::mem::forget(open_null()?);
        }
    }
    Ok(())
}

fn open_null() -> io::Result<OwnedFd> {
    let access = rustix::fs::OFlags::RDWR;
    Ok(rustix::fs::open(
        c"/dev/null",
        access,
        rustix::fs::Mode::empty(),
    )?)
}

/// Makes this process, just started, a worker: it leads a group of its own, dies when
/// `parent` does, is the first to go when memory runs out, and keeps only the descriptors
/// given, at high numbers, which come back in order. Descriptor 0 reads nothing.
pub(crate) fn become_worker_process(
    parent: u32,
    keep: Vec<OwnedFd>,
    silent: bool,
) -> io::Result<Vec<OwnedFd>> {
    let _ = setpgid(None, None);
    let _ = rustix::thread::set_name(c"taskfarm-worker");
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|pid| pid.as_raw_pid().cast_unsigned()) != Some(parent) {
        exit_now(0);
    }
    default_signals();
    keep_ended_children();
    let kept = close_all_but(keep)?;
    fill_standard_descriptors()?;
    let null = open_null()?;
    let _ = rustix::stdio::dup2_stdin(&null);
    if silent {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    // Not allowed everywhere, and not needed.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    Ok(kept)
}

/// Moves the descriptors to high numbers and closes all others but 0 to 2; of those, what
/// it was given.
pub(crate) fn close_all_but(keep: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let kept = lift_all(keep)?;
    let mut numbers: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    numbers.sort_unstable();
    let mut from = 3;
    for number in numbers {
        close_range(from, number - 1);
        from = number + 1;
    }
    close_range(from, RawFd::MAX);
    Ok(kept)
}

/// Moves the descriptors to high numbers.
pub(crate) fn lift_all(descriptors: Vec<OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    descriptors.iter().map(lift).collect()
}

/// The same open file under a high number, or any other if the user's limit is low.
fn lift(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    let lifted = rustix::io::fcntl_dupfd_cloexec(descriptor, FIRST_PROTOCOL_DESCRIPTOR);
    let lower = |least| rustix::io::fcntl_dupfd_cloexec(descriptor, least);
    Ok(lifted.or_else(|_| lower(64)).or_else(|_| lower(3))?)
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the process was just forked or executed and holds no owner of a descriptor in
    // the range.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result != 0 {
        close_one_by_one(first, last);
    }
}

/// For kernels before 5.9.
fn close_one_by_one(first: RawFd, last: RawFd) {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers: Vec<RawFd> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers {
        if (first..=last).contains(&number) {
            // SAFETY: as in `close_range`.
            unsafe { libc::close(number) };
        }
    }
}

/// Has allocations beyond `bytes` of data fail in this process, and `refused` set to 1 if it
/// then aborts, as most programs do.
pub(crate) fn limit_memory(bytes: u64, refused: &'static AtomicU32) {
    on_abort::watch(refused);
    // No more than the user may have anyway.
    let allowed = getrlimit(Resource::Data).maximum.unwrap_or(u64::MAX);
    let limit = Some(bytes.min(allowed));
    // Lowering a limit is always allowed.
    let _ = setrlimit(
        Resource::Data,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    );
}

mod on_abort {
    //! Tells an abort for lack of memory from any other: by the function that calls it, or
    //! (in other languages) by `errno`, which a failed allocation leaves behind. Peak memory
    //! says nothing, because what was too much was never had; and `errno` alone would not
    //! do, because std prints a backtrace before it aborts, if the user wants one.

    use std::ffi::c_void;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

    static REFUSED: AtomicPtr<AtomicU32> = AtomicPtr::new(null_mut());
    /// The process that watches: in a fork of it the word may not be mapped.
    static WATCHER: AtomicI32 = AtomicI32::new(0);

    pub(super) fn watch(refused: &'static AtomicU32) {
        REFUSED.store(std::ptr::from_ref(refused).cast_mut(), Ordering::Relaxed);
        // SAFETY: no memory is involved.
        WATCHER.store(unsafe { libc::getpid() }, Ordering::Relaxed);
        // SAFETY: all zeros are a valid action, completed below.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESETHAND;
        // SAFETY: the action is valid, and its handler is safe in a signal: see there.
        unsafe { libc::sigaction(libc::SIGABRT, &raw const action, null_mut()) };
        // SAFETY: no memory of ours is involved.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: this thread's own word.
        unsafe { errno.write(0) };
    }

    /// Calls what is safe in a signal handler, and the unwinder, which is safe in a thread
    /// that aborts itself, as std does to print its backtrace. What raised the signal raises it
    /// again, or it is raised here, and then the default action ends the process.
    extern "C" fn note(signal: i32) {
        let errno = std::io::Error::last_os_error().raw_os_error();
        // SAFETY: no memory is involved.
        let pid = unsafe { libc::getpid() };
        let is_ours = pid == WATCHER.load(Ordering::Relaxed);
        if is_ours && (errno == Some(libc::ENOMEM) || is_allocation_error()) {
            // SAFETY: null, or a reference that lives as long as the process.
            let refused = unsafe { REFUSED.load(Ordering::Relaxed).as_ref() };
            refused.inspect(|refused| refused.store(1, Ordering::Relaxed));
        }
        // SAFETY: no memory is involved.
        unsafe { libc::raise(signal) };
    }

    /// Whether this thread is in `handle_alloc_error`.
    fn is_allocation_error() -> bool {
        let mut found = false;
        // SAFETY: `look` gets the address of `found`, which outlives the walk.
        unsafe { _Unwind_Backtrace(look, (&raw mut found).cast()) };
        found
    }

    /// Called for each frame; anything but 0 ends the walk.
    extern "C" fn look(frame: *mut c_void, found: *mut c_void) -> i32 {
        // SAFETY: the unwinder's own frame.
        let after_call = unsafe { _Unwind_GetIP(frame) };
        // SAFETY: any address may be asked about.
        let function = unsafe { _Unwind_FindEnclosingFunction(after_call.wrapping_sub(1)) };
        let wanted = std::alloc::handle_alloc_error as fn(std::alloc::Layout) -> !;
        if function != wanted as usize {
            return 0;
        }
        // SAFETY: what `is_allocation_error` has passed.
        unsafe { *found.cast::<bool>() = true };
        1
    }

    // Of the unwinder that std itself is linked to.
    unsafe extern "C" {
        fn _Unwind_Backtrace(
            look: extern "C" fn(*mut c_void, *mut c_void) -> i32,
            data: *mut c_void,
        ) -> i32;
        fn _Unwind_GetIP(frame: *mut c_void) -> usize;
        fn _Unwind_FindEnclosingFunction(at: usize) -> usize;
    }
}

/// How often the kernel has killed a process for lack of memory since it was started.
pub(crate) fn count_oom_kills() -> u64 {
    let statistics = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let line = statistics
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
