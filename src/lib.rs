//! One function, many inputs, a crew of workers.
//!
//! A program says what to do for each input and how to treat errors; a pool says where it
//! runs: on threads, on Rayon, in worker processes, or here and now. Changing the pool does not change the call,
//! nor what order, errors, deadlines, cancellation, back-pressure and progress mean.
//!
//! ```
//! # #[cfg(feature = "threads")] {
//! use taskfarm::prelude::*;
//!
//! let pool = ThreadPool::new(4)?;
//! let words = ["one", "two", "three"];
//!
//! // Input order, the first failure ends it.
//! let lengths: Vec<usize> = pool.map(words, str::len).collect()?;
//! assert_eq!(lengths, [3, 3, 5]);
//!
//! // A function that can fail, an endless input, results as they come, bounded memory.
//! let texts = (0..).map(|n: i32| if n == 2 { "two".to_owned() } else { n.to_string() });
//! let numbers = pool.try_map(texts, |text| text.parse::<i32>()).on_error(ErrorPolicy::Skip);
//! let first: Result<Vec<i32>, _> = numbers.ordered()?.take(3).collect();
//! assert_eq!(first?, [0, 1, 3]);
//!
//! // One task, and its handle.
//! let handle = pool.submit(20, |n| n + 1);
//! assert_eq!(handle.join()?, 21);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Words
//!
//! - An **[executor](Executor)** runs jobs: a pool, or the caller's thread. Its **workers**
//!   are the threads or processes that do so.
//! - A **task** is one function with its input, given to an executor by
//!   [`submit`](InProcessExt::submit). A **[handle](Handle)** is its future result.
//! - A **[map](Map)** is one function over many **items**. It is described first and runs when
//!   it is ended: by [`collect`](Map::collect), [`outcomes`](Map::outcomes),
//!   [`for_each`](Map::for_each) or [`run`](Map::run), which wait; or by
//!   [`ordered`](Map::ordered) or [`as_completed`](Map::as_completed), which are iterators.
//! - An item's **outcome** is its result or a [`TaskError`], which knows the index and the
//!   cause. The **[policy](ErrorPolicy)** says what a failed item does to the map.
//! - A **[token](CancellationToken)** is how a running task learns that it should stop.
//! - A **[scope](InProcessExt::scope)** is where tasks may borrow, as in [`std::thread::scope`].
//! - A **job** is what executors see of all this. Only who writes an executor meets it.
//!
//! # Which backend
//!
//! | backend | feature | a worker is | take it when |
//! |---|---|---|---|
//! | `ThreadPool` | `threads` (default) | a thread, started on demand | you have no reason for another |
//! | `RayonPool` | `rayon` | a thread of Rayon, own or shared | the program uses Rayon anyway, and both should share the CPUs |
//! | `ProcessPool` | `process` | a process, replaced when it dies | tasks may crash, leak, or must be killed when they take too long |
//! | [`InlineExecutor`] | | the caller | debugging, tests, a `--jobs 1` |
//!
//! [`Backend`] builds one by its name at run time. All but `ProcessPool` run any closure, with
//! borrowed data, in this process: a crash of a task (an abort, a segmentation fault) ends the
//! program, and a task that runs too long can only be asked to stop. On a `ProcessPool` a crash
//! costs one item, and a time limit kills; in return it takes function pointers (and closures
//! that capture nothing) over values that serde can encode.
//!
//! Do not use this crate to wait for thousands of sockets: that is what async runtimes are
//! for. For data-parallel iterator chains in one process (`par_iter().filter().sum()`), use
//! Rayon itself.
//!
//! # The contract
//!
//! Every executor keeps these rules. Tests and messages cite them by their ids.
//!
//! | id | rule |
//! |---|---|
//! | ORD-1 | `collect` and `ordered` give input order; `as_completed` gives each item soon after it ends, whatever the chunk |
//! | ONCE-1 | each item's outcome is reported exactly once; without retries, an item starts at most once |
//! | LAZY-1 | items pulled and not yet delivered never exceed [`in_flight`](Map::in_flight); endless inputs work |
//! | LAZY-2 | the input iterator is never entered by two threads at once; a panic in it reaches the caller |
//! | CHUNK-1 | results, errors, time limits, progress and cancellation are per item, equal for every [`chunk_size`](Map::chunk_size) |
//! | ERR-1 | fail-fast: once the first failure is known no item starts, and running ones are asked to stop |
//! | ERR-2 | fail-fast reports the failure with the lowest index among those known |
//! | ERR-3 | `Collect` reports one outcome per item; `Skip` gives the successes in order and logs the failures |
//! | PAN-1 | a panic is that item's outcome, message kept; worker and pool go on |
//! | CAN-1 | [`cancel`](Handle::cancel) answers truthfully: not started, asked, killed, or too late |
//! | TIME-1 | a time limit counts from the item's own start; a worker process is killed and replaced; a thread's item ends timed out, its token is set, its late result is discarded |
//! | TIME-2 | every wait has a form with a timeout that leaves the task unharmed |
//! | NEST-1 | submitting and waiting from inside a task never deadlocks, with one worker too |
//! | DROP-1 | dropping a pool finishes accepted work, joins its threads and reaps its processes |
//! | SHUT-1 | after a [shutdown](Executor::shutdown) new work is refused, every handle resolves, waiters wake |
//! | ZERO-1 | no items, one item, more workers than items, chunks larger than the input: all work; zero workers is an error |
//! | OBS-1 | [observers](Observer) see every item once; one that panics harms nothing |
//! | RES-1 | nothing of a failed call leaks into the next one on the same pool |
//! | REM-1 | a crash of a worker process costs one item, which is reported with its index, process id and signal; the rest runs elsewhere |
//! | REM-2 | what cannot be encoded or decoded is that item's error; the worker lives |
//! | REM-3 | no worker process outlives its parent, however the parent dies |
//! | REM-4 | what tasks print, close or fork does not disturb the protocol |
//!
//! # A complete program
//!
//! Counts the lines of files, skips what it cannot read, and shows progress.
//!
//! ```
//! # #[cfg(all(feature = "threads", feature = "progress"))] mod program {
//! use std::{fs, io, path::PathBuf};
//! use taskfarm::prelude::*;
//!
//! fn count_lines(path: PathBuf) -> io::Result<usize> {
//!     Ok(fs::read_to_string(path)?.lines().count())
//! }
//!
//! # pub
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = ThreadPool::builder().name("lines").build()?; // A worker for each CPU.
//!     let paths = ["Cargo.toml", "no-such-file"].map(PathBuf::from);
//!     let mut sum = 0;
//!     let report = pool
//!         .try_map(paths, count_lines)
//!         .on_error(ErrorPolicy::Skip)
//!         .progress("counting")
//!         .for_each(|lines| sum += lines)?;
//!     let unreadable = report.tally().failures();
//!     println!("{sum} lines, {unreadable} unreadable files, {:?}", report.elapsed());
//!     # assert_eq!(unreadable, 1);
//!     Ok(())
//! }
//! # }
//! # #[cfg(all(feature = "threads", feature = "progress"))] program::main().unwrap();
//! ```
//!
//! # From other libraries
//!
//! | there | here |
//! |---|---|
//! | **`concurrent.futures`** `ThreadPoolExecutor(max_workers=n)`, `ProcessPoolExecutor` | `ThreadPool::new(n)`, `ProcessPool::new(n)` |
//! | `executor.submit(f, x)` | [`pool.submit(x, f)`](InProcessExt::submit) |
//! | `executor.map(f, xs)` | [`pool.map(xs, f)`](InProcessExt::map)[`.ordered()`](Map::ordered), lazy and bounded |
//! | `list(executor.map(f, xs))` | `pool.map(xs, f)`[`.collect()`](Map::collect) |
//! | `executor.map(.., timeout=t)` | [`.deadline(t)`](Map::deadline) for the map, [`.timeout(t)`](Map::timeout) for each item |
//! | `as_completed(futures)`, `wait(futures, return_when=..)` | [`as_completed(handles)`](as_completed), [`wait(&handles, When::..)`](wait) |
//! | `future.result(timeout=t)`, `.cancel()`, `.add_done_callback(f)` | [`handle.join_timeout(t)`](Handle::join_timeout), [`.cancel()`](Handle::cancel), [`.on_done(f)`](Handle::on_done) |
//! | `initializer=` | [`pool.init(..)`](InProcessExt::init)`.map(xs, \|state, x\| ..)` |
//! | `executor.shutdown(cancel_futures=True)` | [`pool.shutdown(Shutdown::CancelQueued)`](Executor::shutdown) |
//! | **`multiprocessing.Pool`** `imap`, `imap_unordered` | [`.ordered()`](Map::ordered), [`.as_completed()`](Map::as_completed) |
//! | `chunksize=` | [`.chunk_size(n)`](Map::chunk_size); never needed for correctness |
//! | **`joblib`** `Parallel(n_jobs=n)(delayed(f)(x) for x in xs)` | `pool.map(xs, f).collect()` |
//! | `return_as="generator"`, `"generator_unordered"` | [`.ordered()`](Map::ordered), [`.as_completed()`](Map::as_completed) |
//! | `pre_dispatch=` | [`.in_flight(n)`](Map::in_flight) |
//! | `backend="threading"`, `parallel_config` | [`Backend`], by name at run time |
//! | **`tqdm`** `thread_map(f, xs, desc=..)`, `process_map` | `pool.map(xs, f).progress("..").collect()` |
//! | **`parallel_map`, `threaded_map`** `processes=`, `max_workers=` | `num_workers` of the pool's builder |
//! | `chunk_size=` | [`.chunk_size(n)`](Map::chunk_size) |
//! | `async_mode=True` / `False` | [`.as_completed()`](Map::as_completed) / [`.ordered()`](Map::ordered) |
//! | `show_progress=True` | `.progress("..")` |
//! | `handle_errors=True` / `False` | [`.on_error(ErrorPolicy::Skip)`](Map::on_error) / the default |
//! | **Rayon** `xs.into_par_iter().map(f).collect()` | `pool.map(xs, f).collect()` |
//! | `.for_each(f)` | `pool.map(xs, f)`[`.run()`](Map::run) |
//! | `.map_init(init, f)` | [`pool.init(init)`](InProcessExt::init)`.map(xs, f)` |
//! | `.with_min_len(n)`, `.with_max_len(n)` | [`.chunk_size(n)`](Map::chunk_size) |
//! | `xs.par_bridge()` | any iterator is an input, and order is kept |
//! | `rayon::scope(\|s\| s.spawn(..))` | [`pool.scope(\|s\| s.submit(..))`](InProcessExt::scope) |
//!
//! # Features
//!
//! They only add types; which pool runs is a value in the program.
//!
//! | feature | adds |
//! |---|---|
//! | `threads` (default) | `ThreadPool` |
//! | `rayon` | `RayonPool` |
//! | `process` | `ProcessPool`, `SameBinaryExt` and `AnyPool` |
//! | `progress` | `ProgressBar`, and `.progress(..)` on maps |
#![forbid(unsafe_code)]

#[cfg(feature = "process")]
mod any_pool;
mod backend;
pub mod prelude;
/// Has the README's example compiled and run.
#[cfg(all(doctest, feature = "threads"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "process")]
pub use any_pool::AnyPool;
pub use backend::{Backend, BackendError};

#[doc(inline)]
pub use taskfarm_core::{AsCompleted, Crew, Map, Ordered, StateCrew, Work};
#[doc(inline)]
#[doc(alias = "Future")]
pub use taskfarm_core::{AsCompletedHandles, Handle, Scope, When, as_completed, wait};
#[doc(inline)]
pub use taskfarm_core::{
    BuildError, CancelOutcome, CancelReason, CancellationToken, Capabilities, ErrorPolicy,
    Executor, ExecutorId, InProcess, InProcessExt, InlineExecutor, Job, NUM_WORKERS_VAR, Observer,
    Portable, Progress, Report, SameBinary, Shutdown, Tally, TimeLimits, num_workers,
};
#[doc(inline)]
pub use taskfarm_core::{
    MapError, Panic, ProcessEnd, SetupError, SetupErrorKind, TaskError, TaskErrorKind, WorkerLost,
};
#[cfg(feature = "process")]
#[doc(inline)]
pub use taskfarm_core::{SameBinaryExt, Wire};
/// Worker processes: the pool's builder and what it shows of its workers.
#[cfg(feature = "process")]
#[doc(inline)]
#[doc(alias = "ProcessPoolExecutor")]
pub use taskfarm_process::{self as process, ProcessPool};
#[cfg(feature = "progress")]
#[doc(inline)]
pub use taskfarm_progress::{
    MapProgressExt, PROGRESS_VAR, ParseProgressModeError, ProgressBar, ProgressMode,
};
#[cfg(feature = "rayon")]
#[doc(inline)]
pub use taskfarm_rayon::{RayonPool, RayonPoolBuilder};
#[cfg(feature = "threads")]
#[doc(inline)]
#[doc(alias = "ThreadPoolExecutor")]
pub use taskfarm_threads::{ThreadPool, ThreadPoolBuilder};
