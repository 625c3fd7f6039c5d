//! Everything a person types and reads: commands into [`crate::api::Request`]s, answers into text.
//!
//! Pure: whoever answers is a [`Control`], whoever knows names of hosts and services is a
//! [`Names`](ipvsadm::Names), text goes to the writers it is given.

mod control;
mod globals;
pub mod ipvsadm;
pub mod lbadm;
mod mark;
mod render;
mod set;

pub use self::control::{Control, ControlError};
pub use self::globals::split_globals;
