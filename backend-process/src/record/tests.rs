use proptest::prelude::*;

use super::*;

/// The stream of a worker that sends these batches, each in a segment of its own.
fn encode(batches: &[Batch]) -> Vec<u8> {
    let mut stream = Vec::new();
    for batch in batches {
        stream.extend(segment(batch.seq, batch.first));
        let mut rest = &batch.outcomes.bytes[..];
        for (at, word) in batch.outcomes.lengths.iter().enumerate() {
            let (bytes, tail) = rest.split_at(batch.outcomes.len_at(at));
            rest = tail;
            stream.extend(word.to_ne_bytes());
            stream.extend(bytes);
        }
    }
    stream
}

fn batch(seq: u32, first: u32, outcomes: &[(u32, &[u8])]) -> Batch {
    let mut bundle = Bundle::default();
    for (kind, bytes) in outcomes {
        bundle.lengths.push((bytes.len() as u32) << 3 | kind);
        bundle.bytes.extend_from_slice(bytes);
    }
    Batch {
        seq,
        first,
        outcomes: bundle,
    }
}

/// Joins batches that count on from one another.
fn merge(batches: Vec<Batch>) -> Vec<Batch> {
    let mut merged: Vec<Batch> = Vec::new();
    for batch in batches {
        match merged.last_mut() {
            Some(last)
                if last.seq == batch.seq
                    && last.first + last.outcomes.len() as u32 == batch.first =>
            {
                last.outcomes.bytes.extend(batch.outcomes.bytes);
                last.outcomes.lengths.extend(batch.outcomes.lengths);
            }
            _ => merged.push(batch),
        }
    }
    merged
}

#[test]
fn batches_come_out_as_they_went_in_whatever_the_pieces() {
    let sent = vec![
        batch(3, 0, &[(0, b"abc"), (1, b""), (2, &[9; 300])]),
        batch(9, 5, &[(0, b"x")]),
        batch(10, 0, &[(4, b"no")]),
    ];
    let stream = encode(&sent);
    for size in 1..=stream.len() {
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for mut piece in stream.chunks(size) {
            decoder.decode(&mut piece, &mut got).unwrap();
        }
        assert_eq!(merge(got), sent, "in pieces of {size}");
    }
}

#[test]
fn a_half_outcome_is_kept_back() {
    let stream = encode(&[batch(1, 0, &[(0, b"whole"), (0, b"half")])]);
    let mut got = Vec::new();
    let mut source = &stream[..stream.len() - 1];
    Decoder::default().decode(&mut source, &mut got).unwrap();
    assert_eq!(got, [batch(1, 0, &[(0, b"whole")])]);
}

#[test]
fn padding_is_passed_over() {
    let mut stream = padding(5).to_vec();
    stream.extend([1, 2, 3, 4, 5]);
    stream.extend(encode(&[batch(1, 0, &[(0, b"a")])]));
    let mut got = Vec::new();
    Decoder::default()
        .decode(&mut &stream[..], &mut got)
        .unwrap();
    assert_eq!(got, [batch(1, 0, &[(0, b"a")])]);
}

#[test]
fn an_outcome_without_a_segment_is_malformed() {
    let stream = (4_u32 << 3).to_ne_bytes();
    let mut got = Vec::new();
    assert_eq!(
        Decoder::default().decode(&mut &stream[..], &mut got),
        Err(Malformed)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_in_any_pieces_never_take_more_memory_than_they_are(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        size in 1_usize..64,
    ) {
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for mut piece in bytes.chunks(size) {
            if decoder.decode(&mut piece, &mut got).is_err() {
                break;
            }
        }
        let held: usize = got.iter().map(|batch| batch.outcomes.bytes.len()).sum();
        prop_assert!(held <= bytes.len());
        prop_assert!(got.iter().all(|batch| batch.outcomes.is_consistent()));
    }

    #[test]
    fn any_batches_survive_any_pieces(
        sizes in proptest::collection::vec(proptest::collection::vec(0_usize..50, 1..10), 0..10),
        size in 1_usize..64,
    ) {
        let sent: Vec<Batch> = sizes.iter().enumerate().map(|(seq, sizes)| {
            let outcomes: Vec<Vec<u8>> = sizes.iter().map(|len| vec![*len as u8; *len]).collect();
            let outcomes: Vec<(u32, &[u8])> = outcomes.iter().map(|bytes| (0, &bytes[..])).collect();
            batch(seq as u32, 0, &outcomes)
        }).collect();
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for mut piece in encode(&sent).chunks(size) {
            decoder.decode(&mut piece, &mut got).unwrap();
        }
        prop_assert_eq!(merge(got), sent);
    }
}
