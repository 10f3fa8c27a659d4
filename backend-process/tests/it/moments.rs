//! Signals from outside at exact moments: while an item runs, is decoded, is encoded; in
//! the middle of a message, either way; before the hello of a worker or of the zygote.
//!
//! No case sleeps and hopes. Each brings the process to the moment, makes sure that it
//! cannot leave it, and only then sends the signal.

use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};
use taskfarm_core::{ErrorPolicy, Handle, ProcessEnd, SameBinaryExt, TaskErrorKind, WorkerLost};
use taskfarm_process::{ProcessPool, StartMethod};

use crate::Case;
use crate::hold::{Birth, Hold};
use crate::scratch::{Scratch, append, lines, sorted_numbers};
use crate::support::{
    children, eventually, idle_workers, is_alive, is_asleep, num_sleeps, play, pool, signal, stop,
    warm_up,
};

pub(crate) const CASES: &[Case] = &[
    ("moments::sigkill_while_running", |method| {
        check_caught(method, libc::SIGKILL, Moment::Running)
    }),
    ("moments::sigterm_while_running", |method| {
        check_caught(method, libc::SIGTERM, Moment::Running)
    }),
    ("moments::sigkill_while_decoding", |method| {
        check_caught(method, libc::SIGKILL, Moment::Decoding)
    }),
    ("moments::sigterm_while_decoding", |method| {
        check_caught(method, libc::SIGTERM, Moment::Decoding)
    }),
    ("moments::sigkill_while_encoding", |method| {
        check_caught(method, libc::SIGKILL, Moment::Encoding)
    }),
    ("moments::sigterm_while_encoding", |method| {
        check_caught(method, libc::SIGTERM, Moment::Encoding)
    }),
    (
        "moments::a_kill_in_the_middle_of_a_result_blames_the_item",
        a_kill_in_the_middle_of_a_result,
    ),
    (
        "moments::a_kill_when_half_of_an_input_is_sent_loses_nothing",
        a_kill_when_half_of_an_input_is_sent,
    ),
    (
        "moments::a_kill_when_half_of_an_input_is_taken_loses_nothing",
        a_kill_when_half_of_an_input_is_taken,
    ),
    ("moments::sigkill_of_workers_before_their_hello", |method| {
        check_before_hello(method, libc::SIGKILL, 5)
    }),
    ("moments::sigterm_of_workers_before_their_hello", |method| {
        check_before_hello(method, libc::SIGTERM, 2)
    }),
    (
        "moments::sigkill_of_the_zygote_before_its_hello",
        kill_the_zygote_before_its_hello,
    ),
    (
        "moments::sigterm_does_not_disturb_the_zygote",
        sigterm_of_the_zygote,
    ),
    (
        "moments::a_kill_of_a_stopped_zygote_loses_no_waiting_item",
        a_kill_of_a_stopped_zygote,
    ),
];

// ---- While an item runs, is decoded, is encoded ---------------------------------------

const NUM_ITEMS: u32 = 40;
const CHUNK: usize = 10;
/// In the middle of a chunk, so that it has neighbours that are done and others that wait.
const VICTIM: u32 = 17;

#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum Moment {
    Never,
    Decoding,
    Running,
    Encoding,
}

impl Moment {
    const ALL: [Self; 4] = [Self::Never, Self::Decoding, Self::Running, Self::Encoding];
}

/// An item, and its own result, that waits for a signal at one moment of its stay in the
/// worker. (It is encoded and decoded in the pool's process, too: each of the two moments is
/// set on the other side.)
#[derive(Debug)]
struct Caught {
    at: Moment,
    n: u32,
    /// Where it leaves the pid of its worker then.
    inside: String,
    /// Where it leaves its number when its function begins.
    started: String,
}

impl Serialize for Caught {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.at == Moment::Encoding {
            wait_for_a_signal(&self.inside);
        }
        (self.at as u8, self.n, &self.inside, &self.started).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Caught {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (at, n, inside, started) = <(u8, u32, String, String)>::deserialize(deserializer)?;
        let at = Moment::ALL[usize::from(at)];
        if at == Moment::Decoding {
            wait_for_a_signal(&inside);
        }
        Ok(Self {
            at,
            n,
            inside,
            started,
        })
    }
}

fn wait_for_a_signal(inside: &str) -> ! {
    append(inside, std::process::id());
    loop {
        // SAFETY: waits for a signal; no memory is involved.
        unsafe { libc::pause() };
    }
}

/// For victims that come as such: to be caught here, or before, when they are decoded.
fn be_caught_running(item: Caught) -> Caught {
    append(&item.started, item.n);
    if item.at == Moment::Running {
        wait_for_a_signal(&item.inside);
    }
    item
}

/// Makes the victim one, on its way back.
fn be_caught_encoding(mut item: Caught) -> Caught {
    append(&item.started, item.n);
    if item.n == VICTIM {
        item.at = Moment::Encoding;
    }
    item
}

fn check_caught(method: StartMethod, number: i32, moment: Moment) {
    let scratch = Scratch::new();
    let (inside, started) = (scratch.file("inside"), scratch.file("started"));
    let items = (0..NUM_ITEMS).map(|n| Caught {
        at: match moment {
            Moment::Decoding | Moment::Running if n == VICTIM => moment,
            _ => Moment::Never,
        },
        n,
        inside: inside.clone(),
        started: started.clone(),
    });
    let items: Vec<Caught> = items.collect();
    let f: fn(Caught) -> Caught = match moment {
        Moment::Encoding => be_caught_encoding,
        _ => be_caught_running,
    };
    let pool = pool(method, 2);
    let (outcomes, pid) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let pid = eventually("the item is caught", || {
                lines(&inside).first().map(|pid| pid.parse().unwrap())
            });
            eventually("the pool knows who runs it", || {
                let workers = pool.workers();
                let worker = workers.into_iter().find(|worker| worker.pid == pid)?;
                (worker.item?.index == VICTIM as usize).then_some(())
            });
            signal(pid, number);
            pid
        });
        let map = pool.map(items, f).chunk_size(CHUNK);
        let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
        (outcomes, killer.join().unwrap())
    });
    assert_eq!(outcomes.len(), NUM_ITEMS as usize);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(item) => assert!(n as u32 == item.n && item.n != VICTIM),
            Err(error) => {
                assert_eq!((n, error.index()), (VICTIM as usize, VICTIM as usize));
                assert_lost(error.kind(), pid, ProcessEnd::Signaled(number));
            }
        }
    }
    assert_eq!(lines(&inside).len(), 1, "it was tried once");
    let ran = (0..NUM_ITEMS).filter(|n| *n != VICTIM || moment != Moment::Decoding);
    assert_eq!(sorted_numbers(&started), Vec::from_iter(ran));
    assert_full_strength(&pool, 2, pid);
    let stats = pool.stats();
    let counts = (stats.items, stats.lost, stats.timed_out, stats.replaced);
    // With the one that `assert_full_strength` has submitted.
    assert_eq!(counts, (u64::from(NUM_ITEMS), 1, 0, 1));
}

#[track_caller]
fn assert_lost<E: std::fmt::Debug>(kind: &TaskErrorKind<E>, pid: u32, ended: ProcessEnd) {
    match kind {
        TaskErrorKind::WorkerLost(lost) => assert_eq!(*lost, WorkerLost::new(pid, ended)),
        other => panic!("not lost: {other:?}"),
    }
}

/// The dead worker is gone, as many as before are there, and they work.
#[track_caller]
fn assert_full_strength(pool: &ProcessPool, number: usize, dead: u32) {
    assert!(!is_alive(dead));
    let workers = idle_workers(pool, number);
    assert!(workers.iter().all(|worker| worker.pid != dead));
    assert_eq!(pool.submit(7, |n: u32| n + 1).join().unwrap(), 8);
}

// ---- In the middle of a message -------------------------------------------------------

/// Many times a ring, which holds 4 MiB.
const BIG: usize = 64 << 20;

/// A result that says when it is encoded.
struct Told {
    bytes: ByteBuf,
    encoded: String,
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(Bytes::new(&self.bytes))?;
        // The bytes are in the buffer; nothing follows but an empty text.
        if !self.encoded.is_empty() {
            append(&self.encoded, "encoded");
        }
        tuple.serialize_element("")?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (bytes, encoded) = <(ByteBuf, String)>::deserialize(deserializer)?;
        Ok(Self { bytes, encoded })
    }
}

/// Item 1 of 4 has a result of 64 MiB. Before it returns, the pool's whole process is
/// stopped, so nobody takes anything out of the ring of outcomes, which holds 4 MiB. Once
/// the result is encoded, the worker has nothing to sleep for but room in the ring: when it
/// has slept, a part of the result is in the ring and the rest is not.
fn a_kill_in_the_middle_of_a_result(method: StartMethod) {
    const ROLE: &str = "TASKFARM_IT_MIDDLE";
    if let Ok(path) = std::env::var(ROLE) {
        return be_killed_in_a_result(method, &path);
    }
    let scratch = Scratch::new();
    let path = scratch.file("inside");
    let mut child = play(ROLE, &path).spawn().unwrap();
    let pid: u32 = eventually("the item runs", || {
        lines(&path).first().map(|pid| pid.parse().unwrap())
    });
    stop(child.id());
    append(&format!("{path}.go"), "go");
    eventually("the result is encoded", || {
        (lines(&format!("{path}.encoded")).len() == 1).then_some(())
    });
    let before = num_sleeps(pid);
    eventually("the worker waits for room", || {
        (num_sleeps(pid) > before + 20).then_some(())
    });
    signal(pid, libc::SIGKILL);
    eventually("the worker is dead", || (!is_alive(pid)).then_some(()));
    signal(child.id(), libc::SIGCONT);
    assert!(child.wait().unwrap().success(), "see what it printed");
}

fn be_killed_in_a_result(method: StartMethod, path: &str) {
    let pool = pool(method, 1);
    let items: Vec<(u32, String)> = (0..4).map(|n| (n, path.to_owned())).collect();
    let big_result = |(n, path): (u32, String)| {
        append(&format!("{path}.started"), n);
        if n != 1 {
            return Told {
                bytes: ByteBuf::from(vec![n as u8; 3]),
                encoded: String::new(),
            };
        }
        append(&path, std::process::id());
        eventually("it may go on", || {
            (!lines(&format!("{path}.go")).is_empty()).then_some(())
        });
        Told {
            bytes: ByteBuf::from(vec![1; BIG]),
            encoded: format!("{path}.encoded"),
        }
    };
    let map = pool.map(items, big_result).chunk_size(4);
    let outcomes = map.on_error(ErrorPolicy::Collect).outcomes().unwrap();
    let pid: u32 = lines(path)[0].parse().unwrap();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(told) => assert!(n != 1 && told.bytes == [n as u8; 3][..]),
            Err(error) => {
                assert_eq!((n, error.index()), (1, 1));
                let ended = ProcessEnd::Signaled(libc::SIGKILL);
                assert_lost(error.kind(), pid, ended);
            }
        }
    }
    assert_eq!(sorted_numbers(&format!("{path}.started")), [0, 1, 2, 3]);
    assert_full_strength(&pool, 1, pid);
    assert_eq!((pool.stats().lost, pool.stats().replaced), (1, 1));
}

/// Notes that it runs, and who runs it.
fn count_bytes((bytes, path): (ByteBuf, String)) -> (usize, u32) {
    append(&path, std::process::id());
    (bytes.len(), std::process::id())
}

/// The item is of 64 MiB, the ring holds 4 MiB, and the worker is stopped before anything is
/// sent: it is half sent, and stays so.
fn a_kill_when_half_of_an_input_is_sent(method: StartMethod) {
    let scratch = Scratch::new();
    let path = scratch.file("started");
    let pool = pool(method, 1);
    let worker = warm_up(&pool, 1).remove(0).pid;
    let before = pool.stats();
    stop(worker);
    let handle = pool.submit((ByteBuf::from(vec![3; BIG]), path.clone()), count_bytes);
    let info = eventually("the pool is sending", || {
        let busy = |worker: &taskfarm_process::WorkerInfo| worker.bytes_in_flight >= BIG;
        pool.workers().into_iter().find(busy)
    });
    assert_eq!((info.pid, info.item), (worker, None));
    signal(worker, libc::SIGKILL);
    let (len, pid) = handle.join().unwrap();
    assert_eq!(len, BIG);
    assert_ne!(pid, worker);
    assert_eq!(sorted_numbers(&path), [pid], "it ran once");
    assert_full_strength(&pool, 1, worker);
    let stats = pool.stats();
    assert_eq!((stats.lost, stats.replaced - before.replaced), (0, 1));
}

/// As above, but the worker goes on, with the pool's whole process stopped: it takes what is
/// in the ring and sleeps until there is more, in the middle of the payload.
fn a_kill_when_half_of_an_input_is_taken(method: StartMethod) {
    const ROLE: &str = "TASKFARM_IT_MIDDLE";
    if let Ok(path) = std::env::var(ROLE) {
        return be_killed_in_an_input(method, &path);
    }
    let scratch = Scratch::new();
    let path = scratch.file("started");
    let mut child = play(ROLE, &path).spawn().unwrap();
    let pid: u32 = eventually("half of the input is sent", || {
        let sent = lines(&format!("{path}.sent"));
        sent.first().map(|pid| pid.parse().unwrap())
    });
    stop(child.id());
    signal(pid, libc::SIGCONT);
    eventually("the worker waits for more", || is_asleep(pid).then_some(()));
    assert_eq!(lines(&path).len(), 0, "the item has not begun");
    signal(pid, libc::SIGKILL);
    eventually("the worker is dead", || (!is_alive(pid)).then_some(()));
    signal(child.id(), libc::SIGCONT);
    assert!(child.wait().unwrap().success(), "see what it printed");
}

fn be_killed_in_an_input(method: StartMethod, path: &str) {
    let pool = pool(method, 1);
    let worker = warm_up(&pool, 1).remove(0).pid;
    stop(worker);
    let input = (ByteBuf::from(vec![3; BIG]), path.to_owned());
    let handle = pool.submit(input, count_bytes);
    eventually("the pool is sending", || {
        let busy = |worker: &taskfarm_process::WorkerInfo| worker.bytes_in_flight >= BIG;
        pool.workers().into_iter().find(busy)
    });
    append(&format!("{path}.sent"), worker);
    let (len, pid) = handle.join().unwrap();
    assert_eq!(len, BIG);
    assert_ne!(pid, worker);
    assert_eq!(sorted_numbers(path), [pid], "it ran once");
    assert_full_strength(&pool, 1, worker);
    assert_eq!((pool.stats().lost, pool.stats().replaced), (0, 1));
}

// ---- Before the hello -----------------------------------------------------------------

fn birth_of_workers(method: StartMethod) -> Birth {
    match method {
        StartMethod::Exec => Birth::Executed,
        _ => Birth::Forked,
    }
}

/// Submits items that note when they start.
fn submit_items(pool: &ProcessPool, path: &str) -> Vec<Handle<'static, u32>> {
    let submit = |n| {
        let item = (n, path.to_owned());
        pool.submit(item, |(n, path)| {
            append(&path, n);
            n
        })
    };
    (0..20).map(submit).collect()
}

/// As many processes that were to become workers die before they have said hello. Nothing
/// was theirs, so nothing is lost.
///
/// A worker inherits blocked signals and unblocks them just before its hello: there, at the
/// latest, one that is not SIGKILL takes effect.
fn check_before_hello(method: StartMethod, number: i32, num_deaths: u32) {
    let scratch = Scratch::new();
    let hold = Hold::new(&scratch);
    let pool = pool(method, 2);
    if method == StartMethod::Fork {
        // Or the pass would be taken by the zygote, which is a fork, too.
        wait_for_the_zygote(children()[0]);
    }
    hold.next_ones(birth_of_workers(method), num_deaths);
    let path = scratch.file("started");
    let handles = submit_items(&pool, &path);
    for nth in 0..num_deaths as usize {
        let pid = hold.nth(nth);
        signal(pid, number);
        if number != libc::SIGKILL && nth + 1 == num_deaths as usize {
            hold.release();
        }
        if number == libc::SIGKILL {
            eventually("it is dead", || (!is_alive(pid)).then_some(()));
        }
    }
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u32);
    }
    assert_eq!(
        sorted_numbers(&path),
        Vec::from_iter(0..20),
        "each ran once"
    );
    let workers = idle_workers(&pool, 2);
    for nth in 0..num_deaths as usize {
        let pid = hold.nth(nth);
        assert!(!is_alive(pid) && workers.iter().all(|worker| worker.pid != pid));
    }
    let stats = pool.stats();
    assert_eq!((stats.items, stats.lost, stats.timed_out), (20, 0, 0));
    assert_eq!(stats.started, 2 + u64::from(num_deaths));
}

fn wait_for_the_zygote(pid: u32) {
    eventually("the zygote is ready", || {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (name.trim() == "taskfarm-zygote").then_some(())
    });
}

/// The zygote is killed before it has agreed to be one. Another one takes its place, except
/// that a process is forked only while it has one thread: then there are no workers any
/// more, and every item says so.
fn kill_the_zygote_before_its_hello(method: StartMethod) {
    if method == StartMethod::Exec {
        return;
    }
    let scratch = Scratch::new();
    let hold = Hold::new(&scratch);
    match method {
        StartMethod::Fork => hold.next_ones(Birth::Forked, 1),
        _ => hold.next_ones(Birth::Executed, 1),
    }
    let pool = pool(method, 2);
    let path = scratch.file("started");
    let handles = submit_items(&pool, &path);
    let pid = hold.nth(0);
    assert_eq!(children(), [pid]);
    signal(pid, libc::SIGKILL);
    if method == StartMethod::Fork {
        for handle in handles {
            let error = handle.join().unwrap_err();
            let TaskErrorKind::Undeliverable(why) = error.kind() else {
                panic!("{error}");
            };
            assert!(why.contains("no worker process can be started"), "{why}");
        }
        assert_eq!(sorted_numbers(&path), []);
        drop(pool);
        assert_eq!(children(), []);
        return;
    }
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u32);
    }
    assert_eq!(
        sorted_numbers(&path),
        Vec::from_iter(0..20),
        "each ran once"
    );
    idle_workers(&pool, 2);
    assert!(!is_alive(pid));
    assert_eq!((pool.stats().items, pool.stats().lost), (20, 0));
}

/// The zygote that is executed has all signals blocked, by the thread that starts it: but
/// for SIGKILL it takes no notice.
fn sigterm_of_the_zygote(method: StartMethod) {
    if method != StartMethod::Zygote {
        return;
    }
    let scratch = Scratch::new();
    let hold = Hold::new(&scratch);
    hold.next_ones(Birth::Executed, 1);
    let pool = pool(method, 2);
    let path = scratch.file("started");
    let handles = submit_items(&pool, &path);
    let pid = hold.nth(0);
    signal(pid, libc::SIGTERM);
    hold.release();
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u32);
    }
    assert_eq!(
        sorted_numbers(&path),
        Vec::from_iter(0..20),
        "each ran once"
    );
    idle_workers(&pool, 2);
    assert_eq!(children(), [pid], "it is still the same one");
    assert_eq!(pool.stats().started, 2);
}

/// One worker is dead, and its zygote, which is stopped, has told nobody; items wait for it.
/// Then the zygote is killed, too.
fn a_kill_of_a_stopped_zygote(method: StartMethod) {
    if method != StartMethod::Zygote {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.file("started");
    let pool = pool(method, 1);
    let worker = warm_up(&pool, 1).remove(0).pid;
    let zygote = children();
    assert_eq!(zygote.len(), 1);
    stop(zygote[0]);
    signal(worker, libc::SIGKILL);
    eventually("the worker is dead", || (!is_alive(worker)).then_some(()));
    let handles = submit_items(&pool, &path);
    signal(zygote[0], libc::SIGKILL);
    for (n, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), n as u32);
    }
    assert_eq!(
        sorted_numbers(&path),
        Vec::from_iter(0..20),
        "each ran once"
    );
    assert_full_strength(&pool, 1, worker);
    assert_eq!(pool.stats().lost, 0);
    assert!(!is_alive(zygote[0]));
}
