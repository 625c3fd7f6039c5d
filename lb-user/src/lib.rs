//! lbd, the director's daemon, and lbadm, its tool, as one library of layers (ARCHITECTURE.md).
//!
//! Pure modules: [`model`], [`api`], [`config`], [`cli`], [`instance`], [`plan`]. They know neither
//! sockets nor clocks nor files.
//!
//! Adapters, one outside world each: [`bpf`] (the data path's maps, programs and links), [`client`]
//! (the control socket as a client), [`names`] (of hosts and services), [`netlink`] (the kernel's
//! interfaces, routes and neighbours).

pub mod api;
pub mod bpf;
pub mod cli;
pub mod client;
pub mod config;
pub mod instance;
pub mod model;
pub mod names;
pub mod netlink;
pub mod plan;
