//! [`Scratch`]: where the processes of a case leave traces that outlive them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

/// A directory of this case's own; gone at its end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("taskfarm-case-{}", std::process::id()));
        // A case that was killed has left its own; the kernel gives its number once more.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).expect("a new directory");
        Self(directory)
    }

    /// The name of a file in it, as items carry it.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.into_os_string().into_string().expect("a plain path")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A case that fails has other things to say.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Adds a line to a file, in one piece, whoever else does so at the same time.
pub(crate) fn append(path: &str, line: impl std::fmt::Display) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let line = format!("{line}\n");
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("a line in a file");
}

/// The lines of a file that may not be there yet.
pub(crate) fn lines(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(str::to_owned);
    lines.collect()
}

/// The numbers in a file, sorted, so that a doubled one shows.
pub(crate) fn sorted_numbers(path: &str) -> Vec<u32> {
    let lines = lines(path);
    let mut numbers: Vec<u32> = lines.iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}
