//! [`Collected`]: results that come in runs, put in order.

use std::collections::BTreeMap;

/// The results of a map whose whole is wanted. A run whose turn it is goes straight to where
/// it stays.
pub(super) struct Collected<R> {
    /// Those from index 0 on, without a gap.
    in_order: Vec<R>,
    /// Runs that are before their turn, by the index of their first result.
    early: BTreeMap<usize, Vec<R>>,
}

impl<R> Default for Collected<R> {
    fn default() -> Self {
        Self {
            in_order: Vec::new(),
            early: BTreeMap::new(),
        }
    }
}

impl<R> Collected<R> {
    /// Adds the results that `fill` appends to the vector that it is given, the first of
    /// which has this index. Gives how many they are.
    pub(super) fn add(&mut self, first: usize, fill: impl FnOnce(&mut Vec<R>)) -> usize {
        if first != self.in_order.len() {
            let mut run = Vec::new();
            fill(&mut run);
            let count = run.len();
            if count > 0 {
                self.early.insert(first, run);
            }
            return count;
        }
        fill(&mut self.in_order);
        let count = self.in_order.len() - first;
        while let Some(mut run) = self.early.remove(&self.in_order.len()) {
            self.in_order.append(&mut run);
        }
        count
    }

    /// All results in the order of their indices, some of which may be missing.
    pub(super) fn into_vec(mut self) -> Vec<R> {
        for (_, mut run) in self.early {
            self.in_order.append(&mut run);
        }
        self.in_order
    }
}

#[cfg(test)]
mod tests {
    use super::Collected;

    #[test]
    fn runs_in_any_order_come_out_in_theirs() {
        let mut collected = Collected::default();
        for run in [6..9, 0..3, 3..6, 11..13, 9..11] {
            let (first, len) = (run.start, run.len());
            assert_eq!(collected.add(first, |results| results.extend(run)), len);
        }
        assert_eq!(collected.in_order, (0..13).collect::<Vec<_>>());
        collected.add(20, |run| run.push(20));
        collected.add(15, |run| run.push(15));
        let expected: Vec<_> = (0..13).chain([15, 20]).collect();
        assert_eq!(collected.into_vec(), expected);
    }

    #[test]
    fn an_empty_run_is_no_run() {
        let mut collected = Collected::default();
        assert_eq!(collected.add(0, |_: &mut Vec<u8>| ()), 0);
        assert_eq!(collected.add(0, |run| run.push(1)), 1);
        assert_eq!(collected.into_vec(), [1]);
    }
}
