//! [`Lease`]: see "Why borrowed data is safe" in `lease.rs`.

use std::sync::Arc;

use super::{Gate, Seen, Threads, panic_quietly};
use crate::job::{GaveUp, Job};
use crate::lease::{Lease, Lent, lend};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread;
use crate::{CancellationToken, Executor, ExecutorId, InProcess};

/// Work that borrows: one piece, which adds one to a number.
struct Piece<'a> {
    number: &'a Seen,
    is_taken: AtomicBool,
    token: CancellationToken,
}

impl<'a> Piece<'a> {
    fn new(number: &'a Seen) -> Arc<Self> {
        Arc::new(Self {
            number,
            is_taken: AtomicBool::new(false),
            token: CancellationToken::new(),
        })
    }
}

impl Lent for Piece<'_> {
    fn work(&self) {
        if !self.is_taken.swap(true, Ordering::AcqRel) {
            self.number.set(self.number.get() + 1);
        }
    }

    fn is_exhausted(&self) -> bool {
        self.token.is_cancelled() || self.is_taken.load(Ordering::Acquire)
    }

    fn token(&self) -> &CancellationToken {
        &self.token
    }
}

/// Key of an executor that no thread of a model belongs to.
const KEY: u64 = u64::MAX;

/// The waiter wakes when the piece is done, by whichever of two tickets, and sees it.
#[test]
fn loom_a_lease_waits_for_its_work() {
    loom::model(|| {
        let number = Seen::new(0);
        let piece = Piece::new(&number);
        let pool = Threads::new(2);
        let ended = lend(KEY, piece.clone(), |lease| {
            lease.spawn(&pool);
            lease.spawn(&pool);
            lease.wait()
        });
        assert_eq!(ended, Ok(()));
        assert_eq!(number.get(), 1);
        assert_eq!(Arc::strong_count(&piece), 1, "the work is still lent");
    });
}

/// A caller that leaves early, as one that unwinds, waits for whoever is inside; and
/// nobody enters later.
#[test]
fn loom_nobody_is_left_inside_a_revoked_lease() {
    loom::model(|| {
        let number = Seen::new(0);
        let piece = Piece::new(&number);
        let pool = Threads::new(1);
        lend(KEY, piece.clone(), |lease| lease.spawn(&pool));
        number.set(7);
        assert_eq!(Arc::strong_count(&piece), 1, "the work is still lent");
    });
}

/// The caller takes part while tickets come and go.
#[test]
fn loom_a_caller_that_helps() {
    loom::model(|| {
        let number = Seen::new(0);
        let piece = Piece::new(&number);
        let pool = Threads::new(1);
        let ended = lend(KEY, piece.clone(), |lease| {
            lease.spawn(&pool);
            lease.help();
            lease.wait()
        });
        assert_eq!((ended, number.get()), (Ok(()), 1));
    });
}

/// An executor that gives every job up, elsewhere and later.
struct Loser(ExecutorId);

impl Executor for Loser {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.0
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        thread::spawn(|| drop(job));
        Ok(())
    }

    fn parallelism(&self) -> std::num::NonZeroUsize {
        std::num::NonZeroUsize::MIN
    }
}

/// A waiter whose last ticket is given up wakes, and says why.
#[test]
fn loom_a_lost_ticket_wakes_the_waiter() {
    loom::model(|| {
        let number = Seen::new(0);
        let pool = Loser(ExecutorId::new("loser"));
        let ended = lend(KEY, Piece::new(&number), |lease| {
            lease.spawn(&pool);
            lease.wait()
        });
        assert_eq!((ended, number.get()), (Err(GaveUp::Dropped), 0));
    });
}

/// An executor that never gets round to its jobs.
struct Sleeper(ExecutorId, std::sync::Mutex<Vec<Job>>);

impl Executor for Sleeper {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.0
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        self.1.lock().unwrap().push(job);
        Ok(())
    }

    fn parallelism(&self) -> std::num::NonZeroUsize {
        std::num::NonZeroUsize::MIN
    }
}

/// A waiter whose map is cancelled does not wait for tickets that are still queued.
#[test]
fn loom_cancel_against_completion() {
    loom::model(|| {
        let number = Seen::new(0);
        let piece = Piece::new(&number);
        let token = piece.token.clone();
        let canceller = thread::spawn(move || token.cancel());
        let pool = Sleeper(ExecutorId::new("sleeper"), std::sync::Mutex::default());
        let ended = lend(KEY, piece, |lease| {
            lease.wake_on_cancel();
            lease.spawn(&pool);
            lease.wait()
        });
        assert_eq!((ended, number.get()), (Ok(()), 0));
        canceller.join().unwrap();
    });
}

/// Work that unwinds, against its contract, does not make its caller wait for ever.
#[test]
fn loom_a_panic_in_the_work_of_a_lease() {
    struct Unwinds(CancellationToken);
    impl Lent for Unwinds {
        fn work(&self) {
            panic_quietly()
        }
        fn is_exhausted(&self) -> bool {
            true
        }
        fn token(&self) -> &CancellationToken {
            &self.0
        }
    }
    loom::model(|| {
        let pool = Threads::new(1);
        let ended = lend(KEY, Arc::new(Unwinds(CancellationToken::new())), |lease| {
            lease.spawn(&pool);
            lease.wait()
        });
        assert_eq!(ended, Ok(()));
    });
}

/// Work that borrows nothing may be abandoned under a worker; the last of them drops it.
#[test]
fn loom_abandoned_work_is_dropped_once() {
    struct Owned(Arc<Gate>, CancellationToken);
    impl Lent for Owned {
        fn work(&self) {
            self.0.open();
        }
        fn is_exhausted(&self) -> bool {
            false
        }
        fn token(&self) -> &CancellationToken {
            &self.1
        }
    }
    loom::model(|| {
        let value = Arc::new(Gate::default());
        let work = Owned(value.clone(), CancellationToken::new());
        let lease = Lease::new(KEY, Arc::new(work));
        let other = lease.clone();
        let worker = thread::spawn(move || Job::new(other).run());
        lease.abandon();
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&value), 1);
    });
}
