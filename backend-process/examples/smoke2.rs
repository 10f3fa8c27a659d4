//! Smoke.
use std::time::Instant;
use taskfarm_core::{Executor, SameBinaryExt};
use taskfarm_process::*;
fn main() {
    let pool = ProcessPool::new(2).unwrap();
    let _: Vec<u64> = pool.map(0..10_000u64, |n| n * 2).collect().unwrap();
    for chunk in [0, 64, 1024, 4096, 16384] {
        for _ in 0..3 {
            let t = Instant::now();
            let m = pool.map(0..1_000_000u64, |n| n * 2);
            let m = if chunk > 0 { m.chunk_size(chunk) } else { m };
            let v: Vec<u64> = m.collect().unwrap();
            println!("chunk {chunk}: map {} in {:?}", v.len(), t.elapsed());
        }
    }
    let _ = pool.parallelism();
    let t = Instant::now();
    drop(pool);
    println!("dropped in {:?}", t.elapsed());
    for m in [StartMethod::Zygote, StartMethod::Exec] {
        for _ in 0..5 {
            let t = Instant::now();
            let pool = ProcessPool::builder()
                .num_workers(2)
                .start(m)
                .build()
                .unwrap();
            let b = t.elapsed();
            pool.submit(20u64, |n| n + 1).join().unwrap();
            let f = t.elapsed();
            drop(pool);
            println!("{m:?} build {b:?} first {f:?} all {:?}", t.elapsed());
        }
    }
}
