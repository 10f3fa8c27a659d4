//! [`Round`]: one executor from its opening to its end.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use taskfarm::{Executor, InProcess, InlineExecutor, RayonPool, Shutdown, ThreadPool};

use crate::check::num_live;
use crate::operations::{Client, OPERATIONS};
use crate::random::Random;

/// So long may a round take. The longest ones take a second on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Operations that were done.
static NUM_OPERATIONS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn num_operations() -> u64 {
    NUM_OPERATIONS.load(Ordering::Relaxed)
}

/// A kind of executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Threads,
    Rayon,
    Inline,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Threads, Self::Rayon, Self::Inline];
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "threads" => Ok(Self::Threads),
            "rayon" => Ok(Self::Rayon),
            "inline" => Ok(Self::Inline),
            _ => Err(format!("no executor is called {name:?}")),
        }
    }
}

/// The executor of a round.
pub(crate) type Pool = Arc<dyn Executor<Reach = InProcess>>;

/// What a round will do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    seed: u64,
    number: u64,
    kind: Kind,
    num_workers: usize,
    num_clients: usize,
    num_operations: usize,
    /// How the pool is shut down under its clients, if it is.
    sudden_end: Option<Shutdown>,
}

impl Round {
    pub(crate) fn new(seed: u64, number: u64, kinds: &[Kind]) -> Self {
        let mut random = Random::new(seed, number);
        let ends = [Shutdown::Drain, Shutdown::CancelQueued, Shutdown::Abort];
        Self {
            seed,
            number,
            kind: random.one_of(kinds),
            num_workers: 1 + random.any_size(6).min(63),
            num_clients: 1 + random.below(3),
            num_operations: 1 + random.below(8),
            sudden_end: random.once_in(4).then(|| random.one_of(&ends)),
        }
    }

    /// Runs the round on a thread of its own; a round that takes too long is a failure.
    pub(crate) fn run_watched(self) -> Result<(), String> {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            self.run();
            // Nobody hears it who has given up.
            let _ = sender.send(());
        });
        match receiver.recv_timeout(LIMIT) {
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(format!("it hangs: {self:?}")),
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {}
        }
        thread
            .join()
            .map_err(|_| format!("it panicked: {self:?}"))?;
        match num_live() {
            0 => Ok(()),
            left => Err(format!("{left} values were not dropped: {self:?}")),
        }
    }

    fn run(self) {
        let pool = self.open();
        std::thread::scope(|s| {
            for client in 0..self.num_clients {
                let pool = &pool;
                s.spawn(move || self.run_client(client, pool));
            }
            if let Some(how) = self.sudden_end {
                let mut random = Random::new(self.seed, self.number ^ 0x5eed);
                std::thread::sleep(Duration::from_micros(random.any_size(14) as u64));
                pool.shutdown(how);
            }
        });
        // Dropping the last reference waits for the threads.
        assert_eq!(Arc::strong_count(&pool), 1, "a client kept the pool");
    }

    fn open(self) -> Pool {
        match self.kind {
            Kind::Threads => Arc::new(ThreadPool::new(self.num_workers).expect("a pool")),
            Kind::Rayon => Arc::new(RayonPool::new(self.num_workers).expect("a pool")),
            Kind::Inline => Arc::new(InlineExecutor::new()),
        }
    }

    fn run_client(self, number: usize, pool: &Pool) {
        let random = Random::new(self.seed ^ ((number as u64 + 1) << 32), self.number);
        let mut client = Client {
            pool: &**pool,
            random,
            is_sudden: self.sudden_end.is_some(),
            can_limit: self.kind != Kind::Inline,
        };
        for _ in 0..self.num_operations {
            let operation = client.random.one_of(OPERATIONS);
            operation(&mut client);
            NUM_OPERATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}
