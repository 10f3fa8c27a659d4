//! The worker process: takes messages from its lane and runs them until it is dismissed.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use taskfarm_core::remote::{
    Cursor, Filled, Items, KeptState, Log, Port, Run, Sink, Written, enter_worker,
};

use crate::control::Control;
use crate::exit_code;
use crate::image;
use crate::lane::WorkerEnd;
use crate::message::{Header, Kind};
use crate::outcome_writer::OutcomeWriter;
use crate::page::{self, Current, ItemWords, Page, Slot};
use crate::sys;
use crate::worker_lane::{Broken, WorkerLane};

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
    let end = kept.ok().and_then(WorkerEnd::from_descriptors);
    run_lane(end, settings)
}

/// Turns this process, just forked by `parent`, into a worker whose lane comes later, over
/// the socket. Never returns.
pub(crate) fn stand_by(socket: OwnedFd, parent: u32, settings: WorkerSettings) -> ! {
    let Ok(kept) = sys::become_worker_process(parent, vec![socket], settings.silent) else {
        sys::exit_now(exit_code::NO_LANE);
    };
    let received = kept
        .first()
        .and_then(|socket| Control::receive(socket.as_fd(), true).ok().flatten());
    let Some((Control::Fork { .. }, descriptors)) = received else {
        // It was not needed.
        sys::exit_now(0);
    };
    drop(kept);
    let end = sys::lift_all(descriptors)
        .ok()
        .and_then(WorkerEnd::from_descriptors);
    run_lane(end, settings)
}

fn run_lane(end: Option<WorkerEnd>, settings: WorkerSettings) -> ! {
    let Some(lane) = end.and_then(|end| WorkerLane::open(end).ok()) else {
        sys::exit_now(exit_code::NO_LANE);
    };
    if let Some(limit) = settings.memory_limit {
        // Leaked: for as long as the process lives.
        let page: &'static Page = Box::leak(Box::new(lane.page().clone()));
        sys::limit_memory(limit, page.was_refused_memory());
    }
    enter_worker();
    let mut worker = Worker {
        lane,
        setups: HashMap::new(),
        written: Written::default(),
    };
    let pid = worker.lane.page().pid();
    pid.store(std::process::id(), Ordering::Relaxed);
    worker.lane.enter(page::READY);
    let Err(broken) = worker.run() else {
        let _ = std::io::stdout().flush();
        worker.lane.enter(page::LEAVING);
        sys::exit_now(0);
    };
    if matches!(broken, Broken::Malformed) {
        worker.lane.enter(page::CONFUSED);
    }
    sys::exit_now(exit_code::BROKEN)
}

struct Worker {
    lane: WorkerLane,
    setups: HashMap<u64, KeptSetup>,
    /// One outcome at a time.
    written: Written,
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
        if !self.lane.begin_message(header.seq) {
            return self.lane.pass_payload(header);
        }
        // What is done before the first item counts as part of it, to begin with that its
        // bytes are received: they may be too many for this process.
        let now = sys::monotonic_nanos();
        let received = if header.fragmented {
            page::RECEIVING
        } else {
            now
        };
        let page = self.lane.page();
        page.started().store(received, Ordering::Release);
        page.item_words(header.seq).begin_item(Current {
            seq: header.seq,
            position: header.first,
        });
        if header.fragmented {
            let payload = self.lane.assemble(header)?;
            let now = sys::monotonic_nanos();
            self.lane.page().started().store(now, Ordering::Release);
            return self.run_items(header, Some(&payload));
        }
        self.run_items(header, None)?;
        self.lane.end_payload(header);
        Ok(())
    }

    /// Runs the items of the payload given, or of the one that is next in the ring.
    fn run_items(&mut self, header: &Header, assembled: Option<&[u8]>) -> Result<(), Broken> {
        let function = image::function(header.function).ok_or(Broken::Malformed)?;
        let mut kept = match header.setup {
            0 => KeptSetup::default(),
            setup => self.setups.remove(&setup).ok_or(Broken::Malformed)?,
        };
        let page = self.lane.page().clone();
        let (in_place, writer) = match assembled {
            Some(_) => (&[][..], self.lane.outcomes()),
            None => self.lane.payload_and_outcomes(header)?,
        };
        let (entries, bytes) = assembled
            .unwrap_or(in_place)
            .split_at_checked(ENTRY * header.count as usize)
            .ok_or(Broken::Malformed)?;
        writer.begin_message(header.seq, header.first, header.count);
        let mut port = Chunk {
            page: &page,
            words: page.item_words(header.seq),
            writer,
            written: &mut self.written,
            filled: Filled::default(),
            timed: header.timed,
            first: Current {
                seq: header.seq,
                position: header.first,
            },
            items: Items::new(entries.as_chunks().0, bytes),
            cursor: Cursor::default(),
            clock_is_stopped: false,
            kept: &mut kept,
        };
        function.call(&mut port);
        if !port.items.end_at(port.cursor) {
            return Err(Broken::Malformed);
        }
        if header.setup != 0 {
            self.setups.insert(header.setup, kept);
        }
        let writer = self.lane.outcomes();
        if !page.move_slot(header.seq, Slot::Running, Slot::Done) {
            writer.wait_for_the_end();
        }
        writer.end_message(header.seq);
        Ok(())
    }
}

/// The bytes of an entry of a bundle.
const ENTRY: usize = size_of::<u32>();

/// The items of one message.
struct Chunk<'a> {
    page: &'a Page,
    words: ItemWords<'a>,
    writer: &'a mut OutcomeWriter,
    /// The outcome that was written last, unless it is in the log.
    written: &'a mut Written,
    /// How far the current run has filled the log.
    filled: Filled,
    kept: &'a mut KeptSetup,
    /// Whether the items have a time limit.
    timed: bool,
    /// The item at the beginning.
    first: Current,
    items: Items<'a>,
    cursor: Cursor,
    /// Whether the running item no longer runs against its limit.
    clock_is_stopped: bool,
}

impl Chunk<'_> {
    /// Publishes the outcomes of what ran.
    fn end_items(&mut self) {
        self.writer.note_filled(std::mem::take(&mut self.filled));
        if let Some(entry) = self.written.take_entry() {
            self.stop_clock();
            self.clock_is_stopped = false;
            let (in_space, spill) = (self.written.in_space(), self.written.spill());
            self.writer.put_outcome(entry, in_space, spill);
        }
        if self.words.is_stopped() {
            self.writer.wait_for_the_end();
        }
    }

    /// The item that is next.
    fn next_item(&self) -> Current {
        Current {
            position: self.first.position + self.cursor.next() as u32,
            ..self.first
        }
    }

    /// The item that runs.
    fn current(&self) -> Current {
        let next = self.next_item();
        Current {
            position: next.position.saturating_sub(1),
            ..next
        }
    }
}

impl Port for Chunk<'_> {
    fn begin_state(&mut self) -> bool {
        self.end_items();
        if !self.items.has(self.cursor) {
            return false;
        }
        if self.timed {
            // Until then, it is the state that takes its time.
            let limit = self.page.init_timeout().load(Ordering::Relaxed);
            let end = sys::monotonic_nanos().saturating_add(limit);
            self.page.started().store(end, Ordering::Release);
        }
        self.words.begin_item(self.next_item());
        true
    }

    fn run(&mut self) -> Option<Run<'_>> {
        self.end_items();
        // Lengths that leave the payload end the chunk early, which `run_items` notices.
        if !self.items.has(self.cursor) {
            return None;
        }
        let log = if self.timed {
            let now = sys::monotonic_nanos();
            self.page.started().store(now, Ordering::Release);
            if !self.words.begin_timed_item(self.next_item()) {
                self.writer.wait_for_the_end();
            }
            Log {
                bytes: self.writer.space(),
                marks: None,
            }
        } else {
            let running = self.words.running_from(self.first);
            self.writer
                .log(&mut self.filled, running, self.words.stopped())
        };
        Some(Run::new(self.items, &mut self.cursor, self.written, log))
    }

    fn sink(&mut self) -> Sink<'_> {
        self.writer.note_filled(std::mem::take(&mut self.filled));
        Sink::new(self.writer.space(), self.written)
    }

    fn stop_clock(&mut self) {
        if self.timed && !self.clock_is_stopped {
            self.clock_is_stopped = true;
            if !self.page.end_timed_item(self.current()) {
                self.writer.wait_for_the_end();
            }
        }
    }

    fn context(&self) -> &[u8] {
        &self.kept.context
    }

    fn kept(&mut self) -> &mut Option<Box<dyn KeptState>> {
        &mut self.kept.state
    }
}
