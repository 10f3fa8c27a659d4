//! [`Header`]: what a pool tells a worker, one header and payload after another.

use crate::record::Malformed;

/// The bytes of an encoded header.
pub(crate) const HEADER_LEN: usize = 64;
/// Every header and payload begins at a multiple of this.
pub(crate) const ALIGNMENT: usize = 8;
/// The largest payload that anybody believes.
pub(crate) const MAX_PAYLOAD: u64 = 1 << 40;

const MAGIC: u16 = 0x7F46;

/// What kind of message a header begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Items to run; the payload is `count` entries of a bundle, then their bytes.
    Job = 1,
    /// The context of a setup.
    Setup = 2,
    /// A setup is not needed any more.
    Stop = 3,
    /// Run the exit hooks and leave.
    Bye = 4,
    /// A piece of the payload of the last job or setup; an empty one says that no more of
    /// it comes.
    Fragment = 5,
    /// Nothing up to the ring's end.
    Padding = 6,
}

/// The start of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The items have a time limit.
    pub(crate) timed: bool,
    /// The payload follows in fragments.
    pub(crate) fragmented: bool,
    /// Counts the jobs of one worker.
    pub(crate) seq: u32,
    /// The bytes of the payload.
    pub(crate) payload: u64,
    /// The position of the first item.
    pub(crate) first: u32,
    /// How many items there are.
    pub(crate) count: u32,
    /// The setup that the message is about, if not 0.
    pub(crate) setup: u64,
    /// What to run, as [offsets](crate::image) from the anchor.
    pub(crate) function: [i64; 4],
}

impl Header {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            timed: false,
            fragmented: false,
            seq: 0,
            payload: 0,
            first: 0,
            count: 0,
            setup: 0,
            function: [0; 4],
        }
    }

    #[inline]
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..2].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[2] = self.kind as u8;
        bytes[3] = u8::from(self.timed) | u8::from(self.fragmented) << 1;
        bytes[4..8].copy_from_slice(&self.seq.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.payload.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.first.to_ne_bytes());
        bytes[20..24].copy_from_slice(&self.count.to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.setup.to_ne_bytes());
        for (at, offset) in self.function.iter().enumerate() {
            bytes[32 + 8 * at..40 + 8 * at].copy_from_slice(&offset.to_ne_bytes());
        }
        bytes
    }

    #[inline]
    pub(crate) fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, Malformed> {
        let flags = bytes[3];
        if u16::from_ne_bytes([bytes[0], bytes[1]]) != MAGIC || flags > 3 {
            return Err(Malformed);
        }
        let header = Self {
            kind: Kind::from_byte(bytes[2]).ok_or(Malformed)?,
            timed: flags & 1 != 0,
            fragmented: flags & 2 != 0,
            seq: word32(bytes, 4),
            payload: word64(bytes, 8),
            first: word32(bytes, 16),
            count: word32(bytes, 20),
            setup: word64(bytes, 24),
            function: [32, 40, 48, 56].map(|at| word64(bytes, at).cast_signed()),
        };
        let entries = u64::from(header.count) * 4;
        if header.payload > MAX_PAYLOAD || entries > header.payload {
            return Err(Malformed);
        }
        Ok(header)
    }
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Job,
            Self::Setup,
            Self::Stop,
            Self::Bye,
            Self::Fragment,
            Self::Padding,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

fn word32(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(word)
}

fn word64(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

/// The next multiple of [`ALIGNMENT`].
#[inline]
pub(crate) fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_survives_the_journey() {
        let header = Header {
            timed: true,
            fragmented: true,
            seq: 7,
            payload: 1 << 33,
            first: 3,
            count: 99,
            setup: u64::MAX,
            function: [1, -2, i64::MIN, 0],
            ..Header::new(Kind::Job)
        };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_malformed(bytes in proptest::array::uniform32(any::<u8>())) {
            let mut whole = [0; HEADER_LEN];
            whole[..32].copy_from_slice(&bytes);
            let _ = Header::decode(&whole);
            whole[..2].copy_from_slice(&MAGIC.to_ne_bytes());
            if let Ok(header) = Header::decode(&whole) {
                prop_assert!(header.payload <= MAX_PAYLOAD);
                prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
            }
        }
    }
}
