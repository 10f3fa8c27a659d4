//! Cases for executors that run closures: those of `any/`, and those that look into running
//! tasks.

#[path = "any/mod.rs"]
pub(super) mod any;
pub(super) mod can_1;
pub(super) mod chunk_1;
pub(super) mod drop_1;
pub(super) mod err_1;
pub(super) mod err_2;
pub(super) mod nest_1;
pub(super) mod obs_1;
pub(super) mod once_1;
pub(super) mod ord_1;
pub(super) mod pan_1;
pub(super) mod par_1;
pub(super) mod res_1;
pub(super) mod shut_1;
pub(super) mod time_1;
pub(super) mod time_2;

/// The reach that the cases of `any/` are compiled for.
type Reach = crate::InProcess;
type Subject = super::Subject<Reach>;
type Pool = super::subject::Pool<Reach>;

use crate::InProcessExt as Ext;
