//! Cases for executors whose workers are processes of this binary: those of `any/`, and
//! those that crash workers.

#[path = "any/mod.rs"]
pub(super) mod any;

/// The reach that the cases of `any/` are compiled for.
type Reach = crate::SameBinary;
type Subject = super::Subject<Reach>;
type Pool = super::subject::Pool<Reach>;

use crate::SameBinaryExt as Ext;
