//! From what is wanted to what must be written: pure.
//!
//! [`MapOp`] is the one way to change a map of the data path; [`Observed`] is what a restarted daemon
//! finds in the maps. The executor of operations is `bpf`.

mod ops;

pub use self::ops::{Capacity, MapOp, Observed};
