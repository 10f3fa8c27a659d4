//! [`MapProgressExt`]: `.progress(..)` on maps.

use taskfarm_core::Map;

use crate::ProgressBar;

/// Adds [`progress`](Self::progress) to the options of a map.
pub trait MapProgressExt: Sized {
    /// Shows the progress of the map.
    ///
    /// A string is the label of a bar with default options. A [`ProgressBar`] may be cloned
    /// before, to print lines above it.
    ///
    /// ```
    /// use taskfarm_core::{InProcessExt, InlineExecutor};
    /// use taskfarm_progress::{MapProgressExt, ProgressBar};
    ///
    /// let bar = ProgressBar::new("summing");
    /// let squares = InlineExecutor::new()
    ///     .map(1..=3_u64, |n| n * n)
    ///     .progress(&bar)
    ///     .collect::<Vec<_>>()?;
    /// bar.println(format_args!("the sum is {}", squares.iter().sum::<u64>()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "tqdm")]
    #[doc(alias = "show_progress")]
    #[must_use]
    fn progress(self, bar: impl Into<ProgressBar>) -> Self;
}

impl<E: ?Sized, It: IntoIterator, W> MapProgressExt for Map<'_, E, It, W> {
    fn progress(self, bar: impl Into<ProgressBar>) -> Self {
        self.observe(bar.into())
    }
}
