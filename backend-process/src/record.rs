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
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The bytes of a word or of a segment that has not arrived whole.
    partial: Vec<u8>,
    /// What the record that is being read is, and how many of its bytes are missing.
    record: Option<Record>,
    /// The segment that outcomes are appended to.
    open: Option<Batch>,
    /// The bytes in `open` of an outcome that has not arrived whole.
    unfinished: usize,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    word: u32,
    missing: usize,
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
            let Some(record) = self.record else {
                left -= self.take_partial(source, left, WORD);
                if self.partial.len() == WORD {
                    self.begin(batches)?;
                }
                continue;
            };
            let part = left.min(record.missing);
            match record.word & ((1 << KIND_BITS) - 1) {
                SEGMENT => {
                    left -= self.take_partial(source, left, 8);
                    if self.partial.len() == 8 {
                        self.open_segment(batches);
                    }
                    continue;
                }
                PADDING => source.skip(part),
                _ => {
                    let open = self.open.as_mut().ok_or(Malformed)?;
                    source.take(part, &mut open.outcomes.bytes);
                    self.unfinished += part;
                }
            }
            left -= part;
            self.record = Some(Record {
                missing: record.missing - part,
                ..record
            });
            self.end_if_whole();
        }
        self.flush(batches);
        Ok(())
    }

    fn take_partial(&mut self, source: &mut impl Source, left: usize, wanted: usize) -> usize {
        let part = left.min(wanted - self.partial.len());
        source.take(part, &mut self.partial);
        part
    }

    /// A word has arrived.
    fn begin(&mut self, batches: &mut Vec<Batch>) -> Result<(), Malformed> {
        let word = word_at(&self.partial, 0);
        self.partial.clear();
        let missing = (word >> KIND_BITS) as usize;
        match word & ((1 << KIND_BITS) - 1) {
            SEGMENT if missing != 8 => return Err(Malformed),
            SEGMENT => self.flush(batches),
            PADDING => {}
            6 => return Err(Malformed),
            _ if self.open.is_none() => return Err(Malformed),
            _ => self.unfinished = 0,
        }
        self.record = Some(Record { word, missing });
        self.end_if_whole();
        Ok(())
    }

    fn open_segment(&mut self, batches: &mut Vec<Batch>) {
        self.flush(batches);
        self.open = Some(Batch {
            seq: word_at(&self.partial, 0),
            first: word_at(&self.partial, 4),
            outcomes: Bundle::default(),
        });
        self.partial.clear();
        self.record = None;
    }

    /// Closes a record whose last byte has arrived.
    fn end_if_whole(&mut self) {
        let Some(Record { word, missing: 0 }) = self.record else {
            return;
        };
        self.record = None;
        if word & ((1 << KIND_BITS) - 1) != PADDING
            && let Some(open) = &mut self.open
        {
            open.outcomes.lengths.push(word);
            self.unfinished = 0;
        }
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

fn word_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; WORD];
    word.copy_from_slice(&bytes[at..at + WORD]);
    u32::from_ne_bytes(word)
}

#[cfg(test)]
mod tests;
