//! An executor of your own, 4: jobs travel to child processes, over their stdin and stdout.
//! `cargo test --test executor_remote` runs the conformance kit over it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use serde::{Serialize, de::DeserializeOwned};
use taskfarm::*;
use taskfarm_core::SameBinaryExt;
use taskfarm_core::remote::{Bundle, Function, KeptState, RemoteJob};

const MARKER: &str = "EXECUTOR_REMOTE_WORKER"; // Set in the environment of a worker.

/// The offsets of the function, the setup (0: none), its context, and the items.
type Message = ([usize; 4], u64, Vec<u8>, Vec<u8>, Vec<u32>);

struct RemotePool {
    id: ExecutorId,
    num_workers: NonZeroUsize,
    queue: Arc<Queue>,
}

/// The waiting jobs and whether the pool is shut down; and who waits for jobs.
type Queue = (Mutex<(VecDeque<Job>, bool)>, Condvar);

impl RemotePool {
    fn new(requested: usize) -> Result<Self, BuildError> {
        let num_workers = num_workers(Some(requested))?;
        let (id, queue) = (ExecutorId::new("remote"), Arc::<Queue>::default());
        for _ in 0..num_workers.get() {
            let queue = queue.clone();
            thread::spawn(move || drive_worker(&queue));
        }
        Ok(Self {
            id,
            num_workers,
            queue,
        })
    }
}

/// Feeds one worker, which starts with the first job and again after it has died.
fn drive_worker(queue: &Queue) {
    let mut worker: Option<Child> = None;
    while let Some(job) = next(queue) {
        // Whatever is not delivered, such as after a crash, ends as `Dropped`.
        let exchanged = job
            .into_remote(Bundle::default())
            .map(|job| exchange(&mut worker, job));
        if exchanged.is_ok_and(|it| it.is_err()) {
            worker.take().map(|mut worker| worker.wait());
        }
    }
    // This closes its stdin, and so it ends.
    worker.map(|mut worker| worker.wait());
}

fn next(queue: &Queue) -> Option<Job> {
    let mut state = queue.0.lock();
    queue
        .1
        .wait_while(&mut state, |state| state.0.is_empty() && !state.1);
    state.0.pop_front()
}

/// Sends a job to the worker and waits for what comes back.
fn exchange(worker: &mut Option<Child>, mut job: RemoteJob) -> io::Result<()> {
    let worker = match worker {
        Some(worker) => worker,
        None => {
            let mut command = Command::new(std::env::current_exe()?);
            let piped = command
                .env(MARKER, "")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            worker.insert(piped.spawn()?)
        }
    };
    let offsets = shift(job.function.addresses(), anchor().wrapping_neg());
    let setup = job.setup.as_ref();
    let (id, context) = setup.map_or((0, vec![]), |it| (it.id + 1, it.context.clone()));
    let message: Message = (offsets, id, context, job.items.bytes, job.items.lengths);
    write(worker.stdin.as_mut().expect("a pipe"), &message)?;
    // One line comes back for one that goes, so nothing is left in this buffer.
    let mut output = BufReader::new(worker.stdout.as_mut().expect("a pipe"));
    let (bytes, lengths) = read(&mut output)?;
    let outcomes = Bundle { bytes, lengths };
    job.reply.deliver(0, outcomes).map_err(io::Error::other)
}

/// An address in the executable, by which the others are found in another process.
fn anchor() -> usize {
    main as fn() -> ExitCode as usize
}

fn shift(addresses: [usize; 4], by: usize) -> [usize; 4] {
    addresses.map(|it| if it == 0 { 0 } else { it.wrapping_add(by) })
}

/// Everything that is sent is one line of JSON.
fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let line = serde_json::to_string(message)? + "\n";
    to.write_all(line.as_bytes())
}

fn read<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

impl Executor for RemotePool {
    type Reach = SameBinary;

    fn id(&self) -> &ExecutorId {
        &self.id
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        let mut state = self.queue.0.lock();
        if state.1 {
            return Err(job);
        }
        state.0.push_back(job);
        self.queue.1.notify_one();
        Ok(())
    }

    fn parallelism(&self) -> NonZeroUsize {
        self.num_workers
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process().with_time_limits(TimeLimits::None)
    }

    fn shutdown(&self, how: Shutdown) {
        let mut state = self.queue.0.lock();
        state.1 = true;
        self.queue.1.notify_all();
        let queued = match how {
            Shutdown::Drain => VecDeque::new(),
            _ => std::mem::take(&mut state.0),
        };
        drop(state);
        queued.into_iter().for_each(Job::cancel);
        if how == Shutdown::Abort {
            self.id.abort();
        }
    }
}

impl Drop for RemotePool {
    fn drop(&mut self) {
        self.shutdown(Shutdown::CancelQueued);
    }
}

/// What a worker does until its input ends.
fn serve() -> io::Result<()> {
    #[cfg(target_os = "linux")] // A busy worker does not see that its input has ended.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // Results leave by a copy of stdout: what tasks print must not come between them.
    let mut output = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let (mut kept, mut kept_for) = (None::<Box<dyn KeptState>>, 0);
    while let Ok(message) = read::<Message>(&mut io::stdin().lock()) {
        let (offsets, setup, context, bytes, lengths) = message;
        if setup != kept_for || setup == 0 {
            kept.take().into_iter().for_each(KeptState::stop);
            kept_for = setup;
        }
        // SAFETY: they come from a process of this executable, by way of the anchor.
        let function = unsafe { Function::from_addresses(shift(offsets, anchor())) };
        let items = Bundle { bytes, lengths };
        let outcomes = function.call_whole(&items, &context, &mut kept);
        write(&mut output, &(outcomes.bytes, outcomes.lengths))?;
    }
    kept.into_iter().for_each(KeptState::stop);
    Ok(())
}

pub(crate) fn main() -> ExitCode {
    if std::env::var_os(MARKER).is_some() {
        return ExitCode::from(u8::from(serve().is_err()));
    }
    if cfg!(test) {
        use taskfarm_core::conformance;
        return conformance::main(&[conformance::Subject::new(RemotePool::new)]);
    }
    let pool = RemotePool::new(4).expect("a pool of four");
    println!("{:?}", pool.map(1..=9_u64, |n| n * n).collect::<Vec<u64>>());
    ExitCode::SUCCESS
}
