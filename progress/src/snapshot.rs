//! [`Snapshot`]: the counters at one moment, and what to say about them.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use taskfarm_core::{Progress, Tally};

/// Before this, what is left cannot be foretold.
const FORESEEABLE_AFTER: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) tally: Tally,
    pub(crate) total: Option<u64>,
    pub(crate) elapsed: Duration,
}

impl Snapshot {
    /// The sum over the maps that share a bar.
    pub(crate) fn of(maps: &[Arc<Progress>]) -> Self {
        let mut sum = Self {
            tally: Tally::default(),
            total: Some(0),
            elapsed: Duration::ZERO,
        };
        for map in maps {
            let Tally {
                ok,
                failed,
                panicked,
                timed_out,
                cancelled,
                lost,
                retried,
                ..
            } = map.tally();
            sum.tally.ok += ok;
            sum.tally.failed += failed;
            sum.tally.panicked += panicked;
            sum.tally.timed_out += timed_out;
            sum.tally.cancelled += cancelled;
            sum.tally.lost += lost;
            sum.tally.retried += retried;
            let total = map.total().map(|total| total as u64);
            sum.total = sum.total.zip(total).map(|(sum, total)| sum + total);
            sum.elapsed = sum.elapsed.max(map.elapsed());
        }
        sum
    }

    /// Items that ran to an end, good or bad. Cancelled ones did not.
    pub(crate) fn done(&self) -> u64 {
        self.tally.ok + self.tally.failures()
    }

    /// How much is done, from 0 to 1, if anybody knows.
    pub(crate) fn fraction(&self) -> Option<f64> {
        let total = self.total.filter(|&total| total > 0)?;
        Some((self.done() as f64 / total as f64).min(1.0))
    }

    /// How things stand; failures in red if `has_color`.
    pub(crate) fn status(&self, has_color: bool) -> String {
        let mut text = Count(self.done()).to_string();
        if let Some(total) = self.total {
            let _ = write!(text, "/{}", Count(total));
        }
        if let Some(fraction) = self.fraction() {
            let _ = write!(text, " ({:.0} %)", (fraction * 100.0).floor());
        }
        let failures = self.tally.failures();
        if failures > 0 {
            let failures = console::style(format!("{} failed", Count(failures)))
                .red()
                .force_styling(has_color);
            let _ = write!(text, ", {failures}");
        }
        for (number, what) in [
            (self.tally.retried, "retried"),
            (self.tally.cancelled, "cancelled"),
        ] {
            if number > 0 {
                let _ = write!(text, ", {} {what}", Count(number));
            }
        }
        let _ = write!(text, ", {}, {}", self.rate(), Time(self.elapsed));
        if let Some(left) = self.time_left() {
            let _ = write!(text, ", {} left", Time(left));
        }
        text
    }

    /// How it went.
    pub(crate) fn summary(&self) -> String {
        let items = match self.tally.total() {
            1 => "1 item".to_owned(),
            total => format!("{} items", Count(total)),
        };
        let mut text = format!("{items} in {}, {}", Time(self.elapsed), self.rate());
        let tally = &self.tally;
        let mut separator = ": ";
        for (number, what) in [
            (tally.ok, "ok"),
            (tally.failed, "failed"),
            (tally.panicked, "panicked"),
            (tally.timed_out, "timed out"),
            (tally.lost, "lost"),
            (tally.cancelled, "cancelled"),
            (tally.retried, "retried"),
        ] {
            if number > 0 {
                let _ = write!(text, "{separator}{} {what}", Count(number));
                separator = ", ";
            }
        }
        text
    }

    fn rate(&self) -> Rate {
        let seconds = self.elapsed.as_secs_f64();
        Rate(if seconds > 0.0 {
            self.done() as f64 / seconds
        } else {
            0.0
        })
    }

    /// By the mean over the whole run: results come in bursts, and an average of the last
    /// seconds would jump with them.
    fn time_left(&self) -> Option<Duration> {
        let left = self.total?.checked_sub(self.done())?;
        if left == 0 || self.done() == 0 || self.elapsed < FORESEEABLE_AFTER {
            return None;
        }
        let per_item = self.elapsed.as_secs_f64() / self.done() as f64;
        Duration::try_from_secs_f64(per_item * left as f64).ok()
    }
}

/// A number with its thousands apart.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// Items per second.
struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate < 10.0 => write!(f, "{rate:.2}/s"),
            rate => write!(f, "{}/s", Count(rate.round() as u64)),
        }
    }
}

/// A duration as people say it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            10..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{}:{:02} min", seconds / 60, seconds % 60),
            _ => write!(f, "{}:{:02} h", seconds / 3600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(total: Option<u64>, seconds: u64, set: impl FnOnce(&mut Tally)) -> Snapshot {
        let mut tally = Tally::default();
        set(&mut tally);
        Snapshot {
            tally,
            total,
            elapsed: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn the_status_counts_items_by_how_they_ended() {
        let status =
            |total, seconds, set: fn(&mut Tally)| snapshot(total, seconds, set).status(false);
        assert_eq!(
            status(Some(5000), 10, |tally| tally.ok = 1250),
            "1,250/5,000 (25 %), 125/s, 10 s, 30 s left"
        );
        assert_eq!(
            status(None, 1, |tally| {
                tally.ok = 3;
                tally.failed = 1;
                tally.panicked = 1;
                tally.retried = 2;
                tally.cancelled = 4;
            }),
            "5, 2 failed, 2 retried, 4 cancelled, 5.00/s, 1.0 s"
        );
        assert_eq!(status(Some(0), 0, |_| ()), "0/0, 0.00/s, 0.0 s");
    }

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        let nearly = snapshot(Some(1000), 1, |tally| tally.ok = 999);
        assert!(nearly.status(false).starts_with("999/1,000 (99 %)"));
        let cut = snapshot(Some(10), 1, |tally| tally.cancelled = 10);
        assert_eq!(cut.fraction(), Some(0.0));
    }

    #[test]
    fn failures_are_red_where_colours_are_welcome() {
        let failed = snapshot(None, 1, |tally| tally.failed = 1);
        assert!(failed.status(true).contains("\x1b[31m1 failed\x1b[0m"));
        assert!(!failed.status(false).contains('\x1b'));
    }

    #[test]
    fn the_summary_tells_each_kind_of_end_apart() {
        let all = snapshot(None, 4000, |tally| {
            tally.ok = 1_000_000;
            tally.failed = 2;
            tally.timed_out = 3;
            tally.lost = 4;
            tally.cancelled = 5;
        });
        assert_eq!(
            all.summary(),
            "1,000,014 items in 1:06 h, 250/s: 1,000,000 ok, 2 failed, 3 timed out, 4 lost, \
             5 cancelled"
        );
        assert_eq!(
            snapshot(None, 75, |tally| tally.ok = 1).summary(),
            "1 item in 1:15 min, 0.01/s: 1 ok"
        );
    }
}
