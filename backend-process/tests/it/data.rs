//! Big data, both ways, and data that cannot travel.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use taskfarm_core::{ErrorPolicy, SameBinaryExt, TaskError, TaskErrorKind};
use taskfarm_process::StartMethod;

use crate::Case;
use crate::support::pool;

pub(crate) const CASES: &[Case] = &[
    (
        "data::a_hundred_mebibytes_go_in_and_come_out",
        a_hundred_mebibytes,
    ),
    (
        "data::all_workers_answer_while_more_is_being_sent",
        all_workers_answer_while_more,
    ),
    (
        "data::sizes_around_every_border_arrive_whole",
        sizes_around_every_border,
    ),
    (
        "data::a_big_context_arrives_whole",
        a_big_context_arrives_whole,
    ),
    (
        "data::a_hundred_bad_items_harm_none_of_a_hundred_good_ones",
        bad_items_harm_no_good_ones,
    ),
    (
        "data::a_hundred_bad_results_harm_none_of_a_hundred_good_ones",
        bad_results_harm_no_good_ones,
    ),
];

/// Bytes that tell their place and `seed`, made fast, without optimisation, too.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    const BLOCK: usize = 64 << 10;
    let block: Vec<u8> = (0..BLOCK).map(|at| (at ^ (at >> 8) ^ seed) as u8).collect();
    let mut bytes = Vec::with_capacity(len + BLOCK);
    while bytes.len() < len {
        let number = bytes.len() / BLOCK;
        bytes.extend_from_slice(&block);
        let at = bytes.len() - BLOCK;
        bytes[at..at + 8].copy_from_slice(&number.to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What workers do: the second half goes to the front.
fn swap_halves(bytes: ByteBuf) -> ByteBuf {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    ByteBuf::from([second, first].concat())
}

/// The opposite.
fn swap_back(bytes: &[u8]) -> Vec<u8> {
    let (second, first) = bytes.split_at(bytes.len().div_ceil(2));
    [first, second].concat()
}

fn a_hundred_mebibytes(method: StartMethod) {
    let pool = pool(method, 2);
    let big = pattern(100 << 20, 1);
    let handle = pool.submit(ByteBuf::from(big.clone()), swap_halves);
    assert!(swap_back(&handle.join().unwrap()) == big);
}

fn all_workers_answer_while_more(method: StartMethod) {
    let pool = pool(method, 2);
    let items = (0..20).map(|seed| ByteBuf::from(pattern(10 << 20, seed)));
    let results: Vec<ByteBuf> = pool
        .map(items, swap_halves)
        .chunk_size(1)
        .collect()
        .unwrap();
    for (seed, bytes) in results.into_iter().enumerate() {
        assert!(swap_back(&bytes) == pattern(10 << 20, seed));
    }
}

fn sizes_around_every_border(method: StartMethod) {
    let pool = pool(method, 1);
    let borders = [
        64 << 10,
        128 << 10,
        256 << 10,
        512 << 10,
        1 << 20,
        2 << 20,
        4 << 20,
        8 << 20,
    ];
    let mut sizes = vec![0, 1, 7, 8, 9];
    for border in borders {
        sizes.extend([
            border - 100,
            border - 64,
            border - 13,
            border - 8,
            border - 1,
            border,
            border + 1,
            border + 64,
        ]);
    }
    let items: Vec<ByteBuf> = sizes
        .iter()
        .map(|len| ByteBuf::from(pattern(*len, *len)))
        .collect();
    let results: Vec<ByteBuf> = pool
        .map(items, swap_halves)
        .chunk_size(1)
        .collect()
        .unwrap();
    for (len, bytes) in sizes.into_iter().zip(results) {
        assert!(swap_back(&bytes) == pattern(len, len), "{len} bytes");
    }
}

fn a_big_context_arrives_whole(method: StartMethod) {
    let pool = pool(method, 2);
    let context = ByteBuf::from(pattern(20 << 20, 5));
    let bytes: Vec<u8> = pool
        .context(context)
        .map((0..2000).map(|n| n * 10_000), |context, at: usize| {
            context[at]
        })
        .collect()
        .unwrap();
    let expected = pattern(20 << 20, 5);
    assert!(
        bytes
            .iter()
            .enumerate()
            .all(|(n, byte)| *byte == expected[n * 10_000])
    );
}

/// Cannot be encoded (1), or decoded (2).
#[derive(Debug)]
struct Awkward(u32, u32);

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 1 {
            return Err(serde::ser::Error::custom("will not go"));
        }
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (how, n) = <(u32, u32)>::deserialize(deserializer)?;
        if how == 2 {
            return Err(serde::de::Error::custom("will not come"));
        }
        Ok(Self(how, n))
    }
}

/// A hundred good items; a hundred bad ones, of which half cannot be encoded, and half
/// cannot be decoded.
fn bad_items_harm_no_good_ones(method: StartMethod) {
    let pool = pool(method, 2);
    let items: Vec<Awkward> = (0..200)
        .map(|n| Awkward(n % 2 * (1 + n / 2 % 2), n))
        .collect();
    let outcomes = pool
        .map(items, |item| item)
        .chunk_size(7)
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    assert_eq!(outcomes.len(), 200);
    for (n, outcome) in (0..).zip(outcomes) {
        let outcome = outcome.map(|item| item.1).map_err(what_is_wrong);
        let expected = match n % 4 {
            1 => Err("not encodable"),
            3 => Err("not decodable"),
            _ => Ok(n),
        };
        assert_eq!(outcome, expected, "{n}");
    }
    assert_eq!(pool.stats().replaced, 0, "the workers live");
}

fn bad_results_harm_no_good_ones(method: StartMethod) {
    let pool = pool(method, 2);
    let items: Vec<Awkward> = (0..200).map(|n| Awkward(0, n)).collect();
    let outcomes = pool
        .map(items, |item| {
            Awkward(item.1 % 2 * (1 + item.1 / 2 % 2), item.1)
        })
        .chunk_size(7)
        .on_error(ErrorPolicy::Collect)
        .outcomes()
        .unwrap();
    assert_eq!(outcomes.len(), 200);
    for (n, outcome) in (0..).zip(outcomes) {
        let outcome = outcome.map(|item| item.1).map_err(what_is_wrong);
        let expected = match n % 4 {
            1 => Err("not encodable"),
            3 => Err("not decodable"),
            _ => Ok(n),
        };
        assert_eq!(outcome, expected, "{n}");
    }
    assert_eq!(pool.stats().replaced, 0, "the workers live");
}

fn what_is_wrong(error: TaskError) -> &'static str {
    match error.kind() {
        TaskErrorKind::NotEncodable(_) => "not encodable",
        TaskErrorKind::NotDecodable(_) => "not decodable",
        _ => "something else",
    }
}
