//! REM-4: what tasks may do to their process.

use std::io::Write as _;
use std::process::Command;

use super::Subject;
use crate::SameBinaryExt as _;

fn check(subject: &Subject, disturb: fn(u64) -> u64) {
    let pool = subject.pool();
    let results: Vec<u64> = pool.map(0..100, disturb).chunk_size(7).collect().unwrap();
    assert_eq!(results, (0..100).collect::<Vec<u64>>());
}

pub(in crate::conformance) fn tasks_may_print(subject: &Subject) {
    check(subject, |n| {
        // Not `print!`: the test harness would keep it.
        let text = format!("{n} and {n}\n").repeat(2);
        let _ = std::io::stdout().write_all(text.as_bytes());
        let _ = std::io::stderr().write_all(text.as_bytes());
        n
    });
}

pub(in crate::conformance) fn tasks_may_start_processes(subject: &Subject) {
    check(subject, |n| {
        if n % 25 == 0 {
            let status = Command::new("true").status();
            assert!(status.is_ok_and(|status| status.success()));
        }
        n
    });
}
