//! A lazy stream of ten million items, in order, with a consumer that is slower than the
//! workers: prints the memory of this process while it runs, and fails if it grows.

use std::error::Error;
use std::{fs, thread::sleep, time::Duration};

use taskfarm::prelude::*;

const NUM_ITEMS: usize = 10_000_000;
/// More than the streams of all pools may hold at any time.
const MAX_GROWTH_KIB: usize = 16 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    for backend in ["threads", "rayon"] {
        let pool = backend.parse::<Backend>()?.build(Some(2))?;
        let before = resident_kib()?;
        println!("{backend}: {before} KiB before");
        let squares = pool.map(0..NUM_ITEMS, |n| vec![n; 4]).ordered()?;
        let mut most = before;
        for (expected, square) in squares.enumerate() {
            assert_eq!(square?[3], expected);
            if expected % (NUM_ITEMS / 10) == 0 {
                let now = resident_kib()?;
                println!("{backend}: {now} KiB at item {expected}");
                most = most.max(now);
            }
            if expected % 10_000 == 0 {
                sleep(Duration::from_millis(1));
            }
        }
        if most - before > MAX_GROWTH_KIB {
            return Err(format!("{backend}: memory grew by {} KiB", most - before).into());
        }
    }
    println!("memory stays flat");
    Ok(())
}

/// The resident memory of this process.
fn resident_kib() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(number.ok_or("no VmRSS in /proc/self/status")?.parse()?)
}
