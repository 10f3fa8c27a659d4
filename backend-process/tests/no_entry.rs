//! Without the feature `entry`: `init()` at the start of `main` makes workers, its absence
//! is a clear error, and no child ever becomes a pool.
//!
//! Run with `--no-default-features`; with the feature there is nothing to see here.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(not(feature = "entry"))]
    without_entry::run();
    ExitCode::SUCCESS
}

#[cfg(not(feature = "entry"))]
mod without_entry {
    use std::time::Duration;

    use taskfarm_core::{SameBinaryExt, TaskErrorKind};
    use taskfarm_process::ProcessPool;

    pub(crate) fn run() {
        let has = |flag: &str| std::env::args().any(|argument| argument == flag);
        if has("--list") {
            if !has("--ignored") {
                println!("with_init_and_without: test");
            }
            return;
        }
        // A child gets no arguments and the marker: this is how the test tells the two
        // kinds of child apart that it must try.
        if std::env::var_os("TASKFARM_TEST_NO_INIT").is_none() {
            taskfarm_process::init();
            works_with_init();
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("TASKFARM_TEST_NO_INIT", "1") };
            fails_clearly_without();
        } else {
            // A child that was not caught by `init`: it must not be able to open a pool.
            let error = ProcessPool::new(1).unwrap_err().to_string();
            assert!(error.contains("init()"), "{error}");
            std::thread::sleep(Duration::from_secs(30));
        }
    }

    fn works_with_init() {
        let pool = ProcessPool::new(2).unwrap();
        let squares: Vec<u32> = pool.map(0..10, |n: u32| n * n).collect().unwrap();
        assert_eq!(squares[9], 81);
        drop(pool);
        println!("test with_init_in_main_it_works ... ok");
    }

    fn fails_clearly_without() {
        let pool = ProcessPool::builder()
            .num_workers(1)
            .start_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        let error = pool.submit(1, |n: u32| n).join().unwrap_err();
        let message = error.to_string();
        assert!(message.contains("init()"), "{message}");
        assert!(
            matches!(
                error.kind(),
                TaskErrorKind::NotEncodable(_) | TaskErrorKind::NotDecodable(_)
            ) || message.contains("300ms")
        );
        let again = pool.submit(1, |n: u32| n).join().unwrap_err();
        assert!(again.to_string().contains("init()"), "{again}");
        drop(pool);
        println!("test without_init_it_is_a_clear_error ... ok");
    }
}
