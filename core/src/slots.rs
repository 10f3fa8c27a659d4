//! The fast road of `collect`: a vector in, a vector out, every result in its place.
//!
//! One cursor runs over the items. Each worker claims the next few, reads each item out
//! of its slot and writes the result into the slot of the same number; where items and
//! results have the same layout, the two vectors are one piece of memory, and no page is
//! touched that was not in use before. No lock, no allocation and no job per item.
//!
//! This road ends at the first failure, whatever the policy: `collect` has no use for the
//! other results then. Maps that need more (limits, retries, other policies, iterators)
//! go by [`flow`](crate::flow).
//!
//! # Who may touch a slot
//!
//! 1. A slot belongs to whoever claimed its number; the cursor gives each number once.
//! 2. The claimer reads the item once, then may write the result once.
//! 3. When all claimers are gone, the owner has every slot: `Ended` says which hold a
//!    result and which still hold an item; what the cursor never reached holds an item.

use std::mem::ManuallyDrop;
use std::ops::Range;

use crossbeam_utils::CachePadded;

use crate::control::Control;
use crate::job::GaveUp;
use crate::lease::Lent;
use crate::pace::Pace;
use crate::panic::{catch, drop_quietly};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::cause;
use crate::work::Work;
use crate::{CancelReason, CancellationToken, TaskError, TaskErrorKind};

/// A map from vector to vector that is under way.
pub(crate) struct Slots<I, W: Work<I>> {
    work: W,
    control: Control,
    memory: Memory<I, W::Out>,
    cursor: CachePadded<AtomicUsize>,
    num_workers: usize,
    chunk_size: Option<usize>,
    next_lane: AtomicUsize,
    ended: Mutex<Ended<W::Error>>,
}

/// What the claimers left behind.
struct Ended<E> {
    /// Slots that hold a result.
    filled: Vec<Range<usize>>,
    /// Claimed slots that still hold an item.
    unread: Vec<Range<usize>>,
    failures: Vec<TaskError<E>>,
}

impl<I, W> Slots<I, W>
where
    I: Send,
    W: Work<I, Out: Send, Error: Send>,
{
    pub(crate) fn new(
        items: Vec<I>,
        work: W,
        control: Control,
        num_workers: usize,
        chunk_size: Option<usize>,
    ) -> Self {
        Self {
            work,
            control,
            memory: Memory::new(items),
            cursor: CachePadded::new(AtomicUsize::new(0)),
            num_workers,
            chunk_size,
            next_lane: AtomicUsize::new(0),
            ended: Mutex::new(Ended {
                filled: Vec::new(),
                unread: Vec::new(),
                failures: Vec::new(),
            }),
        }
    }

    /// How many tickets find something to do.
    pub(crate) fn num_tickets(&self) -> usize {
        self.num_workers.min(self.memory.len)
    }

    /// The results in order, or why there are not all of them. `lent` is how the lease
    /// ended.
    pub(crate) fn into_results(
        mut self,
        lent: Result<(), GaveUp>,
    ) -> Result<Vec<W::Out>, Vec<TaskError<W::Error>>>
    where
        W::Error: std::fmt::Display,
    {
        let len = self.memory.len;
        let mut ended = self.ended.lock();
        ended.filled.sort_by_key(|range| range.start);
        let missing = Some(first_gap(&ended.filled)).filter(|&gap| gap < len);
        if let Some(gap) = missing {
            if ended.failures.is_empty() {
                let kind = match (self.control.stopped(), lent) {
                    (Some(reason), _) => TaskErrorKind::Cancelled(reason),
                    (None, Err(why)) => why.into_kind(),
                    (None, Ok(())) => TaskErrorKind::Cancelled(CancelReason::Abandoned),
                };
                let failure = self.control.fail(gap, 1, kind);
                ended.failures.push(failure);
            }
        }
        self.control.finish(len);
        if missing.is_some() {
            return Err(std::mem::take(&mut ended.failures));
        }
        ended.filled.clear();
        drop(ended);
        Ok(self.memory.take_results())
    }

    /// Claims the next few slots.
    fn claim(&self, pace: &Pace) -> Option<Range<usize>> {
        let len = self.memory.len;
        let mut end = 0;
        let claimed = self
            .cursor
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |start| {
                let left = len - start;
                end = start + pace.next(left / (4 * self.num_workers)).min(left);
                (left > 0).then_some(end)
            });
        claimed.ok().map(|start| start..end)
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

impl<I, W> Lent for Slots<I, W>
where
    I: Send,
    W: Work<I, Out: Send, Error: Send + std::fmt::Display>,
{
    fn work(&self) {
        let lane = self.next_lane.fetch_add(1, Ordering::Relaxed);
        let mut state = None;
        let mut pace = Pace::new(self.chunk_size, self.memory.len);
        while !self.control.is_stopped() {
            let Some(range) = self.claim(&pace) else {
                break;
            };
            let num_items = range.len();
            pace.start();
            self.run(range, &mut state, lane);
            pace.end(num_items);
        }
        if let Some(state) = state {
            if let Err(panic) = catch(|| self.work.stop(state)) {
                log::error!("the exit hook of a worker panicked: {panic}");
            }
        }
    }

    fn is_exhausted(&self) -> bool {
        self.control.is_stopped() || self.cursor.load(Ordering::Relaxed) >= self.memory.len
    }

    fn token(&self) -> &CancellationToken {
        self.control.token()
    }
}

impl<I, W> Slots<I, W>
where
    I: Send,
    W: Work<I, Out: Send, Error: Send + std::fmt::Display>,
{
    /// Runs the items of a claimed range, up to the first failure.
    fn run(&self, range: Range<usize>, state: &mut Option<W::State>, lane: usize) {
        let counts_items = self.control.is_observed();
        let mut next = range.start;
        let mut unread = range.start;
        let caught = catch(|| {
            let state = state.get_or_insert_with(|| self.work.start());
            while next < range.end && !self.control.is_stopped() {
                unread = next + 1;
                // SAFETY: rules 1 and 2: the number was claimed by this call, and `next`
                // only grows.
                let item = unsafe { self.memory.read(next) };
                let result = self.work.call(state, item)?;
                // SAFETY: as above; the item is gone from the slot.
                unsafe { self.memory.write(next, result) };
                next = unread;
                if counts_items {
                    self.control.progress().count_ok(lane, 1);
                }
            }
            Ok(())
        });
        if !counts_items {
            let num_ok = (next - range.start) as u64;
            self.control.progress().count_ok(lane, num_ok);
        }
        if caught.is_err() {
            // A panic may have left it half-changed.
            drop_quietly(state.take());
        }
        let failure = cause(caught)
            .err()
            .map(|kind| self.control.fail(next, 1, kind));
        let mut ended = self.ended.lock();
        extend(&mut ended.filled, range.start..next);
        extend(&mut ended.unread, unread..range.end);
        ended.failures.extend(failure);
    }
}

/// Appends a range, merging it with the last one where it continues that.
fn extend(ranges: &mut Vec<Range<usize>>, new: Range<usize>) {
    match ranges.last_mut() {
        _ if new.is_empty() => {}
        Some(last) if last.end == new.start => last.end = new.end,
        _ => ranges.push(new),
    }
}

impl<I, W: Work<I>> Drop for Slots<I, W> {
    fn drop(&mut self) {
        let ended = self.ended.lock();
        let unclaimed = self.cursor.load(Ordering::Relaxed)..self.memory.len;
        // SAFETY: rule 3: `&mut self` means that all claimers are gone, and each range
        // names slots whose content nobody has taken.
        unsafe { self.memory.drop_results(&ended.filled) };
        // SAFETY: as above.
        unsafe { self.memory.drop_items(&ended.unread) };
        // SAFETY: as above.
        unsafe { self.memory.drop_items(&[unclaimed]) };
    }
}

/// The slots. Frees the memory, never the contents.
struct Memory<I, R> {
    items: *mut I,
    results: *mut R,
    len: usize,
    items_capacity: usize,
    results_capacity: usize,
    /// Whether `results` has been handed out.
    is_taken: bool,
}

// SAFETY: a slot's item is moved to the thread that claimed it, and its result back to the
// owner; the rules at the top of the file keep two threads out of one slot.
unsafe impl<I: Send, R: Send> Send for Memory<I, R> {}
// SAFETY: as above.
unsafe impl<I: Send, R: Send> Sync for Memory<I, R> {}

impl<I, R> Memory<I, R> {
    /// Whether a vector's memory serves for items and results alike.
    const SHARED: bool = size_of::<I>() == size_of::<R>() && align_of::<I>() == align_of::<R>();

    fn new(items: Vec<I>) -> Self {
        let mut items = ManuallyDrop::new(items);
        let (pointer, len, capacity) = (items.as_mut_ptr(), items.len(), items.capacity());
        let (results, results_capacity) = if Self::SHARED {
            (pointer.cast(), capacity)
        } else {
            let mut results = ManuallyDrop::new(Vec::<R>::with_capacity(len));
            (results.as_mut_ptr(), results.capacity())
        };
        Self {
            items: pointer,
            results,
            len,
            items_capacity: capacity,
            results_capacity,
            is_taken: false,
        }
    }

    /// Moves an item out of its slot.
    ///
    /// # Safety
    ///
    /// The slot holds an item, and belongs to the caller.
    #[inline]
    unsafe fn read(&self, at: usize) -> I {
        // SAFETY: the caller's; `at` is below `len`.
        unsafe { self.items.add(at).read() }
    }

    /// Moves a result into its slot.
    ///
    /// # Safety
    ///
    /// The slot is empty, and belongs to the caller.
    #[inline]
    unsafe fn write(&self, at: usize, result: R) {
        // SAFETY: the caller's; `at` is below `len`.
        unsafe { self.results.add(at).write(result) }
    }

    /// The results, all of which have been written.
    fn take_results(&mut self) -> Vec<R> {
        self.is_taken = true;
        // SAFETY: the memory came from a vector of this layout and capacity; `is_taken`
        // keeps `drop` from freeing it.
        unsafe { Vec::from_raw_parts(self.results, self.len, self.results_capacity) }
    }

    /// # Safety
    ///
    /// The slots of the ranges hold results, and belong to the caller.
    unsafe fn drop_results(&mut self, ranges: &[Range<usize>]) {
        for range in ranges {
            // SAFETY: within the memory.
            let start = unsafe { self.results.add(range.start) };
            // SAFETY: the caller's.
            unsafe { std::ptr::slice_from_raw_parts_mut(start, range.len()).drop_in_place() };
        }
    }

    /// # Safety
    ///
    /// The slots of the ranges hold items, and belong to the caller.
    unsafe fn drop_items(&mut self, ranges: &[Range<usize>]) {
        for range in ranges {
            // SAFETY: within the memory.
            let start = unsafe { self.items.add(range.start) };
            // SAFETY: the caller's.
            unsafe { std::ptr::slice_from_raw_parts_mut(start, range.len()).drop_in_place() };
        }
    }
}

impl<I, R> Drop for Memory<I, R> {
    fn drop(&mut self) {
        if !(Self::SHARED && self.is_taken) {
            // SAFETY: the memory came from a vector of this capacity, and its contents are
            // gone.
            drop(unsafe { Vec::from_raw_parts(self.items, 0, self.items_capacity) });
        }
        if !Self::SHARED && !self.is_taken {
            // SAFETY: as above.
            drop(unsafe { Vec::from_raw_parts(self.results, 0, self.results_capacity) });
        }
    }
}
