//! lbd, the director's daemon, and lbadm, its tool, as one library of layers (ARCHITECTURE.md).
//!
//! Pure modules: [`model`], [`api`], [`config`], [`cli`], [`instance`], [`plan`], [`director`]. They
//! know neither sockets nor clocks nor files.
//!
//! Adapters, one outside world each: [`client`] (the control socket as a client), [`names`] (of hosts
//! and services).

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod director;
pub mod instance;
pub mod model;
pub mod names;
pub mod plan;
