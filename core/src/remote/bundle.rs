//! [`Bundle`]: encoded items or outcomes, one after another.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

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
pub(crate) const MAX_LEN: usize = (u32::MAX >> KIND_BITS) as usize;

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
        (self.lengths[position] >> KIND_BITS) as usize
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
    pub(crate) fn push<T: Serialize>(&mut self, kind: Kind, value: &T) -> Result<(), String> {
        let start = self.bytes.len();
        let encoded = postcard::serialize_with_flavor(value, Appending(&mut self.bytes));
        let outcome = match encoded {
            Err(error) => Err(format!("{}: {error}", std::any::type_name::<T>())),
            Ok(()) if self.bytes.len() - start > MAX_LEN => Err(format!(
                "{} bytes are more than the {MAX_LEN} that one value may have",
                self.bytes.len() - start
            )),
            Ok(()) => Ok(()),
        };
        match outcome {
            Ok(()) => self.close(kind, start),
            Err(_) => self.bytes.truncate(start),
        }
        outcome
    }

    /// Appends a message of this crate's own.
    pub(crate) fn push_message(&mut self, kind: Kind, message: &str) {
        self.push(kind, &message).expect("a string can be encoded");
    }

    /// Takes back what a panicking `Serialize` left half-written.
    pub(crate) fn truncate_bytes(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    #[inline]
    fn close(&mut self, kind: Kind, start: usize) {
        let len = u32::try_from(self.bytes.len() - start).expect("checked against MAX_LEN");
        self.lengths.push(len << KIND_BITS | kind as u32);
    }

    /// The kind of the entry at `position`.
    pub(crate) fn kind_at(&self, position: usize) -> Option<Kind> {
        Kind::from_bits(self.lengths[position] & KIND_MASK)
    }

    /// Each entry's kind and bytes, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<Kind>, &[u8])> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |entry| {
            let (bytes, tail) = rest.split_at((entry >> KIND_BITS) as usize);
            rest = tail;
            (Kind::from_bits(entry & KIND_MASK), bytes)
        })
    }
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

/// Decodes a value that must fill `bytes` to the end.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!(
            "{}: {} bytes are left over",
            std::any::type_name::<T>(),
            rest.len()
        )),
        Err(error) => Err(format!("{}: {error}", std::any::type_name::<T>())),
    }
}

/// Appends bytes. Most are those of one number that was just written byte by byte. A copy
/// of any size is a call, and a wide load of bytes that were stored one by one has to wait
/// for all of them: either costs as much as the rest of a small item.
#[inline]
fn extend(bytes: &mut Vec<u8>, more: &[u8]) {
    const SMALL: usize = 10;
    if more.len() > SMALL {
        return bytes.extend_from_slice(more);
    }
    let start = bytes.len();
    bytes.extend_from_slice(&[0; SMALL]);
    for (nth, place) in bytes[start..].iter_mut().enumerate() {
        // A loop that left early would be compiled to the call.
        if let Some(byte) = more.get(nth) {
            *place = *byte;
        }
    }
    bytes.truncate(start + more.len());
}

/// A vector to append to. (postcard's own `to_extend` takes the vector by value and
/// extends it byte by byte.)
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        extend(self.0, data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_are_appended_whole() {
        let source: Vec<u8> = (1..=40).collect();
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for len in 0..=source.len() {
            extend(&mut bytes, &source[..len]);
            expected.extend_from_slice(&source[..len]);
            assert_eq!(bytes, expected);
        }
    }
}
