//! [`Program`]: what is run, as values that can travel to another process; and how random ones
//! are made.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use taskfarm::{ErrorPolicy, Shutdown};

/// What a task or an item does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Act {
    Return(i64),
    Fail(i64),
    Panic(i64),
    /// Runs a map inside, and returns what it gave.
    Map(Box<MapStep>),
    /// Submits tasks inside, and joins them.
    Submit(Vec<Act>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MapStep {
    pub(crate) acts: Vec<Act>,
    pub(crate) is_lazy: bool,
    pub(crate) ending: Ending,
    pub(crate) policy: Policy,
    pub(crate) chunk_size: Option<usize>,
    pub(crate) in_flight: Option<usize>,
    pub(crate) retries: u32,
    pub(crate) is_cancelled: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Ending {
    Collect,
    Outcomes,
    ForEach,
    Run,
    Ordered,
    AsCompleted,
    /// Reads some results in order, and leaves.
    Leave(usize),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Policy {
    FailFast,
    Collect,
    Skip,
}

impl From<Policy> for ErrorPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::FailFast => Self::FailFast,
            Policy::Collect => Self::Collect,
            Policy::Skip => Self::Skip,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Submit(Act),
    /// Cancels the task at once: the answer must be true, whatever it is.
    Cancel(Act),
    /// Submits tasks in a scope.
    Scope(Vec<Act>),
    Map(MapStep),
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
    pub(crate) shutdown: Option<Shutdown>,
    /// What is tried after the shutdown.
    pub(crate) after: Vec<Step>,
}

fn any_act() -> impl Strategy<Value = Act> {
    let leaf = prop_oneof![
        12 => (0..100_i64).prop_map(Act::Return),
        1 => (0..100_i64).prop_map(Act::Fail),
        1 => (0..100_i64).prop_map(Act::Panic),
    ];
    leaf.prop_recursive(2, 24, 6, |inner| {
        prop_oneof![
            any_map(inner.clone(), 6).prop_map(|step| Act::Map(Box::new(step))),
            prop::collection::vec(inner, 0..4).prop_map(Act::Submit),
        ]
    })
}

fn any_map(acts: impl Strategy<Value = Act>, most: usize) -> impl Strategy<Value = MapStep> {
    let ending = prop_oneof![
        Just(Ending::Collect),
        Just(Ending::Outcomes),
        Just(Ending::ForEach),
        Just(Ending::Run),
        Just(Ending::Ordered),
        Just(Ending::AsCompleted),
        (0..20_usize).prop_map(Ending::Leave),
    ];
    let policy = prop_oneof![
        Just(Policy::FailFast),
        Just(Policy::Collect),
        Just(Policy::Skip),
    ];
    let size = || prop::option::of(prop_oneof![1..4_usize, Just(1000), Just(usize::MAX)]);
    (
        prop::collection::vec(acts, 0..most),
        any::<bool>(),
        ending,
        policy,
        size(),
        size(),
        prop_oneof![3 => Just(0_u32), 1 => 1..3_u32],
        prop::bool::weighted(0.05),
    )
        .prop_map(
            |(acts, is_lazy, ending, policy, chunk_size, in_flight, retries, is_cancelled)| {
                MapStep {
                    acts,
                    is_lazy,
                    ending,
                    policy,
                    chunk_size,
                    in_flight,
                    retries,
                    is_cancelled,
                }
            },
        )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any_act().prop_map(Step::Submit),
        1 => any_act().prop_map(Step::Cancel),
        1 => prop::collection::vec(any_act(), 0..6).prop_map(Step::Scope),
        4 => any_map(any_act(), 40).prop_map(Step::Map),
    ]
}

pub(crate) fn any_program() -> impl Strategy<Value = Program> {
    let shutdown = prop_oneof![
        Just(Shutdown::Drain),
        Just(Shutdown::CancelQueued),
        Just(Shutdown::Abort),
    ];
    (
        prop::collection::vec(any_step(), 1..6),
        prop::option::of(shutdown),
        prop::collection::vec(any_step(), 0..3),
    )
        .prop_map(|(steps, shutdown, after)| Program {
            steps,
            shutdown,
            after,
        })
}
