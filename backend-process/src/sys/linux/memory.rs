//! [`SharedMemory`]: a block of memory that a pool shares with one of its workers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// A block of memory that two processes map, without a name in any file system.
///
/// Either side may write at any time, so the bytes are only ever copied in and out, or
/// reached as atomics; the exceptions, [`bytes`](Self::bytes) and
/// [`bytes_mut`](Self::bytes_mut), are `unsafe`.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread, and every access is an atomic or a copy whose
// place the owners of the two sides agree upon (see `ring`).
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// A file of `len` zero bytes, which take no memory until they are touched.
    pub(crate) fn create_file(len: usize) -> io::Result<OwnedFd> {
        let file = memfd_create(c"taskfarm-lane", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, len as u64)?;
        Ok(file)
    }

    /// Maps the first `len` bytes of `file`.
    pub(crate) fn map(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let flags = MapFlags::SHARED.union(MapFlags::NORESERVE);
        let access = ProtFlags::READ.union(ProtFlags::WRITE);
        // SAFETY: a new mapping at an address that the kernel chooses disturbs nothing.
        let start = unsafe { mmap(std::ptr::null_mut(), len, access, flags, file.as_fd(), 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Leaves the block out of processes that are forked from this one: neither a task that
    /// forks nor a program that does must write here twice.
    pub(crate) fn keep_from_forks(&self) {
        // SAFETY: the range is this mapping; the advice changes nothing in this process.
        let _ = unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontFork) };
    }

    /// The place at `at`, after a check that `len` bytes from there lie in the block.
    #[inline]
    fn place(&self, at: usize, len: usize) -> *mut u8 {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {at} leave the shared memory");
        // SAFETY: just checked to lie within the mapping.
        unsafe { self.start.as_ptr().add(at) }
    }

    /// The 32-bit word at `at`.
    #[inline]
    pub(crate) fn word32(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4));
        // SAFETY: the place is mapped for as long as `self` lives, aligned, and reached by
        // everybody as this atomic.
        unsafe { AtomicU32::from_ptr(self.place(at, 4).cast()) }
    }

    /// The 64-bit word at `at`.
    #[inline]
    pub(crate) fn word64(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8));
        // SAFETY: as in `word32`.
        unsafe { AtomicU64::from_ptr(self.place(at, 8).cast()) }
    }

    /// Copies `bytes` to `at`.
    #[inline]
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let place = self.place(at, bytes.len());
        // SAFETY: the target is mapped, and private memory cannot overlap it.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Copies up to 16 bytes to `at`; whether they were no more.
    ///
    /// Two overlapping copies of a fixed size instead of one of any size, which is a call:
    /// that costs more than all else that is done to publish a small outcome.
    #[inline]
    pub(crate) fn try_write_small(&self, at: usize, bytes: &[u8]) -> bool {
        let len = bytes.len();
        if len > 16 {
            return false;
        }
        let place = self.place(at, len);
        if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            // SAFETY: `place` has checked that `len` bytes are mapped, which is 8 or more;
            // each write here stays within them.
            unsafe { place.cast::<[u8; 8]>().write(*first) };
            // SAFETY: as above.
            unsafe { place.wrapping_add(len - 8).cast::<[u8; 8]>().write(*last) };
        } else if let (Some(first), Some(last)) =
            (bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
        {
            // SAFETY: as above, `len` is 4 or more.
            unsafe { place.cast::<[u8; 4]>().write(*first) };
            // SAFETY: as above.
            unsafe { place.wrapping_add(len - 4).cast::<[u8; 4]>().write(*last) };
        } else {
            for (nth, byte) in bytes.iter().enumerate() {
                // SAFETY: as above.
                unsafe { place.wrapping_add(nth).write(*byte) };
            }
        }
        true
    }

    /// Appends the `len` bytes at `at` to `bytes`. They may be nonsense if the other side
    /// breaks the protocol, but they are this process's own from here on.
    #[inline]
    pub(crate) fn read(&self, at: usize, len: usize, bytes: &mut Vec<u8>) {
        bytes.reserve(len);
        let place = self.place(at, len);
        let end = bytes.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: the source is mapped, the target was reserved, and they do not overlap.
        unsafe { place.copy_to_nonoverlapping(end, len) };
        // SAFETY: the bytes up to there were just written.
        unsafe { bytes.set_len(bytes.len() + len) };
    }

    /// The `len` bytes at `at`, in place.
    ///
    /// # Safety
    ///
    /// Nobody writes there while the slice is used.
    pub(crate) unsafe fn bytes(&self, at: usize, len: usize) -> &[u8] {
        let place = self.place(at, len);
        // SAFETY: mapped and initialised (a new file is all zeros); the caller vouches for
        // the silence of the other side.
        unsafe { std::slice::from_raw_parts(place, len) }
    }

    /// The same, to be written.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes there while the slice is used.
    #[expect(
        clippy::mut_from_ref,
        reason = "the memory is not behind the reference"
    )]
    pub(crate) unsafe fn bytes_mut(&self, at: usize, len: usize) -> &mut [u8] {
        let place = self.place(at, len);
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(place, len) }
    }
}

/// Tells a process from the copies that `fork` makes of it.
///
/// A page that is all zeros in a copy: asking for the process id is a call of the kernel,
/// and costs a fifth of what submitting a small task does.
#[derive(Debug)]
pub(crate) struct Original(NonNull<AtomicU32>);

// SAFETY: the page belongs to no thread, and is reached as an atomic only.
unsafe impl Send for Original {}
// SAFETY: as above.
unsafe impl Sync for Original {}

impl Original {
    /// This process is the original.
    pub(crate) fn mark() -> io::Result<Self> {
        let access = ProtFlags::READ.union(ProtFlags::WRITE);
        let len = size_of::<AtomicU32>();
        // SAFETY: a new mapping at an address that the kernel chooses disturbs nothing.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, MapFlags::PRIVATE) }?;
        let page = NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mark = Self(page);
        // SAFETY: the range is this mapping, which holds nothing yet.
        unsafe { madvise(page.as_ptr().cast(), len, Advice::LinuxWipeOnFork) }?;
        mark.word().store(1, Ordering::Relaxed);
        Ok(mark)
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: mapped for as long as `self` lives, zeroed by the kernel, and aligned as
        // pages are.
        unsafe { self.0.as_ref() }
    }

    /// Whether this is the process that was marked.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.word().load(Ordering::Relaxed) == 1
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<AtomicU32>()) };
    }
}

/// The bytes of the words.
pub(crate) fn as_bytes(words: &[u32]) -> &[u8] {
    // SAFETY: a word is four initialised bytes without padding, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
