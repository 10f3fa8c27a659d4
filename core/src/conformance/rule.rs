//! [`Rule`]: the rules of the contract that the kit checks.

use std::fmt;

/// A rule of the contract. Messages cite its [id](Self::id) and [text](Self::text).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// Order of results.
    Ord1,
    /// One outcome for each item.
    Once1,
    /// As many jobs at once as declared.
    Par1,
    /// Bounded look-ahead.
    Lazy1,
    /// Who enters the input.
    Lazy2,
    /// Chunks are invisible.
    Chunk1,
    /// Failing fast.
    Err1,
    /// Which failure is reported.
    Err2,
    /// Collecting and skipping failures.
    Err3,
    /// Panics.
    Pan1,
    /// Cancelling.
    Can1,
    /// Time limits.
    Time1,
    /// Waiting with a timeout.
    Time2,
    /// Nested waits.
    Nest1,
    /// Dropping.
    Drop1,
    /// Shutting down.
    Shut1,
    /// Extremes.
    Zero1,
    /// Observers.
    Obs1,
    /// No residue.
    Res1,
    /// Crashes of workers.
    Rem1,
    /// What cannot be encoded.
    Rem2,
    /// No orphans.
    Rem3,
    /// An undisturbed protocol.
    Rem4,
}

impl Rule {
    /// How documentation, tests and messages call it, such as `ORD-1`.
    pub const fn id(self) -> &'static str {
        self.entry().0
    }

    /// What it says.
    pub const fn text(self) -> &'static str {
        self.entry().1
    }

    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Ord1 => (
                "ORD-1",
                "collect and ordered yield in input order; as_completed yields each finished \
                 item soon after it ends, whatever the chunk",
            ),
            Self::Once1 => (
                "ONCE-1",
                "each item's outcome is reported exactly once; an accepted job runs; without \
                 retries each item starts at most once",
            ),
            Self::Par1 => (
                "PAR-1",
                "as many jobs run at the same time as `parallelism` says, and no more; \
                 `spawn` waits for none of them",
            ),
            Self::Lazy1 => (
                "LAZY-1",
                "items pulled but not yet delivered never exceed the bound; the default bound \
                 is finite; endless inputs work",
            ),
            Self::Lazy2 => (
                "LAZY-2",
                "the input iterator is never entered by two threads at once; a panic in it \
                 reaches the caller",
            ),
            Self::Chunk1 => (
                "CHUNK-1",
                "results, errors, timeouts, progress and cancellation are per item and equal \
                 for every chunk size",
            ),
            Self::Err1 => (
                "ERR-1",
                "fail-fast: after the first failure is known no item starts; running items \
                 are asked to stop; the call returns",
            ),
            Self::Err2 => (
                "ERR-2",
                "fail-fast reports the failure with the lowest index among those known",
            ),
            Self::Err3 => (
                "ERR-3",
                "collect reports one outcome for each item; skip delivers the successes in \
                 order",
            ),
            Self::Pan1 => (
                "PAN-1",
                "a panic is that item's outcome, message kept; the worker and the pool go on",
            ),
            Self::Can1 => (
                "CAN-1",
                "cancel answers truthfully: not started (never will), asked (running here), \
                 killed (running elsewhere), too late",
            ),
            Self::Time1 => (
                "TIME-1",
                "a time limit counts from the item's own start; an item that exceeds it ends \
                 as timed out, its token is set, its late result is discarded",
            ),
            Self::Time2 => (
                "TIME-2",
                "every wait has a form with a timeout that leaves the task unharmed",
            ),
            Self::Nest1 => (
                "NEST-1",
                "submitting and waiting from inside a task never deadlocks, with one worker \
                 too",
            ),
            Self::Drop1 => (
                "DROP-1",
                "dropping a pool, a scope or an iterator ends its work as documented; no \
                 thread, process, descriptor or value is left",
            ),
            Self::Shut1 => (
                "SHUT-1",
                "after a shutdown new work is refused with a clear error; every handle \
                 resolves; waiters wake",
            ),
            Self::Zero1 => (
                "ZERO-1",
                "zero items, one item, zero workers (an error), more workers than items, \
                 chunks larger than the input",
            ),
            Self::Obs1 => (
                "OBS-1",
                "observers see every item once; ok + failed + cancelled + … = total; a \
                 panicking observer harms nothing",
            ),
            Self::Res1 => (
                "RES-1",
                "nothing of a failed or aborted call leaks into the next one on the same pool",
            ),
            Self::Rem1 => (
                "REM-1",
                "one crash costs one item; the rest of its chunk runs elsewhere; the pool is \
                 back to full strength",
            ),
            Self::Rem2 => (
                "REM-2",
                "what cannot be encoded or decoded is that item's error; the worker lives",
            ),
            Self::Rem3 => (
                "REM-3",
                "no worker outlives its parent, however the parent dies",
            ),
            Self::Rem4 => (
                "REM-4",
                "bytes printed by tasks, closed descriptors and forks inside tasks do not \
                 disturb the protocol",
            ),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
