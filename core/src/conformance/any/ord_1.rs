//! ORD-1: the order of results.

use super::{Ext as _, Subject, double, identity, unwrap};
use crate::as_completed;

const NUM: u64 = 3000;

fn doubles() -> Vec<u64> {
    (0..NUM).map(double).collect()
}

pub(in crate::conformance) fn collect_keeps_input_order(subject: &Subject) {
    let items: Vec<u64> = (0..NUM).collect();
    let results: Vec<u64> = unwrap(subject.pool().map(items, double).collect());
    assert_eq!(results, doubles());
}

pub(in crate::conformance) fn collect_keeps_the_order_of_a_lazy_input(subject: &Subject) {
    let items = (0..NUM).filter(|_| true);
    let results: Vec<u64> = unwrap(subject.pool().map(items, double).collect());
    assert_eq!(results, doubles());
}

pub(in crate::conformance) fn collect_keeps_order_where_results_need_more_room(subject: &Subject) {
    let items: Vec<u64> = (0..NUM).collect();
    let results: Vec<String> = unwrap(subject.pool().map(items, |n| n.to_string()).collect());
    let wanted: Vec<String> = (0..NUM).map(|n| n.to_string()).collect();
    assert_eq!(results, wanted);
}

pub(in crate::conformance) fn ordered_yields_in_input_order(subject: &Subject) {
    let pool = subject.pool();
    let results: Vec<u64> = unwrap(pool.map(0..NUM, double).ordered())
        .map(unwrap)
        .collect();
    assert_eq!(results, doubles());
}

pub(in crate::conformance) fn for_each_is_called_in_input_order(subject: &Subject) {
    let mut results = Vec::new();
    let pool = subject.pool();
    unwrap(pool.map(0..NUM, double).for_each(|n| results.push(n)));
    assert_eq!(results, doubles());
}

pub(in crate::conformance) fn outcomes_are_in_input_order(subject: &Subject) {
    let outcomes = unwrap(subject.pool().map(0..NUM, double).outcomes());
    let results: Vec<u64> = outcomes.into_iter().map(unwrap).collect();
    assert_eq!(results, doubles());
}

pub(in crate::conformance) fn as_completed_names_each_item_by_its_index(subject: &Subject) {
    let pool = subject.pool();
    for (index, outcome) in unwrap(pool.map(100..100 + NUM, identity).as_completed()) {
        assert_eq!(unwrap(outcome), 100 + index as u64);
    }
}

pub(in crate::conformance) fn each_handle_gives_the_result_of_its_own_task(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..300).map(|n| pool.submit(n, double)).collect();
    for (n, handle) in (0..300).zip(handles) {
        assert_eq!(unwrap(handle.join()), double(n));
    }
}

pub(in crate::conformance) fn as_completed_handles_keep_their_positions(subject: &Subject) {
    let pool = subject.pool();
    let handles: Vec<_> = (0..300).map(|n| pool.submit(n, double)).collect();
    for (position, result) in as_completed(handles) {
        assert_eq!(unwrap(result), double(position as u64));
    }
}
