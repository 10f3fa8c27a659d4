//! What a worker tells its pool: outcomes, as two streams of bytes.
//!
//! The *entries* are words. Those of a message begin with a [`Segment`]; one word for each
//! outcome follows, which holds a length in its upper 29 bits and what the outcome is in its
//! lower 3, as an entry of a [`Bundle`] does. The other stream holds the *bytes* that they
//! tell of, one outcome after the other, with nothing between them. So the pool copies both
//! as they are, whatever the size of the outcomes, and only adds the lengths up.
//!
//! The decoder takes whatever pieces it is given and never believes them: memory grows
//! only with bytes that have arrived, and whatever cannot be is an error.

use std::fmt;

use taskfarm_core::remote::Bundle;

use crate::ring::Consumer;

const KIND_BITS: u32 = 3;
const KIND_MASK: u32 = (1 << KIND_BITS) - 1;
/// The highest kind that core gives to an entry.
const MAX_KIND: u32 = 4;
const WORD: usize = size_of::<u32>();

/// What the entries of a message begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The message that is answered.
    pub(crate) seq: u32,
    /// The position of the first outcome.
    pub(crate) first: u32,
    /// How many outcomes follow, unless the worker ends before.
    pub(crate) count: u32,
    /// How many bytes without meaning come before theirs.
    pub(crate) skip: u32,
}

impl Segment {
    const LEN: usize = 4 * WORD;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (places, _) = bytes.as_chunks_mut();
        let words = [self.seq, self.first, self.count, self.skip];
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_ne_bytes();
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [seq, first, count, skip] = *bytes.as_chunks().0 else {
            return None;
        };
        let word = u32::from_ne_bytes;
        Some(Self {
            seq: word(seq),
            first: word(first),
            count: word(count),
            skip: word(skip),
        })
    }
}

/// Consecutive outcomes of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The message that they answer.
    pub(crate) seq: u32,
    /// The position of the first of them.
    pub(crate) first: u32,
    /// The outcomes.
    pub(crate) outcomes: Bundle,
}

/// The bytes cannot come from a worker that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes that are no message of this protocol")
    }
}

/// Where a decoder takes bytes from.
pub(crate) trait Source {
    fn available(&self) -> usize;
    fn take(&mut self, len: usize, bytes: &mut Vec<u8>);
    fn skip(&mut self, len: usize);
}

impl Source for Consumer {
    #[inline]
    fn available(&self) -> usize {
        Consumer::available(self)
    }

    #[inline]
    fn take(&mut self, len: usize, bytes: &mut Vec<u8>) {
        Consumer::take(self, len, bytes);
    }

    fn skip(&mut self, len: usize) {
        Consumer::skip(self, len);
    }
}

/// Turns the streams of a worker into batches.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// What was copied and is not looked at yet.
    block: Vec<u8>,
    /// The outcomes of the segment that were taken and not handed over.
    open: Batch,
    /// How many outcomes of it are to come.
    left: u32,
    /// The bytes in `open` of an outcome whose entry has not arrived.
    unfinished: usize,
}

/// The most entries that are copied before they are looked at.
const BLOCK: usize = 4096;

/// The bytes from which on a batch is handed over, though more is there: whoever waits for
/// it finds it in the cache.
const MAX_BATCH: usize = 256 << 10;

impl Decoder {
    /// Takes all that the two sources have now. Complete outcomes go to `batches`; the
    /// bytes of one that has not arrived whole are kept for the next call.
    pub(crate) fn decode(
        &mut self,
        entries: &mut impl Source,
        bytes: &mut impl Source,
        batches: &mut Vec<Batch>,
    ) -> Result<(), Malformed> {
        loop {
            // An entry is shown after its bytes and before those of the next one. So what is
            // here before the entries are counted belongs to these and the next one at most,
            // and after that, the bytes of all these are here.
            let num_early = bytes.available();
            let num_entries = entries.available() / WORD;
            let num_bytes = bytes.available();
            if self.left > 0 && num_entries > 0 {
                self.take_outcomes(num_entries, num_bytes, entries, bytes)?;
                if self.open.outcomes.bytes.len() >= MAX_BATCH {
                    self.flush(batches);
                }
            } else if self.left > 0 {
                self.take_unfinished(num_early, bytes)?;
                break;
            } else if num_entries * WORD >= Segment::LEN {
                self.flush(batches);
                self.begin_segment(num_bytes, entries, bytes)?;
            } else {
                break;
            }
        }
        self.flush(batches);
        Ok(())
    }

    fn begin_segment(
        &mut self,
        num_bytes: usize,
        entries: &mut impl Source,
        bytes: &mut impl Source,
    ) -> Result<(), Malformed> {
        self.block.clear();
        entries.take(Segment::LEN, &mut self.block);
        let segment = Segment::decode(&self.block).ok_or(Malformed)?;
        let skip = segment.skip as usize;
        if skip > num_bytes || segment.count == 0 {
            return Err(Malformed);
        }
        bytes.skip(skip);
        self.open.seq = segment.seq;
        self.open.first = segment.first;
        self.left = segment.count;
        Ok(())
    }

    /// Takes some of the outcomes whose entries are there.
    fn take_outcomes(
        &mut self,
        num_entries: usize,
        num_bytes: usize,
        entries: &mut impl Source,
        bytes: &mut impl Source,
    ) -> Result<(), Malformed> {
        let count = num_entries.min(self.left as usize).min(BLOCK);
        self.block.clear();
        entries.take(WORD * count, &mut self.block);
        let (words, _) = self.block.as_chunks();
        let words = words.iter().map(|word| u32::from_ne_bytes(*word));
        let first_len = words.clone().next().map_or(0, len_of);
        let (mut total, mut max_kind) = (0, 0);
        for word in words.clone() {
            total += len_of(word) as u64;
            max_kind = max_kind.max(word & KIND_MASK);
        }
        if max_kind > MAX_KIND || first_len < self.unfinished {
            return Err(Malformed);
        }
        let missing = usize::try_from(total).map_err(|_| Malformed)? - self.unfinished;
        if missing > num_bytes {
            return Err(Malformed);
        }
        bytes.take(missing, &mut self.open.outcomes.bytes);
        self.open.outcomes.lengths.extend(words);
        self.unfinished = 0;
        self.left -= count as u32;
        Ok(())
    }

    /// Takes what is there of an outcome that is still being written.
    fn take_unfinished(
        &mut self,
        num_bytes: usize,
        bytes: &mut impl Source,
    ) -> Result<(), Malformed> {
        self.unfinished += num_bytes;
        if self.unfinished > len_of(u32::MAX) {
            return Err(Malformed);
        }
        bytes.take(num_bytes, &mut self.open.outcomes.bytes);
        Ok(())
    }

    /// Hands over the whole outcomes; what follows counts on.
    fn flush(&mut self, batches: &mut Vec<Batch>) {
        let Batch {
            seq,
            first,
            outcomes,
        } = &mut self.open;
        if outcomes.is_empty() {
            return;
        }
        let whole = outcomes.bytes.len() - self.unfinished;
        let next = Batch {
            seq: *seq,
            first: first.wrapping_add(outcomes.len() as u32),
            outcomes: Bundle {
                bytes: outcomes.bytes.split_off(whole),
                lengths: Vec::new(),
            },
        };
        batches.push(std::mem::replace(&mut self.open, next));
    }
}

fn len_of(word: u32) -> usize {
    (word >> KIND_BITS) as usize
}

/// A stream that arrives bit by bit.
#[cfg(any(test, feature = "fuzzing"))]
#[derive(Debug)]
pub(crate) struct Tape<'a> {
    bytes: &'a [u8],
    arrived: usize,
}

#[cfg(any(test, feature = "fuzzing"))]
impl<'a> Tape<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, arrived: 0 }
    }

    /// More bytes arrive, as far as there are any; whether there were.
    pub(crate) fn arrive(&mut self, more: usize) -> bool {
        let before = self.arrived;
        self.arrived = (before + more).min(self.bytes.len());
        self.arrived > before
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Source for Tape<'_> {
    fn available(&self) -> usize {
        self.arrived
    }

    fn take(&mut self, len: usize, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.bytes[..len]);
        self.skip(len);
    }

    fn skip(&mut self, len: usize) {
        self.bytes = &self.bytes[len..];
        self.arrived -= len;
    }
}

#[cfg(test)]
mod tests;
