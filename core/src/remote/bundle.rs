//! [`Bundle`]: encoded items or outcomes, one after another.

use serde::Serialize;

use super::codec;

/// Encoded items or outcomes of a chunk, one after another, with their lengths aside.
///
/// A backend moves both vectors as they are; each entry of `lengths` holds a length in its
/// upper 29 bits and what the bytes are in its lower 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The encoded values, without separators.
    pub bytes: Vec<u8>,
    /// One entry for each value.
    pub lengths: Vec<u32>,
}

/// What the bytes of one entry are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An item, or a result.
    Value = 0,
    /// The error that the function returned.
    Failed = 1,
    /// A panic: message and place.
    Panicked = 2,
    /// The message of an item that could not be decoded.
    NotDecodable = 3,
    /// The message of a result that could not be encoded.
    NotEncodable = 4,
}

const KIND_BITS: u32 = 3;
const KIND_MASK: u32 = (1 << KIND_BITS) - 1;

/// The largest encoded value.
const MAX_LEN: usize = (u32::MAX >> KIND_BITS) as usize;

impl Bundle {
    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The number of bytes of the entry at `position`.
    ///
    /// # Panics
    ///
    /// If there is no such entry.
    pub fn len_at(&self, position: usize) -> usize {
        len_of(self.lengths[position])
    }

    /// Whether the lengths add up to the bytes: anything that came from outside must be
    /// checked before it is used.
    pub fn is_consistent(&self) -> bool {
        let total = (0..self.len())
            .map(|at| self.len_at(at) as u64)
            .sum::<u64>();
        total == self.bytes.len() as u64
    }

    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }

    /// Encodes and appends a value; leaves the bundle as it was on an error.
    #[inline]
    pub(crate) fn push<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), String> {
        let start = self.bytes.len();
        let encoded = codec::encode(value, &mut self.bytes);
        match encoded.and_then(|()| entry(Kind::Value, self.bytes.len() - start)) {
            Ok(entry) => {
                self.lengths.push(entry);
                Ok(())
            }
            Err(why) => {
                self.bytes.truncate(start);
                Err(why)
            }
        }
    }

    /// Takes back what a panicking `Serialize` left half-written.
    pub(crate) fn truncate_bytes(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// The kind of the entry at `position`.
    pub(crate) fn kind_at(&self, position: usize) -> Option<Kind> {
        Kind::from_bits(self.lengths[position] & KIND_MASK)
    }

    /// Each entry's kind and bytes, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<Kind>, &[u8])> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |entry| {
            let (bytes, tail) = rest.split_at(len_of(*entry));
            rest = tail;
            (Kind::from_bits(entry & KIND_MASK), bytes)
        })
    }
}

/// The number of bytes that an entry tells.
#[inline]
pub(super) fn len_of(entry: u32) -> usize {
    (entry >> KIND_BITS) as usize
}

/// The entry of a value with so many bytes.
#[inline]
pub(super) fn entry(kind: Kind, len: usize) -> Result<u32, String> {
    if len > MAX_LEN {
        return Err(format!(
            "{len} bytes are more than the {MAX_LEN} that one value may have"
        ));
    }
    Ok((len as u32) << KIND_BITS | kind as u32)
}

impl Kind {
    fn from_bits(bits: u32) -> Option<Self> {
        [
            Self::Value,
            Self::Failed,
            Self::Panicked,
            Self::NotDecodable,
            Self::NotEncodable,
        ]
        .get(bits as usize)
        .copied()
    }
}
