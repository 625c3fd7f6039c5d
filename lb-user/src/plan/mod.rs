//! From what is wanted to what must be written: pure.
//!
//! [`MapOp`] is the one way to change a map of the data path; [`Observed`] is what a restarted daemon
//! finds in the maps. [`Layout`] is what the maps hold or are to hold, and [`plan`] the way from one to
//! the other. The executor of operations is `bpf`.

mod convert;
mod diff;
mod extent;
mod layout;
mod ops;
mod prefilter;
mod slots;

pub use self::convert::{
    SIP, destination_address, destination_spec, engine_number, interface_index, mark_rule, mark_rule_of,
    mask_bytes, service_key, service_spec, wide,
};
pub use self::diff::plan;
pub use self::extent::Extents;
pub use self::layout::Layout;
pub use self::ops::{Capacity, MapOp, Observed};
pub use self::prefilter::{Prefilter, mark_addresses};
pub use self::slots::{Member, Weights, resume, table, weights};
