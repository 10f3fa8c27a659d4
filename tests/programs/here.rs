//! Programs on executors that run closures: what is nested uses the same pool.

#[path = "steps.rs"]
mod steps;

use std::sync::Arc;

use taskfarm::{Executor, Handle, InProcess, InProcessExt, Work};

use self::steps::{Seen, end_map, run_tasks, say};
use crate::program::{Act, MapStep};

pub(crate) use self::steps::run;

pub(crate) type Pool = Arc<dyn Executor<Reach = InProcess>>;

/// What the maps of programs do.
trait Runs: Work<Act, Out = String, Error = String, State: Send> + 'static {}

impl<W: Work<Act, Out = String, Error = String, State: Send> + 'static> Runs for W {}

pub(crate) fn act(pool: &Pool, act: &Act) -> Result<String, String> {
    match act {
        Act::Return(n) => Ok(n.to_string()),
        Act::Fail(n) => Err(format!("no {n}")),
        Act::Panic(n) => panic!("oh {n}"),
        Act::Map(step) => Ok(run_map(pool, step)),
        Act::Submit(acts) => Ok(run_tasks(pool, acts)),
    }
}

fn submit(pool: &Pool, what: &Act) -> Handle<'static, String, String> {
    let (inner, what) = (pool.clone(), what.clone());
    pool.try_submit((), move |()| act(&inner, &what))
}

fn run_scope(pool: &Pool, acts: &[Act]) -> Seen {
    pool.scope(|s| {
        let submit = |what| s.try_submit(what, |what| act(pool, what));
        let handles: Vec<_> = acts.iter().map(submit).collect();
        let seen: Vec<Seen> = handles.into_iter().map(|it| say(it.join())).collect();
        seen.join(",")
    })
}

fn run_map(pool: &Pool, step: &MapStep) -> Seen {
    let inner = pool.clone();
    let acts = step.acts.clone();
    if step.is_lazy {
        let items = acts.into_iter().filter(|_| true);
        end_map(step, pool.try_map(items, move |what| act(&inner, &what)))
    } else {
        end_map(step, pool.try_map(acts, move |what| act(&inner, &what)))
    }
}
