//! Smoke.
use std::time::Instant;
use taskfarm_core::{Executor, SameBinaryExt};
use taskfarm_process::*;
fn main() {
    let t = Instant::now();
    let pool = ProcessPool::new(2).unwrap();
    let r = pool.submit(20u64, |n| n + 1).join();
    println!("{r:?} first after {:?}", t.elapsed());
    let t = Instant::now();
    let v: Vec<u64> = pool.map(0..1_000_000u64, |n| n * 2).collect().unwrap();
    println!("map {} in {:?}", v.len(), t.elapsed());
    assert!(v.iter().enumerate().all(|(i, v)| *v == 2 * i as u64));
    let t = Instant::now();
    let hs: Vec<_> = (0..200_000u64).map(|n| pool.submit(n, |n| n + 1)).collect();
    println!("submitted in {:?}", t.elapsed());
    for (i, h) in hs.into_iter().enumerate() {
        assert_eq!(h.join().unwrap(), i as u64 + 1);
    }
    println!(
        "200k in {:?} = {:.0}/s",
        t.elapsed(),
        200_000.0 / t.elapsed().as_secs_f64()
    );
    let r = pool
        .submit(1, |n: i32| {
            if n == 1 {
                std::process::abort()
            }
            n
        })
        .join();
    println!("{r:?}");
    println!("{:?} {:?}", pool.workers(), pool.stats());
    let mut best = std::time::Duration::MAX;
    let mut all = vec![];
    for _ in 0..200 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        let t = Instant::now();
        pool.submit(20u64, |n| n + 1).join().unwrap();
        all.push(t.elapsed());
        best = best.min(t.elapsed());
    }
    all.sort();
    println!(
        "idle round trip best {best:?} median {:?} p99 {:?}",
        all[100], all[198]
    );
    let _ = pool.parallelism();
    let t = Instant::now();
    drop(pool);
    println!("dropped in {:?}", t.elapsed());
}
