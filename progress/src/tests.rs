//! Bars on a terminal in memory, in a pipe, and on a terminal that nobody reads.

use std::collections::HashSet;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use indicatif::{InMemoryTerm, TermLike};
use parking_lot::{Condvar, Mutex};
use taskfarm_core::{Executor, ExecutorId, InProcess, InProcessExt, InlineExecutor, Job, Observer};

use crate::mode::Environment;
use crate::{MapProgressExt, ProgressBar, ProgressMode};

/// A terminal as most people have it.
fn at_home() -> Environment {
    Environment {
        is_terminal: true,
        term: Some("xterm".to_owned()),
        ci: None,
        no_color: None,
        progress: None,
    }
}

fn bar_on(term: &InMemoryTerm) -> ProgressBar {
    let term = Arc::new(term.clone());
    ProgressBar::with("work".to_owned(), term, Some(at_home())).delay(Duration::ZERO)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Waits until the terminal shows `text`.
fn wait_for(term: &InMemoryTerm, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !term.contents().contains(text) {
        let contents = term.contents();
        assert!(Instant::now() < deadline, "no {text:?} in {contents:?}");
        thread::sleep(ms(5));
    }
}

/// Four workers, a thread for each job.
struct Threads(ExecutorId);

impl Executor for Threads {
    type Reach = InProcess;

    fn id(&self) -> &ExecutorId {
        &self.0
    }

    fn spawn(&self, job: Job) -> Result<(), Job> {
        thread::spawn(|| job.run());
        Ok(())
    }

    fn parallelism(&self) -> std::num::NonZeroUsize {
        std::num::NonZeroUsize::new(4).unwrap()
    }
}

fn threads() -> Threads {
    Threads(ExecutorId::new("threads"))
}

#[test]
fn a_bar_shows_how_far_the_map_is_and_a_summary_replaces_it() {
    let term = InMemoryTerm::new(10, 80);
    InlineExecutor::new()
        .map(vec![0, 1, 2, 3], |n| {
            if n == 2 {
                wait_for(&term, "work [============>            ] 2/4 (50 %)");
            }
        })
        .progress(bar_on(&term))
        .run()
        .unwrap();
    let shown = term.contents();
    assert!(shown.starts_with("work: 4 items in "), "{shown}");
    assert!(shown.ends_with(": 4 ok"), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

#[test]
fn an_unknown_total_is_shown_as_a_count() {
    let term = InMemoryTerm::new(10, 80);
    let items = (0..4).filter(|n| n % 2 == 0);
    InlineExecutor::new()
        .map(items, |n| {
            if n == 2 {
                wait_for(&term, " 1, ");
                assert!(!term.contents().contains('%'));
            }
        })
        .progress(bar_on(&term))
        .run()
        .unwrap();
    assert!(term.contents().contains("2 items"));
}

#[test]
fn a_map_that_ends_before_the_delay_leaves_no_trace() {
    let term = InMemoryTerm::new(10, 80);
    let bar = bar_on(&term).delay(Duration::from_secs(60));
    InlineExecutor::new()
        .map(0..10, |_| ())
        .progress(&bar)
        .run()
        .unwrap();
    assert_eq!(term.contents(), "");
}

#[test]
fn the_terminal_is_clean_after_a_failure_and_after_a_panic_of_the_consumer() {
    for consumer_panics in [false, true] {
        let term = InMemoryTerm::new(10, 80);
        let result = std::panic::catch_unwind(|| {
            InlineExecutor::new()
                .map(vec![0, 1], |n| {
                    wait_for(&term, &format!("{n}/2"));
                    assert!(n == 0 || consumer_panics, "boom");
                })
                .progress(bar_on(&term))
                .for_each(|()| assert!(!consumer_panics, "the consumer goes away"))
        });
        assert_eq!(result.is_err(), consumer_panics);
        let shown = term.contents();
        assert!(shown.starts_with("work: 2 items in "), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}

#[test]
fn lines_go_above_the_bar() {
    let term = InMemoryTerm::new(10, 80);
    let bar = bar_on(&term);
    let lines = bar.clone();
    InlineExecutor::new()
        .map(vec![0, 1], |n| {
            wait_for(&term, &format!("{n}/2"));
            lines.println(format_args!("line {n}"));
            let shown = term.contents();
            let last = shown.lines().last().unwrap();
            assert!(last.starts_with("work [") && last.contains("/2"), "{shown}");
        })
        .progress(bar)
        .run()
        .unwrap();
    lines.println("line 2");
    let shown = term.contents();
    let shown: Vec<_> = shown.lines().collect();
    assert_eq!(shown[..2], ["line 0", "line 1"]);
    assert!(shown[2].starts_with("work: 2 items"));
    assert_eq!(shown[3..], ["line 2"]);
}

#[test]
fn lines_replace_the_bar_where_the_cursor_cannot_move() {
    let term = InMemoryTerm::new(20, 80);
    let bar = bar_on(&term).mode(ProgressMode::Lines);
    InlineExecutor::new()
        .map(vec![0, 1, 2], |_| thread::sleep(ms(600)))
        .progress(bar)
        .run()
        .unwrap();
    let shown = term.contents();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].starts_with("work: 1/3 (33 %), "), "{shown}");
    assert!(lines[1].starts_with("work: 3 items in "), "{shown}");
}

#[test]
fn never_shows_nothing_but_what_is_printed() {
    let term = InMemoryTerm::new(10, 80);
    let bar = bar_on(&term).mode(ProgressMode::Never);
    let lines = bar.clone();
    InlineExecutor::new()
        .map(0..2, |_| {
            thread::sleep(ms(150));
            lines.println("said");
        })
        .progress(bar)
        .run()
        .unwrap();
    assert_eq!(term.contents(), "said\nsaid");
}

#[test]
fn maps_under_one_bar_are_shown_as_their_sum() {
    let term = InMemoryTerm::new(10, 80);
    let bar = bar_on(&term);
    let executor = threads();
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                executor
                    .map(vec![0, 1], |n| {
                        if n == 1 {
                            wait_for(&term, "2/4");
                        }
                    })
                    .chunk_size(1)
                    .progress(&bar)
                    .run()
                    .unwrap();
            });
        }
    });
    assert!(term.contents().starts_with("work: 4 items"));
    executor
        .map(0..3, |_| thread::sleep(ms(50)))
        .progress(&bar)
        .run()
        .unwrap();
    assert!(
        term.contents()
            .lines()
            .last()
            .unwrap()
            .starts_with("work: 3 items")
    );
}

/// Notes who writes, and lets nobody through while it is stuck.
#[derive(Debug, Default)]
struct StuckTerm {
    writers: Mutex<HashSet<ThreadId>>,
    is_stuck: Mutex<bool>,
    changed: Condvar,
}

impl StuckTerm {
    fn set_stuck(&self, is_stuck: bool) {
        *self.is_stuck.lock() = is_stuck;
        self.changed.notify_all();
    }

    fn touch(&self) -> io::Result<()> {
        self.writers.lock().insert(thread::current().id());
        let mut is_stuck = self.is_stuck.lock();
        while *is_stuck {
            self.changed.wait(&mut is_stuck);
        }
        Ok(())
    }
}

impl TermLike for StuckTerm {
    fn width(&self) -> u16 {
        80
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        self.touch()
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        self.touch()
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        self.touch()
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        self.touch()
    }

    fn write_line(&self, _: &str) -> io::Result<()> {
        self.touch()
    }

    fn write_str(&self, _: &str) -> io::Result<()> {
        self.touch()
    }

    fn clear_line(&self) -> io::Result<()> {
        self.touch()
    }

    fn flush(&self) -> io::Result<()> {
        self.touch()
    }
}

#[test]
fn neither_workers_nor_the_caller_touch_the_terminal() {
    let term = Arc::new(StuckTerm::default());
    let bar = ProgressBar::with(String::new(), term.clone(), Some(at_home()));
    let workers = Mutex::new(HashSet::from([thread::current().id()]));
    threads()
        .map(0..40, |n| {
            workers.lock().insert(thread::current().id());
            thread::sleep(ms(20));
            assert!(n % 10 != 3, "failures are no occasion either");
        })
        .on_error(taskfarm_core::ErrorPolicy::Collect)
        .progress(bar.delay(Duration::ZERO))
        .run()
        .unwrap();
    let writers = term.writers.lock();
    assert_eq!(writers.len(), 1, "the sampler alone");
    assert!(writers.is_disjoint(&workers.lock()));
}

#[test]
fn a_terminal_that_nobody_reads_stops_no_worker() {
    let term = Arc::new(StuckTerm::default());
    term.set_stuck(true);
    let bar = ProgressBar::with(String::new(), term.clone(), Some(at_home()));
    let started = Instant::now();
    let report = threads()
        .map(0..100, |_| thread::sleep(ms(5)))
        .progress(bar.delay(Duration::ZERO))
        .run()
        .unwrap();
    assert_eq!(report.tally().ok, 100);
    assert!(!term.writers.lock().is_empty(), "the sampler did try");
    assert!(started.elapsed() < Duration::from_secs(5));
    term.set_stuck(false);
}

#[test]
fn the_environment_chooses_unless_the_program_does() {
    let resolve = |mode: ProgressMode, change: fn(&mut Environment)| {
        let mut environment = at_home();
        change(&mut environment);
        mode.resolve(&environment)
    };
    let auto = |change| resolve(ProgressMode::Auto, change);
    assert_eq!(auto(|_| ()), ProgressMode::Always);
    assert_eq!(auto(|at| at.is_terminal = false), ProgressMode::Lines);
    assert_eq!(
        auto(|at| at.term = Some("dumb".to_owned())),
        ProgressMode::Lines
    );
    assert_eq!(
        auto(|at| at.ci = Some("true".to_owned())),
        ProgressMode::Lines
    );
    assert_eq!(auto(|at| at.ci = Some(String::new())), ProgressMode::Always);
    assert_eq!(
        auto(|at| at.progress = Some("never".to_owned())),
        ProgressMode::Never
    );
    assert_eq!(
        auto(|at| at.progress = Some("lines".to_owned())),
        ProgressMode::Lines
    );
    assert_eq!(
        auto(|at| at.progress = Some("often".to_owned())),
        ProgressMode::Always
    );
    let never = |at: &mut Environment| at.progress = Some("never".to_owned());
    assert_eq!(resolve(ProgressMode::Always, never), ProgressMode::Always);
}

#[test]
fn no_color_is_obeyed() {
    let has_color = |no_color: Option<&str>| {
        let mut environment = at_home();
        environment.no_color = no_color.map(str::to_owned);
        environment.has_color()
    };
    assert!(has_color(None));
    assert!(has_color(Some("")));
    assert!(!has_color(Some("1")));
}

#[test]
fn modes_parse_by_the_names_that_they_print() {
    for mode in [
        ProgressMode::Auto,
        ProgressMode::Always,
        ProgressMode::Lines,
        ProgressMode::Never,
    ] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    let error = "sometimes".parse::<ProgressMode>().unwrap_err().to_string();
    assert!(
        error.contains("sometimes") && error.contains("never"),
        "{error}"
    );
}

/// Runs in a process of its own, for the next test.
#[test]
fn child_that_reports_into_a_pipe() {
    if std::env::var_os("TASKFARM_TEST_PIPE").is_none() {
        return;
    }
    let bar = ProgressBar::new("piped").delay(ms(50));
    let lines = bar.clone();
    InlineExecutor::new()
        .map(0..3, |n| {
            lines.println(format_args!("line {n}"));
            thread::sleep(ms(50));
        })
        .progress(bar)
        .run()
        .unwrap();
}

#[test]
fn a_pipe_gets_plain_text_and_every_line() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::child_that_reports_into_a_pipe"])
        .env("TASKFARM_TEST_PIPE", "1")
        .env_remove("TASKFARM_PROGRESS")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[..3], ["line 0", "line 1", "line 2"], "{shown}");
    assert!(lines[3].starts_with("piped: 3 items in "), "{shown}");
    assert!(!shown.contains('\x1b') && !shown.contains('\r'), "{shown}");
}

#[test]
fn a_bar_ends_with_the_last_that_knows_it() {
    // What a map does that is lost without its end: it starts, and its bar is dropped.
    let term = InMemoryTerm::new(10, 80);
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    struct Keep(Arc<Mutex<Option<Arc<taskfarm_core::Progress>>>>);
    impl Observer for Keep {
        fn on_start(&self, progress: &Arc<taskfarm_core::Progress>) {
            *self.0.lock() = Some(progress.clone());
        }
    }
    InlineExecutor::new()
        .map(0..1, |_| ())
        .observe(Keep(keep))
        .run()
        .unwrap();
    let bar = bar_on(&term);
    bar.on_start(&kept.lock().take().unwrap());
    wait_for(&term, "1/1");
    drop(bar);
    assert!(term.contents().starts_with("work: 1 item "));
}
