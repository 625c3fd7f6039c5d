//! lbd, the director's daemon, and lbadm, its tool, as one library of layers (ARCHITECTURE.md).
//!
//! Pure modules: [`model`], [`api`], [`config`], [`cli`], [`instance`], [`plan`], [`director`]. They
//! know neither sockets nor clocks nor files.
//!
//! Adapters, one outside world each: [`bpf`] (the data path in the kernel), [`netlink`] (the kernel's
//! interfaces, routes, neighbours), [`client`] (the control socket as a client), [`server`] (as lbd),
//! [`names`] (of hosts and services), [`notify`] (the service manager).
//!
//! Composition: [`daemon`].

pub mod api;
pub mod bpf;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod director;
pub mod instance;
pub mod model;
pub mod names;
pub mod netlink;
pub mod notify;
pub mod plan;
pub mod server;
