//! REM-2: what cannot travel.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Subject;
use crate::{ErrorPolicy, SameBinaryExt as _, TaskErrorKind};

/// A number that does not travel well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delicate(u64);

const NOT_ENCODABLE: u64 = 3;
const NOT_DECODABLE: u64 = 5;
const PANICS: u64 = 7;

impl Serialize for Delicate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            NOT_ENCODABLE => Err(S::Error::custom("not this one")),
            PANICS => panic!("a panic in serialize"),
            n => serializer.serialize_u64(n),
        }
    }
}

impl<'de> Deserialize<'de> for Delicate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            NOT_DECODABLE => Err(D::Error::custom("not that one")),
            n => Ok(Self(n)),
        }
    }
}

fn check<T: std::fmt::Debug>(outcomes: Vec<Result<T, crate::TaskError>>, what: &str) {
    assert_eq!(outcomes.len(), 10);
    for (index, outcome) in (0..).zip(outcomes) {
        let is_right = match (index, outcome.as_ref().map_err(|error| error.kind())) {
            (NOT_ENCODABLE, Err(TaskErrorKind::NotEncodable(_))) => true,
            (NOT_DECODABLE, Err(TaskErrorKind::NotDecodable(_))) => true,
            (PANICS, Err(TaskErrorKind::NotEncodable(_) | TaskErrorKind::Panicked(_))) => true,
            (NOT_ENCODABLE | NOT_DECODABLE | PANICS, _) => false,
            (_, outcome) => outcome.is_ok(),
        };
        assert!(is_right, "{what} {index}: {outcome:?}");
    }
}

pub(in crate::conformance) fn an_item_that_cannot_travel_is_its_own_error(subject: &Subject) {
    let pool = subject.pool();
    for chunk_size in [1, 4, 100] {
        let map = pool.map((0..10).map(Delicate), |item| item.0);
        let map = map.chunk_size(chunk_size).on_error(ErrorPolicy::Collect);
        check(map.outcomes().unwrap(), "item");
    }
    let results: Vec<u64> = pool.map(10..20, |n: u64| n).collect().unwrap();
    assert_eq!(results.len(), 10);
}

pub(in crate::conformance) fn a_result_that_cannot_travel_is_its_own_error(subject: &Subject) {
    let pool = subject.pool();
    for chunk_size in [1, 4, 100] {
        let map = pool.map(0..10, Delicate as fn(u64) -> Delicate);
        let map = map.chunk_size(chunk_size).on_error(ErrorPolicy::Collect);
        check(map.outcomes().unwrap(), "result");
    }
    let results: Vec<u64> = pool.map(10..20, |n: u64| n).collect().unwrap();
    assert_eq!(results.len(), 10);
}
