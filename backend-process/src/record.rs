//! Records: what a worker tells its pool, as a stream of bytes.
//!
//! Each record begins with a word: a length in the upper 29 bits, and in the lower 3 what
//! it is. Words 0 to 4 are entries of a [`Bundle`] as core defines them, followed by their
//! bytes; they count on from the position that the last [`SEGMENT`] record named.
//! The decoder takes whatever pieces it is given and never believes them: memory grows
//! only with bytes that have arrived, and whatever cannot be is an error.

use std::fmt;

use taskfarm_core::remote::Bundle;

use crate::ring::Consumer;

/// `[seq: u32, first: u32]`: the outcomes that follow are those of message `seq`, from
/// position `first` on.
pub(crate) const SEGMENT: u32 = 5;
/// Bytes without meaning.
pub(crate) const PADDING: u32 = 7;

const KIND_BITS: u32 = 3;
const KIND_MASK: u32 = (1 << KIND_BITS) - 1;
const WORD: usize = size_of::<u32>();

/// The bytes of a [`SEGMENT`] record.
pub(crate) fn segment(seq: u32, first: u32) -> [u8; 12] {
    let mut record = [0; 12];
    record[..4].copy_from_slice(&(8 << KIND_BITS | SEGMENT).to_ne_bytes());
    record[4..8].copy_from_slice(&seq.to_ne_bytes());
    record[8..].copy_from_slice(&first.to_ne_bytes());
    record
}

/// The word of a [`PADDING`] record with `len` bytes after it.
pub(crate) fn padding(len: u32) -> [u8; 4] {
    (len << KIND_BITS | PADDING).to_ne_bytes()
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

impl Source for &[u8] {
    fn available(&self) -> usize {
        self.len()
    }

    fn take(&mut self, len: usize, bytes: &mut Vec<u8>) {
        let (taken, rest) = self.split_at(len);
        bytes.extend_from_slice(taken);
        *self = rest;
    }

    fn skip(&mut self, len: usize) {
        *self = &self[len..];
    }
}

/// Turns the stream of a worker into batches.
///
/// Bytes are copied out of the ring in blocks, and records that lie whole in a block are
/// taken from there in a tight loop. The bytes of a record that leaves its block are taken
/// straight from the ring, so what is large is copied once.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// What was copied. Between two calls: a word, or a segment, that has not arrived whole.
    block: Vec<u8>,
    /// The record whose bytes have not arrived whole.
    record: Option<Record>,
    /// The segment that outcomes are appended to.
    open: Option<Batch>,
    /// The bytes in `open` of an outcome that has not arrived whole.
    unfinished: usize,
}

/// The most that is copied before it is looked at: what is in the cache is read twice.
const BLOCK: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
struct Record {
    word: u32,
    missing: usize,
}

impl Record {
    fn is_padding(&self) -> bool {
        self.word & KIND_MASK == PADDING
    }
}

impl Decoder {
    /// Takes all that `source` has now. Complete outcomes go to `batches`; an outcome that
    /// has not arrived whole is kept for the next call.
    pub(crate) fn decode(
        &mut self,
        source: &mut impl Source,
        batches: &mut Vec<Batch>,
    ) -> Result<(), Malformed> {
        let mut left = source.available();
        while left > 0 {
            if let Some(record) = self.record {
                left -= self.take_rest(record, source, left);
                continue;
            }
            let part = left.min(BLOCK);
            source.take(part, &mut self.block);
            left -= part;
            let mut block = std::mem::take(&mut self.block);
            let rest = self.parse(&block, batches)?.len();
            block.drain(..block.len() - rest);
            self.block = block;
        }
        self.flush(batches);
        Ok(())
    }

    /// Takes what is there of a record that left its block; returns how much that is.
    fn take_rest(&mut self, mut record: Record, source: &mut impl Source, left: usize) -> usize {
        let part = left.min(record.missing);
        match &mut self.open {
            Some(open) if !record.is_padding() => {
                source.take(part, &mut open.outcomes.bytes);
                self.unfinished += part;
            }
            _ => source.skip(part),
        }
        record.missing -= part;
        self.record = Some(record).filter(|record| record.missing > 0);
        if self.record.is_none()
            && !record.is_padding()
            && let Some(open) = &mut self.open
        {
            open.outcomes.lengths.push(record.word);
            self.unfinished = 0;
        }
        part
    }

    /// Takes all records of a block, the last one perhaps in part. What comes back is the
    /// beginning of a word or segment.
    fn parse<'a>(
        &mut self,
        mut block: &'a [u8],
        batches: &mut Vec<Batch>,
    ) -> Result<&'a [u8], Malformed> {
        loop {
            if let Some(open) = &mut self.open {
                block = take_outcomes(&mut open.outcomes, block);
            }
            let Some((word, after)) = block.split_first_chunk() else {
                return Ok(block);
            };
            let word = u32::from_ne_bytes(*word);
            let len = (word >> KIND_BITS) as usize;
            match word & KIND_MASK {
                SEGMENT if len != 8 => return Err(Malformed),
                SEGMENT => {
                    let Some((place, after)) = after.split_first_chunk() else {
                        return Ok(block);
                    };
                    self.open_segment(place, batches);
                    block = after;
                }
                PADDING => match after.split_at_checked(len) {
                    Some((_, after)) => block = after,
                    None => return Ok(self.leave_block(word, after)),
                },
                6 => return Err(Malformed),
                _ => {
                    // Not whole, or `take_outcomes` would have taken it.
                    let open = self.open.as_mut().ok_or(Malformed)?;
                    open.outcomes.bytes.extend_from_slice(after);
                    self.unfinished = after.len();
                    return Ok(self.leave_block(word, after));
                }
            }
        }
    }

    /// The record's bytes go on after the end of the block.
    fn leave_block<'a>(&mut self, word: u32, after: &'a [u8]) -> &'a [u8] {
        let missing = (word >> KIND_BITS) as usize - after.len();
        self.record = Some(Record { word, missing });
        &[]
    }

    fn open_segment(&mut self, place: &[u8; 8], batches: &mut Vec<Batch>) {
        self.flush(batches);
        let [seq, first] = [0, WORD].map(|at| {
            let mut word = [0; WORD];
            word.copy_from_slice(&place[at..at + WORD]);
            u32::from_ne_bytes(word)
        });
        self.open = Some(Batch {
            seq,
            first,
            outcomes: Bundle::default(),
        });
    }

    /// Hands over the whole outcomes of the open segment; what follows counts on.
    fn flush(&mut self, batches: &mut Vec<Batch>) {
        let Some(open) = &mut self.open else {
            return;
        };
        if open.outcomes.is_empty() {
            return;
        }
        let next = Batch {
            seq: open.seq,
            first: open.first.wrapping_add(open.outcomes.lengths.len() as u32),
            outcomes: Bundle {
                bytes: match self.unfinished {
                    0 => Vec::new(),
                    bytes => open
                        .outcomes
                        .bytes
                        .split_off(open.outcomes.bytes.len() - bytes),
                },
                lengths: Vec::new(),
            },
        };
        batches.push(std::mem::replace(open, next));
    }
}

/// Appends the outcomes that begin a block and are whole; returns what follows.
#[inline]
fn take_outcomes<'a>(outcomes: &mut Bundle, mut block: &'a [u8]) -> &'a [u8] {
    const SMALL: usize = 16;
    while let Some((word, after)) = block.split_first_chunk() {
        let word = u32::from_ne_bytes(*word);
        if word & KIND_MASK >= SEGMENT {
            break;
        }
        let len = (word >> KIND_BITS) as usize;
        let Some((bytes, rest)) = after.split_at_checked(len) else {
            break;
        };
        match after.first_chunk::<SMALL>() {
            // A copy of a fixed size is a few instructions, and of any size a call.
            Some(more) if len <= SMALL => {
                let end = outcomes.bytes.len() + len;
                outcomes.bytes.extend_from_slice(more);
                outcomes.bytes.truncate(end);
            }
            _ => outcomes.bytes.extend_from_slice(bytes),
        }
        outcomes.lengths.push(word);
        block = rest;
    }
    block
}

#[cfg(test)]
mod tests;
