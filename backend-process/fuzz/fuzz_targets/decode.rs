//! Any bytes, in any pieces, are outcomes or malformed: no panic, and no memory beyond what
//! has arrived. Run with `cargo +nightly fuzz run decode` in `backend-process`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    taskfarm_process::fuzzing::outcomes(bytes, usize::from(*size));
    taskfarm_process::fuzzing::header(bytes);
});
