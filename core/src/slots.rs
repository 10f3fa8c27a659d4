//! The fast road of `collect`: every result is written once, in its place.
//!
//! The results have one slot for each item. Workers claim the next few items from a
//! [`Source`] and write the results into the slots of the same numbers. Where the source is
//! a vector and items and results have the same layout, the slots are the vector's own
//! memory, and no page is touched that was not in use before. No lock (but for iterators),
//! no allocation and no job per item.
//!
//! This road ends at the first failure, whatever the policy: `collect` has no use for the
//! other results then. Maps that need more (limits, retries, other policies, inputs of
//! unknown length) go by [`flow`](crate::flow).
//!
//! # Who may touch a slot
//!
//! 1. A slot belongs to whoever claimed its number; the source gives each number once.
//! 2. The claimer takes the item first, then may write the result, once.
//! 3. When all claimers are gone, the owner has every slot; `Ended` says which hold a
//!    result.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;

use crate::control::Control;
use crate::job::GaveUp;
use crate::lease::Lent;
use crate::pace::Pace;
use crate::panic::{catch, drop_quietly};
use crate::source::{Claim, Source};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::cause;
use crate::work::{self, Work};
use crate::{CancelReason, CancellationToken, TaskError, TaskErrorKind};

/// A map into slots that is under way.
pub(crate) struct Slots<S: Source, W: Work<S::Item>> {
    work: W,
    control: Control,
    source: S,
    results: Results<W::Out>,
    num_workers: usize,
    chunk_size: Option<usize>,
    next_lane: AtomicUsize,
    ended: Mutex<Ended<W::Error>>,
}

/// What the claimers left behind.
struct Ended<E> {
    /// Slots that hold a result.
    filled: Vec<Range<usize>>,
    failures: Vec<TaskError<E>>,
}

impl<S, W> Slots<S, W>
where
    S: Source,
    W: Work<S::Item, Out: Send, Error: fmt::Display + Send>,
{
    pub(crate) fn new(
        source: S,
        work: W,
        control: Control,
        num_workers: usize,
        chunk_size: Option<usize>,
    ) -> Self {
        Self {
            work,
            control,
            results: Results::over(&source),
            source,
            num_workers,
            chunk_size,
            next_lane: AtomicUsize::new(0),
            ended: Mutex::new(Ended {
                filled: Vec::new(),
                failures: Vec::new(),
            }),
        }
    }

    /// How many tickets find something to do: for an iterator at least one, which finds
    /// whether it is as empty as it says.
    pub(crate) fn num_tickets(&self) -> usize {
        match self.source.is_exhausted() {
            true => 0,
            false => self.num_workers.min(self.source.len().max(1)),
        }
    }

    /// The results in order, or the first reason why there are not all of them. `lent` is how the lease
    /// ended.
    pub(crate) fn into_results(
        mut self,
        lent: Result<(), GaveUp>,
    ) -> Result<Vec<W::Out>, TaskError<W::Error>> {
        let len = self.source.len();
        let mut ended = self.ended.lock();
        ended.filled.sort_by_key(|range| range.start);
        let num_filled = first_gap(&ended.filled);
        if num_filled < len && ended.failures.is_empty() {
            let kind = match (self.control.stopped(), lent) {
                (Some(reason), _) => TaskErrorKind::Cancelled(reason),
                (None, Err(why)) => why.into_kind(),
                (None, Ok(())) => TaskErrorKind::Cancelled(CancelReason::Abandoned),
            };
            ended.failures.push(self.control.fail(num_filled, 1, kind));
        }
        self.control.finish(len);
        let failures = std::mem::take(&mut ended.failures);
        if let Some(lowest) = failures.into_iter().min_by_key(TaskError::index) {
            return Err(lowest);
        }
        ended.filled.clear();
        drop(ended);
        Ok(self.results.take(num_filled, &mut self.source))
    }

    /// Runs claimed items, up to the first failure.
    fn run(&self, mut claim: S::Claim<'_>, state: &mut Option<W::State>, lane: usize) {
        let counts_items = self.control.is_observed();
        let stop = self.control.token().flag();
        let results = self.results.slots;
        let first = claim.first();
        let mut next = first;
        let caught = catch(|| {
            let state = state.get_or_insert_with(|| self.work.start());
            while !stop.is_set() {
                let Some(item) = claim.next() else { break };
                let result = self.work.call(state, item)?;
                // SAFETY: within the slots.
                let slot = unsafe { results.add(next) };
                // SAFETY: rules 1 and 2: the number was claimed by this call, its item is
                // taken, and `next` only grows.
                unsafe { slot.write(result) };
                next += 1;
                if counts_items {
                    self.control.progress().count_ok(lane, 1);
                }
            }
            Ok(())
        });
        drop_quietly(claim);
        if !counts_items {
            self.control
                .progress()
                .count_ok(lane, (next - first) as u64);
        }
        if caught.is_err() {
            // A panic may have left it half-changed.
            drop_quietly(state.take());
        }
        let failure = cause(caught)
            .err()
            .map(|kind| self.control.fail(next, 1, kind));
        let mut ended = self.ended.lock();
        extend(&mut ended.filled, first..next);
        ended.failures.extend(failure);
    }
}

/// The first number that no range covers; the ranges are sorted and do not overlap.
fn first_gap(filled: &[Range<usize>]) -> usize {
    let mut next = 0;
    for range in filled {
        if range.start > next {
            break;
        }
        next = range.end;
    }
    next
}

/// Appends a range, merging it with the last one where it continues that.
fn extend(ranges: &mut Vec<Range<usize>>, new: Range<usize>) {
    match ranges.last_mut() {
        _ if new.is_empty() => {}
        Some(last) if last.end == new.start => last.end = new.end,
        _ => ranges.push(new),
    }
}

impl<S, W> Lent for Slots<S, W>
where
    S: Source,
    W: Work<S::Item, Out: Send, Error: fmt::Display + Send>,
{
    fn work(&self) {
        let lane = self.next_lane.fetch_add(1, Ordering::Relaxed);
        let mut state = None;
        let mut pace = Pace::new(self.chunk_size, self.source.len());
        while !self.control.is_stopped() {
            let wanted = |left: usize| pace.size_within(left / (4 * self.num_workers)).min(left);
            match self.source.claim(&wanted) {
                Ok(None) => break,
                Ok(Some(claim)) => {
                    let num_items = claim.len();
                    self.run(claim, &mut state, lane);
                    pace.done(num_items);
                }
                Err((index, panic)) => {
                    let kind = TaskErrorKind::InputPanicked(panic);
                    let failure = self.control.fail(index, 1, kind);
                    self.ended.lock().failures.push(failure);
                }
            }
        }
        work::stop(&self.work, state);
    }

    fn is_exhausted(&self) -> bool {
        self.control.is_stopped() || self.source.is_exhausted()
    }

    fn token(&self) -> &CancellationToken {
        self.control.token()
    }
}

impl<S: Source, W: Work<S::Item>> Drop for Slots<S, W> {
    fn drop(&mut self) {
        let ended = self.ended.lock();
        // SAFETY: rule 3: `&mut self` means that all claimers are gone, and nobody has taken
        // these results.
        unsafe { self.results.drop_contents(&ended.filled) };
    }
}

/// The slots of the results. Frees the memory, never the contents.
struct Results<R> {
    slots: *mut R,
    capacity: usize,
    /// Whether the memory is the source's, or was handed out.
    is_foreign: bool,
}

// SAFETY: results are moved from the threads that write them to the owner; the rules at the
// top of the file keep two threads out of one slot.
unsafe impl<R: Send> Send for Results<R> {}
// SAFETY: as above.
unsafe impl<R: Send> Sync for Results<R> {}

impl<R> Results<R> {
    /// One slot for each item of `source`: its own memory where that has the right layout.
    fn over<S: Source>(source: &S) -> Self {
        let is_same =
            size_of::<S::Item>() == size_of::<R>() && align_of::<S::Item>() == align_of::<R>();
        if let (true, Some((slots, capacity))) = (is_same, source.memory()) {
            return Self {
                slots: slots.cast(),
                capacity,
                is_foreign: true,
            };
        }
        let mut slots = ManuallyDrop::new(Vec::<R>::with_capacity(source.len()));
        Self {
            slots: slots.as_mut_ptr(),
            capacity: slots.capacity(),
            is_foreign: false,
        }
    }

    /// The first `len` results, which have all been written.
    fn take<S: Source>(&mut self, len: usize, source: &mut S) -> Vec<R> {
        if self.is_foreign {
            source.give_memory();
        }
        self.is_foreign = true;
        // SAFETY: the memory came from a vector of this capacity and layout, and from now
        // on nobody else frees it.
        unsafe { Vec::from_raw_parts(self.slots, len, self.capacity) }
    }

    /// # Safety
    ///
    /// The slots of the ranges hold results, and belong to the caller.
    unsafe fn drop_contents(&mut self, ranges: &[Range<usize>]) {
        for range in ranges {
            // SAFETY: within the slots.
            let start = unsafe { self.slots.add(range.start) };
            // SAFETY: the caller's.
            unsafe { std::ptr::slice_from_raw_parts_mut(start, range.len()).drop_in_place() };
        }
    }
}

impl<R> Drop for Results<R> {
    fn drop(&mut self) {
        if !self.is_foreign {
            // SAFETY: the memory came from a vector of this capacity.
            drop(unsafe { Vec::from_raw_parts(self.slots, 0, self.capacity) });
        }
    }
}
