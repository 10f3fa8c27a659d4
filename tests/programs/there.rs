//! Programs on executors whose workers are other processes: what is nested runs on the
//! worker's own thread.

#[path = "steps.rs"]
mod steps;

use std::sync::Arc;

use taskfarm::{Executor, Handle, InlineExecutor, SameBinary, SameBinaryExt, Work};
use taskfarm_core::remote::Remotable;

use self::steps::{Seen, end_map, run_tasks};
use crate::here;
use crate::program::{Act, MapStep};

pub(crate) use self::steps::run;

pub(crate) type Pool = Arc<dyn Executor<Reach = SameBinary>>;

/// What the maps of programs do.
trait Runs: Remotable<Act> + Work<Act, Out = String, Error = String, State: Send> {}

impl<W: Remotable<Act> + Work<Act, Out = String, Error = String, State: Send>> Runs for W {}

fn act_in_worker(what: Act) -> Result<String, String> {
    let inner: here::Pool = Arc::new(InlineExecutor::new());
    here::act(&inner, &what)
}

fn submit(pool: &Pool, what: &Act) -> Handle<'static, String, String> {
    pool.try_submit(what.clone(), act_in_worker)
}

/// Scopes are for borrowed data, and there is none here.
fn run_scope(pool: &Pool, acts: &[Act]) -> Seen {
    run_tasks(pool, acts)
}

fn run_map(pool: &Pool, step: &MapStep) -> Seen {
    let acts = step.acts.clone();
    if step.is_lazy {
        let items = acts.into_iter().filter(|_| true);
        end_map(step, pool.try_map(items, act_in_worker))
    } else {
        end_map(step, pool.try_map(acts, act_in_worker))
    }
}
