//! The packet decision of the director: policy without a kernel, shared by the XDP program, the
//! daemon and the tests.
#![no_std]
#![deny(unsafe_code)]

pub mod fwd;
pub mod sched;
