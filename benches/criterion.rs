//! Criterion's statistics of each contender.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use taskfarm_benches::contests;

fn all(criterion: &mut Criterion) {
    for contest in contests() {
        let mut group = criterion.benchmark_group(contest.name);
        group.sample_size(20);
        for mut contender in contest.contenders {
            group.bench_function(contender.name, |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| black_box(contender.run())).sum());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
