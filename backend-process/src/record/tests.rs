use std::cell::Cell;

use proptest::prelude::*;

use super::*;

/// What a worker has written, in the order in which it shows it.
#[derive(Default)]
struct Streams {
    entries: Vec<u8>,
    bytes: Vec<u8>,
    /// How long both are after each step.
    shown: Vec<(usize, usize)>,
}

impl Streams {
    /// Each batch in a segment of its own, after `skip` bytes without meaning; the bytes of
    /// outcomes in pieces of `size`.
    fn new(batches: &[Batch], skip: usize, size: usize) -> Self {
        let mut streams = Self::default();
        for batch in batches {
            let segment = Segment {
                seq: batch.seq,
                first: batch.first,
                count: batch.outcomes.len() as u32,
                skip: skip as u32,
            };
            streams.entries.extend(segment.encode());
            streams.bytes.extend(vec![0xAA; skip]);
            let mut rest = &batch.outcomes.bytes[..];
            for (at, word) in batch.outcomes.lengths.iter().enumerate() {
                let (bytes, tail) = rest.split_at(batch.outcomes.len_at(at));
                rest = tail;
                for piece in bytes.chunks(size) {
                    streams.bytes.extend(piece);
                    streams.show();
                }
                streams.entries.extend(word.to_ne_bytes());
                streams.show();
            }
        }
        streams
    }

    fn show(&mut self) {
        self.shown.push((self.entries.len(), self.bytes.len()));
    }

    /// What a decoder makes of them when it looks after every so many steps, and at the end.
    fn decode(&self, every: usize) -> Result<Vec<Batch>, Malformed> {
        let (mut entries, mut bytes) = (Tape::new(&self.entries), Tape::new(&self.bytes));
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        let (mut before, last) = ((0, 0), self.shown.len());
        for (step, &shown) in (1..).zip(&self.shown) {
            if step % every == 0 || step == last {
                entries.arrive(shown.0 - before.0);
                bytes.arrive(shown.1 - before.1);
                before = shown;
                decoder.decode(&mut entries, &mut bytes, &mut got)?;
            }
        }
        Ok(got)
    }
}

/// How far a worker has come that goes on writing while the pool looks: by a few steps, or
/// none, whenever somebody asks how much is there.
struct Race {
    step: Cell<usize>,
    random: Cell<u64>,
}

impl Race {
    fn go_on(&self) -> usize {
        let random = self.random.get().wrapping_mul(6_364_136_223_846_793_005);
        self.random.set(random.wrapping_add(1));
        let step = self.step.get();
        self.step.set(step + (random >> 33) as usize % 4);
        step
    }
}

/// One of its streams.
struct Racing<'a> {
    streams: &'a Streams,
    race: &'a Race,
    /// Of the entries, or of the bytes.
    is_entries: bool,
    taken: usize,
}

impl Racing<'_> {
    fn all(&self) -> &[u8] {
        match self.is_entries {
            true => &self.streams.entries,
            false => &self.streams.bytes,
        }
    }
}

impl Source for Racing<'_> {
    fn available(&self) -> usize {
        let shown = &self.streams.shown;
        let (entries, bytes) = shown[self.race.go_on().min(shown.len() - 1)];
        let there = if self.is_entries { entries } else { bytes };
        there - self.taken
    }

    fn take(&mut self, len: usize, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.all()[self.taken..self.taken + len]);
        self.skip(len);
    }

    fn skip(&mut self, len: usize) {
        self.taken += len;
    }
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

/// All of both streams at once.
fn decode_all(entries: &[u8], bytes: &[u8]) -> (Result<(), Malformed>, Vec<Batch>) {
    let (mut entries, mut bytes) = (Tape::new(entries), Tape::new(bytes));
    entries.arrive(usize::MAX);
    bytes.arrive(usize::MAX);
    let mut got = Vec::new();
    let decoded = Decoder::default().decode(&mut entries, &mut bytes, &mut got);
    (decoded, got)
}

#[test]
fn batches_come_out_as_they_went_in_whenever_one_looks() {
    let sent = [
        batch(3, 0, &[(0, b"abc"), (1, b""), (2, &[9; 300])]),
        batch(9, 5, &[(0, b"x")]),
        batch(10, 0, &[(4, b"no")]),
    ];
    for (skip, size) in [(0, 1), (7, 100), (0, 1000)] {
        let streams = Streams::new(&sent, skip, size);
        for every in 1..=streams.shown.len() {
            let got = streams.decode(every).unwrap();
            assert_eq!(merge(got), sent, "{skip} {size} {every}");
        }
    }
}

#[test]
fn batches_come_out_as_they_went_in_while_they_are_written() {
    let sent: Vec<Batch> = (0..40)
        .map(|seq| batch(seq, 0, &[(0, &[seq as u8; 9]), (1, b""), (0, b"abc")]))
        .collect();
    for seed in 0..200 {
        let (skip, size) = (seed as usize % 3, 1 + seed as usize % 10);
        let streams = Streams::new(&sent, skip, size);
        let race = &Race {
            step: Cell::new(0),
            random: Cell::new(seed + 1),
        };
        let stream = |is_entries| Racing {
            streams: &streams,
            race,
            is_entries,
            taken: 0,
        };
        let (mut entries, mut bytes) = (stream(true), stream(false));
        let (mut decoder, mut got) = (Decoder::default(), Vec::new());
        let mut is_over = false;
        while !is_over {
            // Once more, when everything is there.
            is_over = race.step.get() >= streams.shown.len();
            let decoded = decoder.decode(&mut entries, &mut bytes, &mut got);
            assert_eq!(decoded, Ok(()), "seed {seed}");
        }
        assert_eq!(merge(got), sent, "seed {seed}");
    }
}

#[test]
fn a_half_outcome_is_kept_back() {
    let streams = Streams::new(&[batch(1, 0, &[(0, b"whole"), (0, b"half")])], 0, 9);
    let shown = streams.entries.len() - WORD;
    let (decoded, got) = decode_all(&streams.entries[..shown], &streams.bytes);
    assert_eq!(decoded, Ok(()));
    assert_eq!(got, [batch(1, 0, &[(0, b"whole")])]);
}

#[test]
fn many_bytes_are_handed_over_before_the_last_one_came() {
    let big = vec![1; MAX_BATCH];
    let sent = [batch(1, 0, &[(0, &big), (0, b"small")])];
    let streams = Streams::new(&sent, 0, 1 << 20);
    let (decoded, got) = decode_all(&streams.entries, &streams.bytes);
    assert_eq!(decoded, Ok(()));
    // A block of entries is taken at once, however many bytes they tell of.
    assert_eq!(got.len(), 1);
    let many: Vec<(u32, &[u8])> = (0..=BLOCK).map(|_| (0, &big[..100])).collect();
    let streams = Streams::new(&[batch(1, 0, &many)], 0, 100);
    let (_, got) = decode_all(&streams.entries, &streams.bytes);
    assert_eq!(got.len(), 2);
}

#[test]
fn what_no_worker_writes_is_malformed() {
    let segment = |count, skip| {
        let segment = Segment {
            seq: 1,
            first: 0,
            count,
            skip,
        };
        segment.encode().to_vec()
    };
    let entry = |len: u32, kind: u32| (len << 3 | kind).to_ne_bytes().to_vec();
    for (entries, bytes, why) in [
        (segment(0, 0), 0, "no outcomes"),
        (segment(1, 2), 1, "more to skip than there is"),
        ([segment(1, 0), entry(2, 0)].concat(), 1, "bytes not there"),
        ([segment(1, 0), entry(0, 5)].concat(), 0, "an unknown kind"),
    ] {
        let (decoded, got) = decode_all(&entries, &vec![0; bytes]);
        assert_eq!((decoded, got), (Err(Malformed), vec![]), "{why}");
    }
}

#[test]
fn an_outcome_shorter_than_what_came_of_it_is_malformed() {
    let streams = Streams::new(&[batch(1, 0, &[(0, b"abcdef")])], 0, 6);
    let (mut entries, mut bytes) = (Tape::new(&streams.entries), Tape::new(&streams.bytes));
    let mut decoder = Decoder::default();
    let mut got = Vec::new();
    entries.arrive(Segment::LEN);
    bytes.arrive(6);
    assert_eq!(decoder.decode(&mut entries, &mut bytes, &mut got), Ok(()));
    let mut entries = Tape::new(&[5 << 3, 0, 0, 0]);
    entries.arrive(WORD);
    let decoded = decoder.decode(&mut entries, &mut bytes, &mut got);
    assert_eq!((decoded, got), (Err(Malformed), vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_batches_survive_any_looks(
        sizes in proptest::collection::vec(proptest::collection::vec(0_usize..50, 1..10), 1..10),
        skip in 0_usize..9,
        size in 1_usize..64,
        every in 1_usize..20,
    ) {
        let sent: Vec<Batch> = sizes.iter().enumerate().map(|(seq, sizes)| {
            let outcomes: Vec<Vec<u8>> = sizes.iter().map(|len| vec![*len as u8; *len]).collect();
            let outcomes: Vec<(u32, &[u8])> = outcomes.iter().map(|bytes| (0, &bytes[..])).collect();
            batch(seq as u32, 0, &outcomes)
        }).collect();
        let got = Streams::new(&sent, skip, size).decode(every);
        prop_assert_eq!(got.map(merge), Ok(sent));
    }
}
