//! [`Sink`]: where a worker writes the outcome of one item.

use std::fmt;

use serde::Serialize;

use super::bundle::{self, Kind};
use super::codec::{self, Output};

/// Where the outcome of one item is written: into space that the backend lends, perhaps the
/// very place from which the bytes leave the process, and what does not fit there, into
/// memory of its own.
///
/// The outcome that was written last counts: it begins anew with each sink.
pub struct Sink<'a> {
    space: &'a mut [u8],
    written: &'a mut Written,
}

/// An outcome that was written to a [`Sink`].
#[derive(Debug, Default)]
pub struct Written {
    entry: Option<u32>,
    in_space: usize,
    spill: Vec<u8>,
}

/// The memory that is kept for the next outcome that does not fit.
const MAX_KEPT: usize = 1 << 20;

impl Written {
    /// The entry of a [`Bundle`](super::Bundle) that describes the outcome, once: `None` if
    /// none was written since.
    #[inline]
    pub fn take_entry(&mut self) -> Option<u32> {
        self.entry.take()
    }

    /// How many of its bytes are in the space that was lent. They are the first ones.
    #[inline]
    pub fn in_space(&self) -> usize {
        self.in_space
    }

    /// The bytes that follow those.
    #[inline]
    pub fn spill(&self) -> &[u8] {
        &self.spill
    }
}

impl<'a> Sink<'a> {
    /// A sink that fills `space` first, whatever is there. The outcome is `written` then.
    #[inline]
    pub fn new(space: &'a mut [u8], written: &'a mut Written) -> Self {
        let mut sink = Self { space, written };
        sink.clear();
        sink
    }

    #[inline]
    fn clear(&mut self) {
        self.written.entry = None;
        self.written.in_space = 0;
        self.written.spill.clear();
        if self.written.spill.capacity() > MAX_KEPT {
            self.written.spill = Vec::new();
        }
    }

    /// Encodes a value as the outcome; after an error there is none.
    #[inline]
    pub(super) fn put<T: Serialize + 'static>(
        &mut self,
        kind: Kind,
        value: &T,
    ) -> Result<(), String> {
        let encoded = codec::encode(value, self);
        self.close(kind, encoded)
    }

    /// The outcome is what this crate has to say itself.
    pub(super) fn put_message<T: Serialize + ?Sized>(&mut self, kind: Kind, message: &T) {
        let encoded = codec::encode_any(message, self);
        let closed = self.close(kind, encoded);
        closed.expect("strings can be encoded");
    }

    #[inline]
    fn close(&mut self, kind: Kind, encoded: Result<(), String>) -> Result<(), String> {
        let len = self.written.in_space + self.written.spill.len();
        match encoded.and_then(|()| bundle::entry(kind, len)) {
            Ok(entry) => {
                self.written.entry = Some(entry);
                Ok(())
            }
            Err(why) => {
                self.clear();
                Err(why)
            }
        }
    }
}

impl Output for Sink<'_> {
    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        let Written {
            in_space, spill, ..
        } = &mut *self.written;
        let end = *in_space + bytes.len();
        // Once something spilled, all that follows does.
        match self.space.get_mut(*in_space..end) {
            Some(place) if spill.is_empty() => {
                place.copy_from_slice(bytes);
                *in_space = end;
            }
            _ => extend_both(self.space, in_space, spill, bytes),
        }
    }
}

/// Fills the space first.
#[cold]
fn extend_both(space: &mut [u8], in_space: &mut usize, spill: &mut Vec<u8>, bytes: &[u8]) {
    let room = space.get_mut(*in_space..).unwrap_or_default();
    let (first, rest) = bytes.split_at(room.len().min(bytes.len()));
    room[..first.len()].copy_from_slice(first);
    *in_space += first.len();
    spill.extend_from_slice(rest);
}

impl fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("space", &self.space.len())
            .field("written", &self.written)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, with the space in front.
    fn whole(space: &[u8], written: &Written) -> Vec<u8> {
        [&space[..written.in_space()], written.spill()].concat()
    }

    #[test]
    fn what_does_not_fit_follows() {
        let value = (7_u8, "abcdefghijklmnop".to_owned(), vec![1_u16; 40]);
        let expected = postcard::to_stdvec(&value).unwrap();
        for len in 0..=expected.len() + 1 {
            let (mut space, mut written) = (vec![0xFF; len], Written::default());
            let mut sink = Sink::new(&mut space, &mut written);
            sink.put(Kind::Value, &value).unwrap();
            assert_eq!(whole(&space, &written), expected, "in a space of {len}");
            assert_eq!(written.in_space(), len.min(expected.len()));
            let entry = written.take_entry().unwrap();
            assert_eq!(entry, (expected.len() as u32) << 3);
            assert_eq!(written.take_entry(), None);
        }
    }

    #[test]
    fn the_memory_of_a_big_outcome_is_not_kept() {
        let mut written = Written::default();
        let mut sink = Sink::new(&mut [], &mut written);
        sink.put(Kind::Value, &vec![0_u8; 2 * MAX_KEPT]).unwrap();
        Sink::new(&mut [], &mut written)
            .put(Kind::Value, &1_u8)
            .unwrap();
        assert!(written.spill.capacity() <= MAX_KEPT);
    }

    #[test]
    fn a_new_sink_forgets_the_last_outcome() {
        let (mut space, mut written) = ([0; 4], Written::default());
        let mut sink = Sink::new(&mut space, &mut written);
        sink.put(Kind::Value, &[1_u64; 9]).unwrap();
        Sink::new(&mut space, &mut written)
            .put(Kind::Failed, &3_u16)
            .unwrap();
        assert_eq!(whole(&space, &written), 3_u16.to_ne_bytes());
        assert_eq!(written.take_entry(), Some(2 << 3 | Kind::Failed as u32));
    }
}
