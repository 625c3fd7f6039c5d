//! The packet decision of the director: policy without a kernel, shared by the XDP program, the
//! daemon and the tests.
//!
//! [`run::run`] takes a frame through [`parse`], [`direct`] (lookup, [`connect`], [`persist`],
//! [`sched`]) and [`fwd`] over two traits, [`frame::Frame`] and [`tables::Store`]. `unsafe` lives in
//! [`abi`] alone.
#![cfg_attr(not(any(test, feature = "testing")), no_std)]
#![deny(unsafe_code)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

/// What tests of other crates use as well names this one from outside.
#[cfg(test)]
extern crate self as lb_common;

#[allow(
    unsafe_code,
    reason = "memory shared with other CPUs is reached through raw pointers here and only here"
)]
pub mod abi;
pub mod conn;
pub mod connect;
pub mod csum;
pub mod direct;
pub mod family;
pub mod flow_table;
pub mod frame;
pub mod fwd;
pub mod hash;
pub mod icmp;
pub mod leave;
pub mod limit;
pub mod lookup;
pub mod parse;
pub mod persist;
pub mod reason;
pub mod related;
pub mod run;
pub mod sched;
pub mod sip;
pub mod stateless;
pub mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use abi::ABI_VERSION;
