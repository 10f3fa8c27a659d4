//! REM-3: no worker outlives its parent. After the end of the process the kit looks for
//! others that come from it.

use std::fs;
use std::process::{self, Command};
use std::time::Duration;

use super::{Ext as _, Pool, Subject};
use crate::conformance::gate::until;
use crate::conformance::own_process::die;

/// A pool of which every worker has a task that never ends.
fn busy(subject: &Subject) -> Pool {
    let pool = subject.pool();
    let folder = std::env::temp_dir().join(format!("taskfarm-conformance-{}", process::id()));
    fs::create_dir(&folder).expect("a folder for signs of life");
    let num_workers = pool.parallelism().get();
    for number in 0..num_workers {
        let sign = folder.join(number.to_string());
        let sign = sign.to_str().expect("a plain path").to_owned();
        drop(pool.submit(sign, run_for_ever));
    }
    until(|| fs::read_dir(&folder).is_ok_and(|signs| signs.count() == num_workers));
    let _ = fs::remove_dir_all(&folder);
    pool
}

fn run_for_ever(sign: String) {
    fs::write(sign, "").expect("a sign of life");
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

pub(in crate::conformance) fn no_worker_outlives_a_process_that_exits(subject: &Subject) {
    let _pool = busy(subject);
    die(|| process::exit(9));
}

pub(in crate::conformance) fn no_worker_outlives_a_process_that_aborts(subject: &Subject) {
    let _pool = busy(subject);
    die(|| process::abort());
}

pub(in crate::conformance) fn no_worker_outlives_a_process_that_is_killed(subject: &Subject) {
    let _pool = busy(subject);
    die(|| {
        let own = process::id().to_string();
        let _ = Command::new("kill").args(["-9", &own]).status();
        std::thread::sleep(Duration::from_secs(10));
    });
}
