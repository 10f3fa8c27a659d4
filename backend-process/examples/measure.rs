//! Measures what the design asks of worker processes; run with `--release`, on a quiet
//! machine. Each row is a median over several rounds.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_bytes::ByteBuf;
use taskfarm_core::SameBinaryExt;
use taskfarm_process::{ProcessPool, StartMethod};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bare = bare_round_trip()?;
    println!("bare pipe round trip            {bare:>10.1?}");
    let pool = ProcessPool::new(2)?;
    let warm: Vec<u64> = pool.map(0..100_000_u64, |n| n).collect()?;
    assert_eq!(warm.len(), 100_000);

    let single = median(300, || {
        std::thread::sleep(Duration::from_micros(500));
        let started = Instant::now();
        assert_eq!(pool.submit(1_u64, |n| n).join().ok(), Some(1));
        started.elapsed()
    });
    println!("one task on an idle pool        {single:>10.1?}");
    let back_to_back = median(300, || {
        let started = Instant::now();
        assert_eq!(pool.submit(1_u64, |n| n).join().ok(), Some(1));
        started.elapsed()
    });
    println!("one task right after another    {back_to_back:>10.1?}");

    for method in [StartMethod::Zygote, StartMethod::Exec] {
        let mut whole = Vec::new();
        let first = median(20, || {
            let started = Instant::now();
            let options = ProcessPool::builder().num_workers(2).start(method);
            let pool = options.build().expect("a pool");
            assert_eq!(pool.submit(1_u64, |n| n).join().ok(), Some(1));
            let first = started.elapsed();
            drop(pool);
            whole.push(started.elapsed());
            first
        });
        whole.sort();
        println!("{method:?}: open and first result  {first:>10.1?}");
        println!(
            "{method:?}: and close              {:>10.1?}",
            whole[whole.len() / 2]
        );
    }

    let again = median(30, || {
        let handles: Vec<_> = (0..2)
            .map(|_| pool.submit((), |()| std::thread::sleep(Duration::from_millis(5))))
            .collect();
        handles.into_iter().for_each(|handle| drop(handle.join()));
        let killed = Instant::now();
        // The second task waits behind the first one, whose worker dies.
        let pair: Vec<_> = (0..4)
            .map(|n| {
                pool.submit(n, |n: u32| {
                    if n < 2 {
                        std::process::abort();
                    }
                    n
                })
            })
            .collect();
        pair.into_iter().for_each(|handle| drop(handle.join()));
        killed.elapsed()
    });
    println!("both die, the next two have run {again:>10.1?}");

    let submits = median(7, || {
        let started = Instant::now();
        let handles: Vec<_> = (0..200_000_u64)
            .map(|n| pool.submit(n, |n| n + 1))
            .collect();
        handles.into_iter().for_each(|handle| drop(handle.join()));
        started.elapsed()
    });
    println!(
        "200 k submits, a handle each    {submits:>10.1?} = {:.0} k/s",
        200.0 / submits.as_secs_f64()
    );

    for chunk in [0, 64, 1024, 4096] {
        let tiny = median(7, || {
            let started = Instant::now();
            let map = pool.map(0..1_000_000_u64, |n| n + 1);
            let map = if chunk == 0 {
                map
            } else {
                map.chunk_size(chunk)
            };
            let all: Vec<u64> = map.collect().expect("results");
            assert_eq!(all.len(), 1_000_000);
            started.elapsed()
        });
        println!("1 M tiny items, chunk {chunk:>4}      {tiny:>10.1?}");
    }

    for (name, len, count) in [
        ("64 KiB", 64 << 10, 4000),
        ("256 KiB", 256 << 10, 1000),
        ("1 MiB", 1 << 20, 400),
    ] {
        let items: Vec<ByteBuf> = (0..count).map(|_| ByteBuf::from(vec![1_u8; len])).collect();
        let bytes = (len * count) as f64;
        let one_way = median(7, || {
            let items = items.clone();
            let started = Instant::now();
            let lens: Vec<usize> = pool
                .map(items, |bytes| bytes.len())
                .chunk_size(1)
                .collect()
                .expect("lens");
            assert_eq!(lens.len(), count);
            started.elapsed()
        });
        let both_ways = median(7, || {
            let items = items.clone();
            let started = Instant::now();
            let lens: Vec<ByteBuf> = pool
                .map(items, |bytes| bytes)
                .chunk_size(1)
                .collect()
                .expect("bytes");
            assert_eq!(lens.len(), count);
            started.elapsed()
        });
        println!(
            "{name:>7} in                      {:>7.1} GB/s",
            bytes / one_way.as_secs_f64() / 1e9
        );
        println!(
            "{name:>7} in and out              {:>7.1} GB/s each way",
            bytes / both_ways.as_secs_f64() / 1e9
        );
    }
    println!("{:?}", pool.stats());
    Ok(())
}

fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..rounds).map(|_| round()).collect();
    times.sort();
    times[rounds / 2]
}

/// A byte to a forked process and back, the process asleep before.
fn bare_round_trip() -> std::io::Result<Duration> {
    let (mut there_out, mut there_in) = os_pipe::pipe()?;
    let (mut back_out, mut back_in) = os_pipe::pipe()?;
    // SAFETY: this process has one thread; the child only reads, writes and exits.
    if unsafe { libc::fork() } == 0 {
        drop(there_in);
        let mut byte = [0];
        while there_out.read_exact(&mut byte).is_ok() && back_in.write_all(&byte).is_ok() {}
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    drop((there_out, back_in));
    let mut byte = [0];
    Ok(median(300, || {
        std::thread::sleep(Duration::from_micros(500));
        let started = Instant::now();
        there_in.write_all(&byte).expect("a living child");
        back_out.read_exact(&mut byte).expect("a living child");
        started.elapsed()
    }))
}
