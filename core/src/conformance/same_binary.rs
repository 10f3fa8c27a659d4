//! Cases for executors whose workers are processes of this binary: those of `any/`, and
//! those that crash workers.

#[expect(
    clippy::duplicate_mod,
    reason = "the same cases for another reach; only a macro could say it otherwise"
)]
#[path = "any/mod.rs"]
pub(super) mod any;
pub(super) mod once_1;
pub(super) mod rem_1;
pub(super) mod rem_2;
pub(super) mod rem_3;
pub(super) mod rem_4;
pub(super) mod time_1;

/// The reach that the cases of `any/` are compiled for.
type Reach = crate::SameBinary;
type Subject = super::Subject<Reach>;
type Pool = super::subject::Pool<Reach>;

use crate::SameBinaryExt as Ext;
