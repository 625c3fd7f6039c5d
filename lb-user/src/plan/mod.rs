//! From what is wanted to what must be written: pure.
//!
//! [`MapOp`] is the one way to change a map of the data path; [`Observed`] is what a restarted daemon
//! finds in the maps. [`Layout`] is what the maps hold or are to hold, and [`plan`] the way from one to
//! the other. The executor of operations is `bpf`.

mod convert;
mod diff;
mod extent;
mod layout;
mod maglev;
mod marks;
mod ops;
mod prefilter;
mod slots;

pub use self::convert::{
    SIP, destination_address, destination_spec, engine_number, interface_index, mask_bytes, put_tunnel,
    service_key, service_spec, tunnel_source, wide,
};
pub use self::diff::plan;
pub use self::extent::{Extents, GRACE};
pub use self::layout::Layout;
pub use self::marks::{mark_addresses, mark_rule, mark_rule_of, next_area};
pub use self::ops::{Capacity, MapOp, Observed};
pub use self::prefilter::Prefilter;
pub use self::slots::{Member, Weights, length, resume, table, weights};
