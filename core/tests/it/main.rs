//! Tests of what is not about executors: see the conformance kit for those.
mod regressions;
#[cfg(feature = "remote")]
mod remote;
mod small;

use std::num::NonZeroUsize;
use std::time::Duration;
use taskfarm_core::*;

struct ThreadPerJob(ExecutorId);
impl Executor for ThreadPerJob {
    type Reach = InProcess;
    fn id(&self) -> &ExecutorId {
        &self.0
    }
    fn spawn(&self, job: Job) -> Result<(), Job> {
        std::thread::spawn(|| job.run());
        Ok(())
    }
    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::new(3).unwrap()
    }
}
fn pools() -> Vec<Box<dyn Executor<Reach = InProcess>>> {
    vec![
        Box::new(InlineExecutor::new()),
        Box::new(ThreadPerJob(ExecutorId::new("t"))),
    ]
}

#[test]
#[cfg_attr(miri, ignore = "far too long there; `small` goes the same ways")]
fn smoke() {
    for (n, pool) in pools().into_iter().enumerate() {
        let v: Vec<u64> = pool
            .map((0..10_000u64).collect::<Vec<_>>(), |n| n * 2)
            .collect()
            .unwrap();
        assert!(v.iter().enumerate().all(|(i, v)| *v == 2 * i as u64));
        let v: Vec<String> = pool
            .map((0..1000u64).collect::<Vec<_>>(), |n| n.to_string())
            .collect()
            .unwrap();
        assert_eq!(v[77], "77");
        let v: Vec<u64> = pool.map(0..10_000u64, |n| n * 2).collect().unwrap();
        assert!(v.iter().enumerate().all(|(i, v)| *v == 2 * i as u64));
        let e = pool
            .try_map(vec![1, 2, 3, 4, 5], |n| {
                if n > 2 {
                    Err(format!("bad {n}"))
                } else {
                    Ok(n)
                }
            })
            .collect::<Vec<_>>()
            .unwrap_err();
        assert!(e.first().unwrap().index() >= 2, "{e}");
        let v: Vec<i32> = pool
            .try_map(0..100, |n| if n % 2 == 0 { Err("even") } else { Ok(n) })
            .on_error(ErrorPolicy::Skip)
            .collect()
            .unwrap();
        assert_eq!(v.len(), 50);
        let e = pool
            .try_map(0..100, |n| if n % 2 == 0 { Err("even") } else { Ok(n) })
            .on_error(ErrorPolicy::Collect)
            .collect::<Vec<_>>()
            .unwrap_err();
        assert_eq!(e.failures().len(), 50);
        let o = pool
            .try_map(0..100, |n| if n == 50 { Err("even") } else { Ok(n) })
            .outcomes()
            .unwrap();
        assert_eq!(o.len(), 100);
        let o: Vec<_> = pool
            .map(0..5000, |n| n)
            .ordered()
            .unwrap()
            .map(|r| r.unwrap())
            .collect();
        assert!(o.iter().enumerate().all(|(i, v)| i as i32 == *v), "{o:?}");
        let mut o: Vec<_> = pool
            .map(0..5000, |n| n)
            .as_completed()
            .unwrap()
            .map(|(i, r)| {
                assert_eq!(i as i32, *r.as_ref().unwrap());
                i
            })
            .collect();
        o.sort();
        assert_eq!(o.len(), 5000);
        let o: Vec<_> = pool
            .map(0.., |n: u64| n)
            .ordered()
            .unwrap()
            .take(1000)
            .map(|r| r.unwrap())
            .collect();
        assert_eq!(o.len(), 1000);
        let e = pool
            .map(0..100, |n| assert!(n != 37, "boom {n}"))
            .run()
            .unwrap_err();
        assert!(
            e.to_string()
                .starts_with("item 37 panicked: boom 37 (at core/tests/it/main.rs:"),
            "{e}"
        );
        let mut sum = 0;
        let r = pool.map(0..1000u64, |n| n).for_each(|n| sum += n).unwrap();
        assert_eq!((sum, r.tally().ok), (499_500, 1000));
        let x = 5;
        let s = pool.scope(|s| {
            let h: Vec<_> = (0..10).map(|i| s.submit(i, |i| i + x)).collect();
            h.into_iter().map(|h| h.join().unwrap()).sum::<i32>()
        });
        assert_eq!(s, 95);
        if n == 1 {
            let o = pool
                .map(0..10, |n| {
                    if n == 3 {
                        CancellationToken::current().wait_timeout(Duration::from_secs(10));
                    }
                    n
                })
                .timeout(Duration::from_millis(30))
                .outcomes()
                .unwrap();
            assert!(o[3].as_ref().unwrap_err().is_timeout());
            assert_eq!(o.iter().filter(|o| o.is_ok()).count(), 9);
            let nested: Vec<u64> = pool
                .map(0..20u64, |n| {
                    pool.map(0..n, |k| k)
                        .collect::<Vec<_>>()
                        .unwrap()
                        .iter()
                        .sum()
                })
                .collect()
                .unwrap();
            assert_eq!(nested[19], 171);
        }
        let nested: Vec<u64> = pool
            .map(0..20u64, |n| {
                pool.map((0..n).collect::<Vec<_>>(), |k| k)
                    .collect::<Vec<_>>()
                    .unwrap()
                    .iter()
                    .sum()
            })
            .collect()
            .unwrap();
        assert_eq!(nested[19], 171);
        let a = pool
            .try_map(0..20u64, |n| if n == 3 { Err("x") } else { Ok(n) })
            .ordered()
            .unwrap()
            .map(|r| r.map_err(|e| e.to_string()))
            .collect::<Vec<_>>();
        assert_eq!(a.last().unwrap().as_ref().unwrap_err(), "item 3 failed: x");
        assert!(
            pool.map(vec![1], |n| n)
                .chunk_size(0)
                .collect::<Vec<_>>()
                .unwrap_err()
                .setup()
                .is_some()
        );
        let c = std::sync::Mutex::new(0);
        let r = pool
            .try_map(0..20u64, |n| {
                *c.lock().unwrap() += 1;
                if n == 3 && *c.lock().unwrap() < 10 {
                    Err("x")
                } else {
                    Ok(n)
                }
            })
            .retries(50)
            .collect::<Vec<_>>();
        assert_eq!(r.unwrap().len(), 20);
    }
}
