//! Tests of the whole decision: frames through the tables.

#[path = "../../tests/shared/frames.rs"]
pub(crate) mod frames;
#[path = "../../tests/shared/fuzz.rs"]
mod fuzz;
#[path = "../../tests/shared/random/mod.rs"]
pub(crate) mod random;

mod corpus;
mod endings;
mod fixtures;
mod frames_in;
mod policy;
mod recorded;
mod sctp;
mod sequences;
mod sip;
mod stateless;
