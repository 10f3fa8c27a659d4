//! Doors to the decoders, for `fuzz/` and `tests/decoders.rs`; not public API.

use std::os::fd::{AsFd, OwnedFd};

use crate::control::Control;
use crate::message::{HEADER_LEN, Header, Kind};
use crate::record::{Decoder, Tape};
use crate::sys;

/// Decodes any two streams as a worker's outcomes, in pieces of `size`: its entries, and
/// their bytes.
///
/// # Panics
///
/// If the decoder holds more bytes than it was given, or gives a bundle that does not add
/// up.
pub fn outcomes(entries: &[u8], bytes: &[u8], size: usize) {
    let (len, size) = (bytes.len(), size.max(1));
    let (mut entries, mut bytes) = (Tape::new(entries), Tape::new(bytes));
    let mut decoder = Decoder::default();
    let mut batches = Vec::new();
    loop {
        let more_bytes = bytes.arrive(size);
        let more = entries.arrive(size) || more_bytes;
        let decoded = decoder.decode(&mut entries, &mut bytes, &mut batches);
        if !more || decoded.is_err() {
            break;
        }
    }
    let held: usize = batches.iter().map(|batch| batch.outcomes.bytes.len()).sum();
    assert!(held <= len);
    assert!(batches.iter().all(|batch| batch.outcomes.is_consistent()));
}

/// Decodes the first 64 bytes as the header of a message; whether they are one.
///
/// # Panics
///
/// If a header does not survive being encoded again.
pub fn header(bytes: &[u8]) -> bool {
    let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let Ok(header) = Header::decode(bytes) else {
        return false;
    };
    assert_eq!(Header::decode(&header.encode()), Ok(header));
    true
}

/// A socket like that between a pool and its zygote, with both ends here.
#[derive(Debug)]
pub struct ControlSocket {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl ControlSocket {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If the system has none to give.
    #[expect(clippy::new_without_default, reason = "it takes a part of the system")]
    pub fn new() -> Self {
        let (ours, theirs) = sys::packet_pair().expect("a pair of sockets");
        Self { ours, theirs }
    }

    /// Sends the bytes as one packet and receives it as the other side would; whether it is
    /// one of this protocol.
    ///
    /// # Panics
    ///
    /// If a packet does not survive being sent again, or what is none leaves something
    /// behind.
    pub fn receives(&self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            // Means the end to who receives it.
            return false;
        }
        sys::send(self.ours.as_fd(), bytes, &[]).expect("room in an empty socket");
        let received = Control::receive(self.theirs.as_fd(), false);
        if let Ok(Some((control, descriptors))) = &received {
            assert!(descriptors.is_empty());
            let again = control.send(self.ours.as_fd(), &[]);
            again.expect("room in an empty socket");
            let again = Control::receive(self.theirs.as_fd(), false).expect("a packet");
            assert_eq!(again.map(|(again, _)| again), Some(*control));
        }
        let rest = Control::receive(self.theirs.as_fd(), false);
        let empty = rest.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(empty, "a packet was not taken whole");
        received.is_ok()
    }
}

/// Packets as a pool and its zygote send them: what to begin with.
pub fn control_packets() -> Vec<Vec<u8>> {
    let packets = Control::samples().map(|control| control.encode().to_vec());
    packets.to_vec()
}

/// Headers as a pool sends them: what to begin with.
pub fn headers() -> Vec<Vec<u8>> {
    let kinds = [
        Kind::Job,
        Kind::Setup,
        Kind::Stop,
        Kind::Bye,
        Kind::Fragment,
        Kind::Padding,
    ];
    let header = |kind| Header {
        timed: true,
        seq: 7,
        payload: 1 << 33,
        count: 99,
        function: [1, -2, i64::MIN, 0],
        ..Header::new(kind)
    };
    kinds.map(|kind| header(kind).encode().to_vec()).to_vec()
}
