//! The director's XDP program: a thin shell around `lb-common`.
//!
//! Holds no policy: it implements `Frame` and `Tables` for the kernel and does what
//! `lb_common::run::run` says.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod events;
mod frame;
mod maps;
mod programs;
mod route;
mod tables;
