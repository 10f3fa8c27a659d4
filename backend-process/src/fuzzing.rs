//! Doors to the decoders, for `fuzz/`; not public API.

use crate::message::{HEADER_LEN, Header};
use crate::record::Decoder;

/// Decodes any bytes as a worker's outcomes, in pieces of `size`.
///
/// # Panics
///
/// If the decoder holds more bytes than it was given, or gives a bundle that does not add
/// up.
pub fn outcomes(bytes: &[u8], size: usize) {
    let mut decoder = Decoder::default();
    let mut batches = Vec::new();
    for mut piece in bytes.chunks(size.max(1)) {
        if decoder.decode(&mut piece, &mut batches).is_err() {
            break;
        }
    }
    let held: usize = batches.iter().map(|batch| batch.outcomes.bytes.len()).sum();
    assert!(held <= bytes.len());
    assert!(batches.iter().all(|batch| batch.outcomes.is_consistent()));
}

/// Decodes any bytes as the header of a message.
///
/// # Panics
///
/// If a header does not survive being encoded again.
pub fn header(bytes: &[u8]) {
    if let Some(bytes) = bytes.first_chunk::<HEADER_LEN>()
        && let Ok(header) = Header::decode(bytes)
    {
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
}
