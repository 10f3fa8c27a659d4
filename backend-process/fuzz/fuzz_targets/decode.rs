//! Any bytes, in any pieces, are outcomes, a header or a packet, or malformed: no panic, and
//! no memory beyond a multiple of what has arrived.
//!
//! The first byte says which decoder, the second one the size of the pieces. Run in
//! `backend-process`, with a limit on every single allocation:
//!
//! ```text
//! cargo +nightly fuzz run decode -- -malloc_limit_mb=1 -max_len=16384
//! ```

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use taskfarm_process::fuzzing::{ControlSocket, control_packets, header, headers, outcomes};

fuzz_target!(|data: &[u8]| {
    static SOCKET: OnceLock<ControlSocket> = OnceLock::new();
    let [which, size, bytes @ ..] = data else {
        return;
    };
    match which % 5 {
        0 | 1 => {
            let (entries, bytes) = bytes.split_at(bytes.len() / 2);
            outcomes(entries, bytes, usize::from(*size));
        }
        2 => {
            header(bytes);
        }
        3 => {
            SOCKET.get_or_init(ControlSocket::new).receives(bytes);
        }
        _ => {
            // One that is sent, with the bytes laid over it from some place on: what the
            // fuzzer would have to guess is there already.
            let mut sent = [headers(), control_packets()].concat();
            let nth = usize::from(*size) % sent.len();
            let valid = &mut sent[nth];
            for (old, new) in valid.iter_mut().zip(bytes) {
                *old ^= new;
            }
            header(valid);
            SOCKET.get_or_init(ControlSocket::new).receives(valid);
        }
    }
});
