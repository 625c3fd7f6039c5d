//! lbd, the director's daemon, and lbadm, its tool, as one library of layers (ARCHITECTURE.md).
//!
//! Pure modules: [`model`], [`api`], [`cli`], [`config`], [`instance`], [`plan`], [`director`]. They
//! know neither sockets nor clocks nor files.
//!

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod director;
pub mod instance;
pub mod model;
pub mod plan;
