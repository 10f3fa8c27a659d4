//! [`Threads`]: the Rayon threads that a pool runs its jobs on, and whose they are.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::Mutex;

pub(crate) enum Threads {
    /// Made for this pool. Rayon does not join the threads of a pool that is dropped, so
    /// their handles are kept.
    Own {
        pool: Arc<rayon::ThreadPool>,
        handles: Vec<JoinHandle<()>>,
    },
    /// Somebody's, with a lifetime of their own.
    Shared(Arc<rayon::ThreadPool>),
    /// Those that Rayon's free functions use.
    Global,
}

/// How own threads are made.
pub(crate) struct ThreadOptions {
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
}

impl Threads {
    /// Starts `number` threads.
    pub(crate) fn start(
        number: usize,
        options: &ThreadOptions,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let handles = Mutex::new(Vec::with_capacity(number));
        let built = rayon::ThreadPoolBuilder::new()
            .num_threads(number)
            .spawn_handler(|thread| {
                let mut builder = std::thread::Builder::new().name(format!(
                    "{}-{}",
                    options.name,
                    thread.index()
                ));
                if let Some(bytes) = options.stack_size {
                    builder = builder.stack_size(bytes);
                }
                handles.lock().push(builder.spawn(|| thread.run())?);
                Ok(())
            })
            .build();
        let handles = handles.into_inner();
        match built {
            Ok(pool) => Ok(Self::Own {
                pool: Arc::new(pool),
                handles,
            }),
            Err(error) => {
                // Rayon has told those that did start to end.
                join(handles);
                Err(error)
            }
        }
    }

    pub(crate) fn as_rayon(&self) -> Option<&Arc<rayon::ThreadPool>> {
        match self {
            Self::Own { pool, .. } | Self::Shared(pool) => Some(pool),
            Self::Global => None,
        }
    }

    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        match self.as_rayon() {
            Some(pool) => pool.spawn(job),
            None => rayon::spawn(job),
        }
    }

    pub(crate) fn install<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        match self.as_rayon() {
            Some(pool) => pool.install(body),
            // Rayon has no `install` for the global pool; a scope's body runs in it.
            None => rayon::scope(|_| body()),
        }
    }

    pub(crate) fn num_threads(&self) -> usize {
        match self.as_rayon() {
            Some(pool) => pool.current_num_threads(),
            None => rayon::current_num_threads(),
        }
    }

    /// A test for the calling thread, which keeps nothing alive.
    pub(crate) fn worker_test(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let pool = self.as_rayon().map(Arc::downgrade);
        move || match &pool {
            Some(pool) => is_thread_of(pool),
            // Not only the global threads: where Rayon's free functions are called in
            // another pool, that is the pool they use.
            None => rayon::current_thread_index().is_some(),
        }
    }

    /// Waits for own threads, which end when they have run what they got.
    pub(crate) fn join(self) {
        if let Self::Own { pool, handles } = self {
            drop(pool);
            join(handles);
        }
    }
}

fn is_thread_of(pool: &Weak<rayon::ThreadPool>) -> bool {
    let pool = pool.upgrade();
    pool.is_some_and(|pool| pool.current_thread_index().is_some())
}

fn join(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        // The panic of a thread of Rayon has been reported by Rayon, which aborts.
        let _ = handle.join();
    }
}
