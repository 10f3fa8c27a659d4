//! [`Source`]: where a map of known length takes its items from, a few at a time.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Range;

use crossbeam_utils::CachePadded;

use crate::panic::{Panic, catch, drop_quietly};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Items with numbers from 0, each to be claimed once.
pub(crate) trait Source: Send + Sync {
    type Item: Send;
    type Claim<'a>: Claim<Self::Item>
    where
        Self: 'a;

    /// How many items there are; for iterators that end early, how many were promised until
    /// they end.
    fn len(&self) -> usize;

    /// Claims the next items: of those that are `left`, `wanted(left)`. `None`: there are
    /// no more.
    ///
    /// # Errors
    ///
    /// If the iterator panicked when it was asked for the item with this number. There are
    /// no more items then.
    fn claim(
        &self,
        wanted: &dyn Fn(usize) -> usize,
    ) -> Result<Option<Self::Claim<'_>>, (usize, Panic)>;

    fn is_exhausted(&self) -> bool;

    /// The memory of the items and its capacity, if slots for results may lie there.
    fn memory(&self) -> Option<(*mut Self::Item, usize)>;

    /// Lets go of the memory: somebody else frees it.
    fn give_memory(&mut self);
}

/// A few items of a source. Dropping it drops those that were not taken.
pub(crate) trait Claim<I>: Iterator<Item = I> + ExactSizeIterator {
    /// The number of the first item.
    fn first(&self) -> usize;
}

/// The items of a vector.
pub(crate) struct Items<I> {
    items: *mut I,
    len: usize,
    capacity: usize,
    cursor: CachePadded<AtomicUsize>,
    is_given: bool,
}

// SAFETY: an item is moved to the thread that claims it, and the cursor gives each once.
unsafe impl<I: Send> Send for Items<I> {}
// SAFETY: as above.
unsafe impl<I: Send> Sync for Items<I> {}

impl<I> Items<I> {
    pub(crate) fn new(items: Vec<I>) -> Self {
        let mut items = ManuallyDrop::new(items);
        Self {
            items: items.as_mut_ptr(),
            len: items.len(),
            capacity: items.capacity(),
            cursor: CachePadded::new(AtomicUsize::new(0)),
            is_given: false,
        }
    }
}

impl<I: Send> Source for Items<I> {
    type Item = I;
    type Claim<'a>
        = ItemsClaim<'a, I>
    where
        I: 'a;

    fn len(&self) -> usize {
        self.len
    }

    fn claim(
        &self,
        wanted: &dyn Fn(usize) -> usize,
    ) -> Result<Option<ItemsClaim<'_, I>>, (usize, Panic)> {
        let mut end = 0;
        let claimed = self
            .cursor
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |start| {
                let left = self.len - start;
                end = start + wanted(left);
                (left > 0).then_some(end)
            });
        Ok(claimed.ok().map(|start| ItemsClaim {
            items: self.items,
            first: start,
            left: start..end,
            source: PhantomData,
        }))
    }

    fn is_exhausted(&self) -> bool {
        self.cursor.load(Ordering::Relaxed) >= self.len
    }

    fn memory(&self) -> Option<(*mut I, usize)> {
        Some((self.items, self.capacity))
    }

    fn give_memory(&mut self) {
        self.is_given = true;
    }
}

impl<I> Drop for Items<I> {
    fn drop(&mut self) {
        let unclaimed = self.cursor.load(Ordering::Relaxed)..self.len;
        let memory = if self.is_given {
            None
        } else {
            // SAFETY: the memory came from a vector of this capacity. Without length, it is
            // freed, also if a destructor below panics, and nothing else.
            Some(unsafe { Vec::from_raw_parts(self.items, 0, self.capacity) })
        };
        // SAFETY: within the vector.
        let start = unsafe { self.items.add(unclaimed.start) };
        // SAFETY: `&mut self` means that there are no claims any more, and these items were
        // never claimed.
        unsafe { std::ptr::slice_from_raw_parts_mut(start, unclaimed.len()).drop_in_place() };
        drop(memory);
    }
}

/// Claimed items of a vector.
pub(crate) struct ItemsClaim<'a, I> {
    /// The vector's memory: a copy, since what lies behind a reference would be read again
    /// for each item.
    items: *mut I,
    first: usize,
    left: Range<usize>,
    source: PhantomData<&'a Items<I>>,
}

impl<I> Iterator for ItemsClaim<'_, I> {
    type Item = I;

    #[inline]
    fn next(&mut self) -> Option<I> {
        let at = self.left.next()?;
        // SAFETY: within the vector.
        let item = unsafe { self.items.add(at) };
        // SAFETY: the item was claimed by this claim, which takes each number once.
        Some(unsafe { item.read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl<I> ExactSizeIterator for ItemsClaim<'_, I> {}

impl<I: Send> Claim<I> for ItemsClaim<'_, I> {
    fn first(&self) -> usize {
        self.first
    }
}

impl<I> Drop for ItemsClaim<'_, I> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

/// The items of an iterator that knows how many it has.
pub(crate) struct Counted<It: Iterator> {
    pulling: Mutex<Pulling<It>>,
    len: AtomicUsize,
    next: AtomicUsize,
}

struct Pulling<It> {
    /// `None` once it ended.
    iterator: Option<It>,
    /// The panic that ended it, until the items before it have been claimed.
    panic: Option<Panic>,
}

impl<It: Iterator> Counted<It> {
    /// `len` is what its size hint promises.
    pub(crate) fn new(iterator: It, len: usize) -> Self {
        Self {
            pulling: Mutex::new(Pulling {
                iterator: Some(iterator),
                panic: None,
            }),
            len: AtomicUsize::new(len),
            next: AtomicUsize::new(0),
        }
    }
}

impl<It: Iterator<Item: Send> + Send> Source for Counted<It> {
    type Item = It::Item;
    type Claim<'a>
        = CountedClaim<It::Item>
    where
        It: 'a;

    fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn claim(
        &self,
        wanted: &dyn Fn(usize) -> usize,
    ) -> Result<Option<CountedClaim<It::Item>>, (usize, Panic)> {
        let mut pulling = self.pulling.lock();
        let first = self.next.load(Ordering::Relaxed);
        if let Some(panic) = pulling.panic.take() {
            return Err((first, panic));
        }
        let Some(iterator) = &mut pulling.iterator else {
            return Ok(None);
        };
        let wanted = wanted(self.len() - first);
        let mut items = Vec::new();
        let caught = catch(|| {
            if wanted == 0 {
                // A hint that promised too little would lose items in silence.
                assert!(
                    iterator.next().is_none(),
                    "it has more items than its size_hint said"
                );
                return;
            }
            items.reserve_exact(wanted);
            items.extend(iterator.by_ref().take(wanted));
        });
        let end = first + items.len();
        self.next.store(end, Ordering::Relaxed);
        let has_ended = caught.is_err() || end == first || items.len() < wanted;
        let ended = has_ended.then(|| {
            self.len.store(end, Ordering::Relaxed);
            pulling.iterator.take()
        });
        let is_empty = items.is_empty();
        let failure = match caught {
            // After the items that came before it.
            Err(panic) if !is_empty => {
                pulling.panic = Some(panic);
                None
            }
            caught => caught.err(),
        };
        drop(pulling);
        drop_quietly(ended);
        match failure {
            Some(panic) => Err((end, panic)),
            None if is_empty => Ok(None),
            None => Ok(Some(CountedClaim {
                first,
                items: items.into_iter(),
            })),
        }
    }

    fn is_exhausted(&self) -> bool {
        self.pulling
            .try_lock()
            .is_some_and(|pulling| pulling.iterator.is_none() && pulling.panic.is_none())
    }

    fn memory(&self) -> Option<(*mut It::Item, usize)> {
        None
    }

    fn give_memory(&mut self) {}
}

/// Claimed items of an iterator.
pub(crate) struct CountedClaim<I> {
    first: usize,
    items: std::vec::IntoIter<I>,
}

impl<I> Iterator for CountedClaim<I> {
    type Item = I;

    #[inline]
    fn next(&mut self) -> Option<I> {
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<I> ExactSizeIterator for CountedClaim<I> {}

impl<I> Claim<I> for CountedClaim<I> {
    fn first(&self) -> usize {
        self.first
    }
}
