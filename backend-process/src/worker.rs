//! The worker process: takes messages from its lane and runs them until it is dismissed.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Once;
use std::sync::atomic::Ordering;

use taskfarm_core::remote::{Bundle, KeptState, Port};

use crate::image;
use crate::lane::WorkerEnd;
use crate::message::{Header, Kind};
use crate::page::{self, Current, Slot};
use crate::sys;
use crate::worker_lane::{Broken, WorkerLane};

/// Codes that a worker exits with when it cannot go on; a pool reports them as a crash.
const EXIT_NO_LANE: i32 = 120;
const EXIT_BROKEN: i32 = 121;

/// What a worker is told when it is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) memory_limit: Option<u64>,
    pub(crate) silent: bool,
}

/// Turns this process, just started by `parent`, into a worker. Never returns.
pub(crate) fn run(end: WorkerEnd, parent: u32, settings: WorkerSettings) -> ! {
    let WorkerEnd {
        memory,
        bell,
        pool_bell,
    } = end;
    let kept = sys::become_worker_process(parent, vec![memory, bell, pool_bell], settings.silent);
    let lane = kept
        .ok()
        .and_then(WorkerEnd::from_descriptors)
        .and_then(|end| WorkerLane::open(end).ok());
    let Some(lane) = lane else {
        sys::exit_now(EXIT_NO_LANE);
    };
    if let Some(limit) = settings.memory_limit
        && sys::limit_memory(limit).is_err()
    {
        sys::exit_now(EXIT_NO_LANE);
    }
    silence_panics();
    let mut worker = Worker {
        lane,
        setups: HashMap::new(),
        outcomes: Bundle::default(),
        finished: 0,
    };
    worker.lane.enter(page::READY);
    let Err(broken) = worker.run() else {
        let _ = std::io::stdout().flush();
        worker.lane.enter(page::LEAVING);
        sys::exit_now(0);
    };
    if matches!(broken, Broken::Malformed) {
        worker.lane.enter(page::CONFUSED);
    }
    sys::exit_now(EXIT_BROKEN)
}

/// A panic comes back as the outcome of its item; the terminal belongs to the caller.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

struct Worker {
    lane: WorkerLane,
    setups: HashMap<u64, KeptSetup>,
    /// Memory for one outcome at a time.
    outcomes: Bundle,
    finished: u64,
}

/// What the worker keeps of a map.
#[derive(Default)]
struct KeptSetup {
    context: Vec<u8>,
    state: Option<Box<dyn KeptState>>,
}

impl Worker {
    /// Runs messages until the good-bye.
    fn run(&mut self) -> Result<(), Broken> {
        loop {
            let header = self.lane.next_header()?;
            match header.kind {
                Kind::Job => self.run_job(&header)?,
                Kind::Setup => self.take_setup(&header)?,
                Kind::Stop => self.stop(header.setup),
                Kind::Bye => {
                    let setups: Vec<u64> = self.setups.keys().copied().collect();
                    setups.into_iter().for_each(|setup| self.stop(setup));
                    return Ok(());
                }
                Kind::Fragment | Kind::Padding => return Err(Broken::Malformed),
            }
        }
    }

    fn take_setup(&mut self, header: &Header) -> Result<(), Broken> {
        let context = if header.fragmented {
            self.lane.assemble(header)?
        } else {
            let context = self.lane.payload(header)?.to_vec();
            self.lane.end_payload(header);
            context
        };
        let state = None;
        self.setups
            .insert(header.setup, KeptSetup { context, state });
        Ok(())
    }

    fn stop(&mut self, setup: u64) {
        if let Some(state) = self.setups.remove(&setup).and_then(|kept| kept.state) {
            state.stop();
        }
    }

    fn run_job(&mut self, header: &Header) -> Result<(), Broken> {
        if header.fragmented {
            let payload = self.lane.assemble(header)?;
            return self.run_items(header, Some(&payload));
        }
        self.run_items(header, None)?;
        self.lane.end_payload(header);
        Ok(())
    }

    /// Runs the items of the payload given, or of the one that is next in the ring.
    fn run_items(&mut self, header: &Header, payload: Option<&[u8]>) -> Result<(), Broken> {
        let len = match payload {
            Some(payload) => payload.len(),
            None => self.lane.payload(header)?.len(),
        };
        let entries = 4 * header.count as usize;
        if entries > len {
            return Err(Broken::Malformed);
        }
        let function = image::function(header.function).ok_or(Broken::Malformed)?;
        if !self.lane.begin_message(header.seq) {
            return Ok(());
        }
        let mut kept = match header.setup {
            0 => KeptSetup::default(),
            setup => self.setups.remove(&setup).ok_or(Broken::Malformed)?,
        };
        let mut port = Chunk {
            header,
            payload,
            item: Current {
                seq: header.seq,
                position: header.first,
            },
            left: header.count,
            at: entries,
            broken: false,
            clock_is_stopped: false,
            kept: &mut kept,
            worker: self,
        };
        // What is made before the first item counts as part of it.
        port.begin_item(sys::monotonic_nanos());
        function.call(&mut port);
        let broken = port.broken || port.left > 0;
        if header.setup != 0 {
            self.setups.insert(header.setup, kept);
        }
        if broken {
            return Err(Broken::Malformed);
        }
        let page = self.lane.page();
        page.finished().store(self.finished, Ordering::Relaxed);
        if !page.move_slot(header.seq, Slot::Running, Slot::Done) {
            self.lane.wait_for_the_end();
        }
        self.lane.end_message(header.seq);
        self.lane.rewind();
        Ok(())
    }
}

/// The items of one message.
struct Chunk<'a> {
    worker: &'a mut Worker,
    kept: &'a mut KeptSetup,
    header: &'a Header,
    /// The payload, unless it lies in the ring.
    payload: Option<&'a [u8]>,
    /// The item that runs or is next.
    item: Current,
    /// How many have not begun.
    left: u32,
    /// Where the bytes of the next item begin.
    at: usize,
    broken: bool,
    /// Whether the running item no longer runs against its limit.
    clock_is_stopped: bool,
}

impl Chunk<'_> {
    #[inline]
    fn begin_item(&mut self, now: u64) {
        let page = self.worker.lane.page();
        page.started().store(now, Ordering::Release);
        page.begin_item(self.item);
    }

    fn payload(&self) -> Option<&[u8]> {
        match self.payload {
            Some(payload) => Some(payload),
            None => self.worker.lane.payload(self.header).ok(),
        }
    }
}

impl Port for Chunk<'_> {
    #[inline]
    fn next(&mut self) -> Option<&[u8]> {
        if self.left == 0 || self.broken {
            return None;
        }
        self.worker.lane.obey(self.item.seq);
        if self.header.timed {
            self.begin_item(sys::monotonic_nanos());
        } else {
            self.worker.lane.page().begin_item(self.item);
        }
        let nth = (self.header.count - self.left) as usize;
        self.left -= 1;
        let start = self.at;
        let len = {
            let entry = self.payload()?.get(4 * nth..4 * nth + 4)?;
            (u32::from_ne_bytes(entry.try_into().ok()?) >> 3) as usize
        };
        self.at = start + len;
        // Lengths that leave the payload end the chunk early, which `run_items` notices.
        self.broken = self.payload()?.len() < self.at;
        self.payload()?.get(start..start + len)
    }

    #[inline]
    fn outcomes(&mut self) -> &mut Bundle {
        &mut self.worker.outcomes
    }

    fn stop_clock(&mut self) {
        if self.header.timed && !self.clock_is_stopped {
            self.clock_is_stopped = true;
            if !self.worker.lane.page().end_timed_item(self.item) {
                self.worker.lane.wait_for_the_end();
            }
        }
    }

    #[inline]
    fn done(&mut self) {
        self.stop_clock();
        self.clock_is_stopped = false;
        let worker = &mut *self.worker;
        if let Some(&word) = worker.outcomes.lengths.last() {
            worker
                .lane
                .put_outcome(self.item, word, &worker.outcomes.bytes);
        }
        worker.outcomes.clear();
        worker.finished += 1;
        self.item.position += 1;
    }

    fn context(&self) -> &[u8] {
        &self.kept.context
    }

    fn kept(&mut self) -> &mut Option<Box<dyn KeptState>> {
        &mut self.kept.state
    }
}
