//! ONCE-1: each item starts once, seen from outside of the workers.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process;

use super::{Ext as _, Subject};

pub(in crate::conformance) fn every_item_starts_once_in_a_worker(subject: &Subject) {
    let path = std::env::temp_dir().join(format!("taskfarm-conformance-{}", process::id()));
    let name = path.to_str().expect("a plain path").to_owned();
    let pool = subject.pool();
    let items = (0..50).map(move |n: u64| (name.clone(), n));
    let outcome = pool.map(items, note_the_start).chunk_size(7).run();
    let noted = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(&path);
    outcome.unwrap_or_else(|error| panic!("{error}"));
    for n in 0..50 {
        let number = n.to_string();
        match noted.lines().filter(|line| *line == number).count() {
            1 => {}
            0 => panic!("item {n} never started"),
            2 => panic!("item {n} started twice"),
            times => panic!("item {n} started {times} times"),
        }
    }
}

fn note_the_start((path, n): (String, u64)) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    // In one write: those of several workers do not mix.
    let line = format!("{n}\n");
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("a file for signs of life");
}
