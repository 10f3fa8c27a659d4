//! Whatever the bytes, the decoders neither panic nor take more memory than a fixed multiple
//! of what has arrived. The bounded part of what `fuzz/` does without end.
//!
//! Needs the feature `fuzzing`.

#![cfg(feature = "fuzzing")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use taskfarm_process::fuzzing::{ControlSocket, control_packets, header, headers, outcomes};

/// The system's allocator, which counts for each thread what it has now, and what it had at
/// most.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn add(len: usize) {
    let _ = NOW.try_with(|now| {
        now.set(now.get().wrapping_add(len));
        PEAK.with(|peak| peak.set(peak.get().max(now.get())));
    });
}

fn remove(len: usize) {
    // What one thread frees another may have taken; the tests here do not do that.
    let _ = NOW.try_with(|now| now.set(now.get().saturating_sub(len)));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the rules of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `f` has at once beyond what is there before.
fn peak_of(f: impl FnOnce()) -> usize {
    let before = NOW.get();
    PEAK.set(before);
    f();
    PEAK.get() - before
}

/// What the decoder of outcomes may take for so many bytes.
///
/// The worst are entries that come one by one, without bytes: each word becomes a `Batch` of
/// 56 bytes with 16 for its entry, in a vector that doubles and has both of its sizes
/// meanwhile: that is 3 * 56 + 16 for 4.
/// Besides, one block of 16 KiB is copied at a time.
fn cap(len: usize) -> usize {
    48 * len + (64 << 10)
}

fn check_outcomes(entries: &[u8], bytes: &[u8], size: usize) {
    let len = entries.len() + bytes.len();
    let peak = peak_of(|| outcomes(entries, bytes, size));
    let cap = cap(len);
    assert!(peak <= cap, "{peak} bytes for {len}, not {cap}");
}

/// An entry: its kind, and the length that it claims.
fn word(kind: u32, len: u32) -> [u8; 4] {
    (len << 3 | kind).to_ne_bytes()
}

fn segment(count: u32, skip: u32) -> Vec<u8> {
    [1, 0, count, skip].map(u32::to_ne_bytes).concat()
}

#[test]
fn the_counter_counts() {
    let peak = peak_of(|| drop(std::hint::black_box(vec![0_u8; 1 << 20])));
    assert_eq!(peak, 1 << 20);
    assert_eq!(peak_of(|| ()), 0);
}

#[test]
fn a_claim_of_half_a_gibibyte_takes_nothing() {
    for kind in 0..=7 {
        let claim = word(kind, u32::MAX >> 3);
        check_outcomes(&claim, &[], 64);
        for tail in [0, 1, 100, 100_000] {
            let entries = [segment(u32::MAX, 0), claim.to_vec()].concat();
            for size in [1, 13, 4096, 200_000] {
                check_outcomes(&entries, &vec![7; tail], size);
            }
        }
    }
}

#[test]
fn the_smallest_records_stay_below_the_cap() {
    for (record, count, bytes_each) in [
        (word(0, 0).to_vec(), u32::MAX, 0),
        (word(1, 1).to_vec(), u32::MAX, 1),
        ([word(0, 0).to_vec(), segment(1, 0)].concat(), 1, 0),
        ([word(0, 0).to_vec(), segment(1, 1)].concat(), 1, 1),
    ] {
        let mut entries = segment(count, 0);
        let mut num_bytes = 0;
        while entries.len() < 100_000 {
            entries.extend_from_slice(&record);
            num_bytes += bytes_each;
        }
        for size in [1, 4, 13, 4096, 200_000] {
            check_outcomes(&entries, &vec![0; num_bytes], size);
        }
    }
}

/// Entries that are as they should be more often than chance would have it, with lengths
/// that are true or not.
fn entries() -> impl Strategy<Value = Vec<u8>> {
    let entry = prop_oneof![
        6 => (0_u32..5, 0_u32..60).prop_map(|(kind, len)| word(kind, len).to_vec()),
        2 => (0_u32..9, 0_u32..20).prop_map(|(count, skip)| segment(count, skip)),
        1 => (0_u32..8, any::<u32>()).prop_map(|(kind, len)| word(kind, len >> 3).to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..10),
    ];
    let entries = proptest::collection::vec(entry, 0..60);
    (1_u32..60, entries).prop_map(|(count, rest)| [segment(count, 0), rest.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_outcomes_or_malformed(
        entries in proptest::collection::vec(any::<u8>(), 0..3000),
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        size in 1_usize..300,
    ) {
        check_outcomes(&entries, &bytes, size);
    }

    #[test]
    fn any_entries_are_outcomes_or_malformed(
        entries in entries(),
        num_bytes in 0_usize..3000,
        size in 1_usize..300,
    ) {
        check_outcomes(&entries, &vec![3; num_bytes], size);
    }

    #[test]
    fn any_64_bytes_are_a_header_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 64)) {
        let peak = peak_of(|| { header(&bytes); });
        prop_assert_eq!(peak, 0);
    }

    #[test]
    fn any_change_to_a_header_gives_a_header_or_malformed(
        which in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((0_usize..64, any::<u8>()), 0..6),
    ) {
        let mut headers = headers();
        let bytes = &mut headers[which.index(6)];
        prop_assert!(header(bytes), "as it is sent");
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let peak = peak_of(|| { header(bytes); });
        prop_assert_eq!(peak, 0);
    }

    #[test]
    fn any_packet_is_of_this_protocol_or_malformed(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let socket = ControlSocket::new();
        let peak = peak_of(|| { socket.receives(&bytes); });
        prop_assert!(peak < 4096, "{}", peak);
    }

    #[test]
    fn any_change_to_a_packet_gives_a_packet_or_malformed(
        which in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((0_usize..56, any::<u8>()), 0..6),
    ) {
        let socket = ControlSocket::new();
        let mut packets = control_packets();
        let count = packets.len();
        let bytes = &mut packets[which.index(count)];
        prop_assert!(socket.receives(bytes), "as it is sent");
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let peak = peak_of(|| { socket.receives(bytes); });
        prop_assert!(peak < 4096, "{}", peak);
    }
}
