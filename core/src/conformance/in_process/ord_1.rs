//! ORD-1: the order of results, where tasks take their time.

use super::Subject;
use crate::conformance::gate::{Counter, Gate};
use crate::{InProcessExt as _, as_completed};

pub(in crate::conformance) fn ordered_waits_for_a_slow_first_item(subject: &Subject) {
    let pool = subject.pool_of(2);
    let others = Counter::new();
    let map = pool.map(0..8, move |n| {
        match n {
            0 => others.wait_for(7),
            _ => others.add(),
        }
        n
    });
    let results: Vec<i32> = map.ordered().unwrap().map(Result::unwrap).collect();
    assert_eq!(results, (0..8).collect::<Vec<_>>());
}

pub(in crate::conformance) fn as_completed_does_not_wait_for_a_slow_item(subject: &Subject) {
    let pool = subject.pool_of(2);
    let gate = Gate::new();
    let pass = gate.pass();
    let map = pool.map(0..50, move |n| {
        if n == 0 {
            pass.wait();
        }
        n
    });
    let mut map = map.as_completed().unwrap();
    let mut others: Vec<usize> = map.by_ref().take(49).map(|(index, _)| index).collect();
    gate.open();
    assert_eq!(map.next().map(|(index, _)| index), Some(0));
    others.sort_unstable();
    assert_eq!(others, (1..50).collect::<Vec<_>>());
}

pub(in crate::conformance) fn an_item_is_yielded_while_its_chunk_goes_on(subject: &Subject) {
    let pool = subject.pool_of(1);
    for size in [2, 50, usize::MAX] {
        let gate = Gate::new();
        let pass = gate.pass();
        let map = pool.map(0..50, move |n| {
            if n == 1 {
                pass.wait();
            }
            n
        });
        let mut map = map.chunk_size(size).as_completed().unwrap();
        assert_eq!(map.next().map(|(index, _)| index), Some(0));
        gate.open();
        assert_eq!(map.count(), 49);
    }
}

pub(in crate::conformance) fn a_ready_item_does_not_wait_for_the_input(subject: &Subject) {
    let pool = subject.pool_of(1);
    let gate = Gate::new();
    let pass = gate.pass();
    let input = (0..10).inspect(move |n| {
        if *n == 1 {
            pass.wait();
        }
    });
    let mut map = pool.map(input, |n| n).ordered().unwrap();
    assert_eq!(map.next().unwrap().unwrap(), 0);
    gate.open();
    assert_eq!(map.count(), 9);
}

pub(in crate::conformance) fn as_completed_handles_come_as_they_end(subject: &Subject) {
    let pool = subject.pool_of(2);
    let gate = Gate::new();
    let pass = gate.pass();
    let slow = pool.submit((), move |()| pass.wait());
    let fast = pool.submit((), |()| ());
    let mut handles = as_completed([slow, fast]);
    assert_eq!(handles.next().map(|(position, _)| position), Some(1));
    gate.open();
    assert_eq!(handles.next().map(|(position, _)| position), Some(0));
    assert!(handles.next().is_none());
}
