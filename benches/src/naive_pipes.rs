//! [`NaivePipes`]: the process pool that somebody writes in an afternoon. Two pipes per
//! worker, frames of postcard with their length in front, chunks that are dealt out
//! beforehand, and for each worker a thread that writes a chunk and waits for its results.
//!
//! A crash of a worker is a panic here, and there are no limits, policies or orders to
//! choose: this is the price of the plain thing, for comparison.

use std::io::{self, BufReader, Read, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::children;

pub(crate) struct NaivePipes {
    workers: Vec<Worker>,
}

struct Worker {
    child: Child,
    /// `None` once the child is told to leave.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    frame: Vec<u8>,
}

impl NaivePipes {
    /// Workers that run `task` of [`process_tasks::serve`](crate::process_tasks::serve).
    pub(crate) fn new(num_workers: usize, task: &str) -> io::Result<Self> {
        let workers = (0..num_workers).map(|_| Worker::start(task));
        let workers = workers.collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// One item on one worker, without a thread of its own.
    pub(crate) fn call<A, R>(&mut self, item: A) -> R
    where
        A: Serialize,
        R: DeserializeOwned,
    {
        let mut results = self.workers[0].run(&[item]);
        results.pop().expect("a result for each item")
    }

    /// The results of all items, in order.
    pub(crate) fn map<A, R>(&mut self, items: &[A], chunk_size: usize) -> Vec<R>
    where
        A: Serialize + Sync,
        R: DeserializeOwned + Send,
    {
        let num_workers = self.workers.len();
        let parts: Vec<Vec<Vec<R>>> = self.for_each_worker(|first, worker| {
            let chunks = items.chunks(chunk_size).skip(first).step_by(num_workers);
            chunks.map(|chunk| worker.run(chunk)).collect()
        });
        let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
        let mut results = Vec::with_capacity(items.len());
        for chunk in 0..items.len().div_ceil(chunk_size) {
            results.extend(parts[chunk % num_workers].next().expect("a part's chunks"));
        }
        results
    }

    /// Drops the results as they come.
    pub(crate) fn run<A, R>(&mut self, items: &[A], chunk_size: usize)
    where
        A: Serialize + Sync,
        R: DeserializeOwned,
    {
        let num_workers = self.workers.len();
        self.for_each_worker(|first, worker| {
            let chunks = items.chunks(chunk_size).skip(first).step_by(num_workers);
            chunks.for_each(|chunk| drop(worker.run::<A, R>(chunk)));
        });
    }

    fn for_each_worker<T: Send>(
        &mut self,
        work: impl Fn(usize, &mut Worker) -> T + Sync,
    ) -> Vec<T> {
        let work = &work;
        thread::scope(|scope| {
            let workers = self.workers.iter_mut().enumerate();
            let start = |(number, worker)| scope.spawn(move || work(number, worker));
            let threads: Vec<_> = workers.map(start).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, T>| thread.join();
            let parts = threads.into_iter().map(join);
            parts
                .map(|part| part.expect("workers do not crash"))
                .collect()
        })
    }

    /// What a worker does.
    pub(crate) fn serve<A, R>(task: fn(A) -> R) -> io::Result<()>
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        let (mut from, mut to) = (BufReader::new(stdin().lock()), stdout().lock());
        let mut frame = Vec::new();
        while read_frame(&mut from, &mut frame)? {
            let items: Vec<A> = postcard::from_bytes(&frame).map_err(io::Error::other)?;
            let results: Vec<R> = items.into_iter().map(task).collect();
            write_frame(&mut to, &mut frame, &results)?;
        }
        Ok(())
    }
}

impl Worker {
    fn start(task: &str) -> io::Result<Self> {
        let (child, to, from) = children::start(task)?;
        Ok(Self {
            child,
            to: Some(to),
            from: BufReader::new(from),
            frame: Vec::new(),
        })
    }

    fn run<A: Serialize, R: DeserializeOwned>(&mut self, items: &[A]) -> Vec<R> {
        let to = self.to.as_mut().expect("only `drop` takes it");
        write_frame(to, &mut self.frame, items).expect("a worker that listens");
        let is_there = read_frame(&mut self.from, &mut self.frame).expect("a worker that answers");
        assert!(is_there, "a worker that lives");
        postcard::from_bytes(&self.frame).expect("what the worker encoded")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}

/// `frame` is reused.
fn write_frame(
    to: &mut impl Write,
    frame: &mut Vec<u8>,
    items: &(impl Serialize + ?Sized),
) -> io::Result<()> {
    frame.clear();
    frame.extend([0; 4]);
    *frame = postcard::to_extend(items, std::mem::take(frame)).map_err(io::Error::other)?;
    let len = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&len.to_le_bytes());
    to.write_all(frame)?;
    to.flush()
}

/// False at the end.
fn read_frame(from: &mut impl Read, frame: &mut Vec<u8>) -> io::Result<bool> {
    let mut len = [0; 4];
    match from.read_exact(&mut len) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    frame.resize(u32::from_le_bytes(len) as usize, 0);
    from.read_exact(frame)?;
    Ok(true)
}
