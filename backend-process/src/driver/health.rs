//! [`Health`]: whether worker processes can be started at all.

use super::{MILLI, Nanos};

/// After this many failed starts in a row, a pool that never had a worker has none to hope
/// for: something is wrong with the program or its surroundings.
const MAX_FAILURES: u32 = 3;
/// A pool that had workers may meet a shortage of processes, memory or descriptors, and gets
/// over it; after failing for so long it does not.
const MAX_SHORTAGE: Nanos = 5_000 * MILLI;
/// The wait after the second failed start; it doubles with each further one.
const BACK_OFF: Nanos = 10 * MILLI;
const MAX_BACK_OFF: Nanos = 1_000 * MILLI;
/// So many processes that were killed from outside before their hello count as one failure:
/// that says little about the next one.
const KILLS_PER_FAILURE: u32 = 10;

/// The failed starts since the last worker that said hello.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Whether any worker has ever said hello.
    pub(super) had_workers: bool,
    failures: u32,
    kills: u32,
    since: Option<Nanos>,
}

impl Health {
    /// A worker said hello.
    pub(super) fn note_hello(&mut self) {
        *self = Self {
            had_workers: true,
            ..Self::default()
        };
    }

    /// A start failed, perhaps because somebody killed the process.
    pub(super) fn note_failure(&mut self, was_killed: bool, now: Nanos) {
        self.since.get_or_insert(now);
        match was_killed {
            true => self.kills += 1,
            false => self.failures += 1,
        }
    }

    /// Whether nothing can be expected of further attempts; `pending` are those that may
    /// still succeed.
    pub(super) fn is_hopeless(&self, pending: usize, now: Nanos) -> bool {
        let failing_for = self.since.map_or(0, |since| now.saturating_sub(since));
        let most = MAX_FAILURES * (1 + u32::try_from(pending).unwrap_or(u32::MAX / MAX_FAILURES));
        failing_for >= MAX_SHORTAGE || (!self.had_workers && self.failures >= most)
    }

    /// How long to wait before the next attempt.
    pub(super) fn back_off(&self) -> Option<Nanos> {
        let failures = self.failures + self.kills / KILLS_PER_FAILURE;
        let doublings = failures.checked_sub(2)?;
        Some((BACK_OFF << doublings.min(10)).min(MAX_BACK_OFF))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_never_had_a_worker_gives_up_after_three_failures() {
        let mut health = Health::default();
        for _ in 0..MAX_FAILURES {
            assert!(!health.is_hopeless(0, 1));
            health.note_failure(false, 1);
        }
        assert!(health.is_hopeless(0, 1));
        assert!(!health.is_hopeless(1, 1), "another one may yet succeed");
    }

    #[test]
    fn kills_from_outside_say_little() {
        let mut health = Health::default();
        (0..9).for_each(|_| health.note_failure(true, 1));
        assert!(!health.is_hopeless(0, 1));
        assert_eq!(health.back_off(), None);
        assert!(health.is_hopeless(0, 1 + MAX_SHORTAGE), "but not for ever");
    }

    #[test]
    fn a_pool_that_had_workers_gets_over_a_shortage() {
        let mut health = Health::default();
        health.note_hello();
        (0..100).for_each(|_| health.note_failure(false, 7));
        assert!(!health.is_hopeless(0, 6 + MAX_SHORTAGE));
        assert!(health.is_hopeless(0, 7 + MAX_SHORTAGE));
        health.note_hello();
        assert!(!health.is_hopeless(0, 8 + MAX_SHORTAGE), "a worker came up");
    }

    #[test]
    fn pauses_double_up_to_a_second() {
        let mut health = Health::default();
        let pauses: Vec<_> = (0..12)
            .map(|_| {
                health.note_failure(false, 1);
                health.back_off().unwrap_or(0) / MILLI
            })
            .collect();
        assert_eq!(
            pauses,
            [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000]
        );
    }
}
