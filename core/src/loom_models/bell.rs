//! [`Bell`]: see `bell.rs`, and "Why the consumer sleeps through nothing" in `flow.rs`.

use std::sync::Arc;

use crate::bell::Bell;
use crate::sync::{Mutex, let_time_pass, thread};
use crate::{CancelReason, CancellationToken};

#[derive(Default)]
struct World {
    bell: Bell,
    news: Mutex<usize>,
}

impl World {
    fn add_news(&self) {
        *self.news.lock() += 1;
    }

    /// Sleeps until there are so many news, as the consumer does.
    fn wait_for(&self, num_news: usize) {
        let mut is_nap = true;
        loop {
            self.bell.set(is_nap);
            if *self.news.lock() >= num_news {
                return self.bell.unset();
            }
            self.bell.sleep();
            is_nap = false;
        }
    }
}

/// Small news let a nap end by itself, and end a sleep.
#[test]
fn loom_small_news_end_a_sleep() {
    loom::model(|| {
        let_time_pass(true);
        let world = Arc::new(World::default());
        let ringers = [(), ()].map(|()| {
            let world = world.clone();
            thread::spawn(move || {
                world.add_news();
                world.bell.ring_softly();
            })
        });
        world.wait_for(2);
        for ringer in ringers {
            ringer.join().unwrap();
        }
    });
}

/// Big news end a nap too, however slow the clock.
#[test]
fn loom_big_news_end_a_nap() {
    loom::model(|| {
        let_time_pass(false);
        let world = Arc::new(World::default());
        let other = world.clone();
        let ringer = thread::spawn(move || {
            for _ in 0..2 {
                other.add_news();
                other.bell.ring();
            }
        });
        world.wait_for(2);
        ringer.join().unwrap();
    });
}

/// A token that is cancelled ends a nap or a sleep: its reason is stored without the lock.
#[test]
fn loom_a_cancellation_ends_a_sleep() {
    loom::model(|| {
        let_time_pass(false);
        let token = CancellationToken::new();
        let bell = Arc::new(Bell::default());
        token.listen(Arc::downgrade(&bell) as _);
        let other = token.clone();
        let canceller = thread::spawn(move || other.cancel_because(CancelReason::Asked));
        loop {
            bell.set(false);
            if token.is_cancelled() {
                break;
            }
            bell.sleep();
        }
        canceller.join().unwrap();
    });
}
