//! Cases that look at results and at the caller's side of a map. Written without closures
//! that capture inside of tasks, they are compiled for each reach.

pub(in crate::conformance) mod can_1;
pub(in crate::conformance) mod chunk_1;
pub(in crate::conformance) mod drop_1;
pub(in crate::conformance) mod err_1;
pub(in crate::conformance) mod err_2;
pub(in crate::conformance) mod err_3;
pub(in crate::conformance) mod lazy_1;
pub(in crate::conformance) mod lazy_2;
pub(in crate::conformance) mod obs_1;
pub(in crate::conformance) mod once_1;
pub(in crate::conformance) mod ord_1;
pub(in crate::conformance) mod pan_1;
pub(in crate::conformance) mod par_1;
pub(in crate::conformance) mod res_1;
pub(in crate::conformance) mod shut_1;
pub(in crate::conformance) mod time_1;
pub(in crate::conformance) mod time_2;
pub(in crate::conformance) mod zero_1;

use std::fmt;

use super::{Ext, Pool, Reach, Subject};
use crate::map::{Engine, StreamEngine};
use crate::work::Work;
use crate::{Map, MapError, TaskError};

/// Chunk sizes around every edge.
const CHUNK_SIZES: [usize; 7] = [1, 2, 3, 64, 99, 1000, usize::MAX];

fn double(n: u64) -> u64 {
    n * 2
}

fn identity(n: u64) -> u64 {
    n
}

/// Fails for every number that ends in 7.
fn dislike_7(n: u64) -> Result<u64, String> {
    match n % 10 {
        7 => Err(format!("{n} ends in 7")),
        _ => Ok(n),
    }
}

/// Panics for every number that ends in 7.
fn fear_7(n: u64) -> u64 {
    assert!(n % 10 != 7, "afraid of {n}");
    n
}

/// The failure that each ending of the same map reports, as text; `None` if it reports
/// none.
fn failures<'e, It, W>(
    map: impl Fn() -> Map<'e, Pool, It, W>,
) -> [(&'static str, Option<String>); 5]
where
    Reach: Engine<Pool, It, W> + StreamEngine<Pool, It, W>,
    It: IntoIterator,
    W: Work<It::Item, Error: fmt::Display>,
{
    [
        ("collect", first_of(map().collect::<Vec<_>>())),
        ("for_each", first_of(map().for_each(drop))),
        ("run", first_of(map().run())),
        ("ordered", last_of(unwrap(map().ordered()))),
        (
            "as_completed",
            last_of(unwrap(map().as_completed()).map(|(_, outcome)| outcome)),
        ),
    ]
}

fn first_of<T, E: fmt::Display>(result: Result<T, MapError<E>>) -> Option<String> {
    Some(result.err()?.first()?.to_string())
}

fn last_of<T, E: fmt::Display>(
    outcomes: impl Iterator<Item = Result<T, TaskError<E>>>,
) -> Option<String> {
    Some(outcomes.last()?.err()?.to_string())
}

#[track_caller]
pub(in crate::conformance) fn unwrap<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
