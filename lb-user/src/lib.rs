//! lbd, the director's daemon, and lbadm, its tool, as one library of layers (ARCHITECTURE.md).
//!
//! Pure modules: [`model`], [`api`], [`plan`]. They know neither sockets nor clocks nor files.
//!
//! Adapters, one outside world each: [`bpf`] (the data path's maps, programs and links), [`netlink`]
//! (the kernel's interfaces, routes and neighbours).

pub mod api;
pub mod bpf;
pub mod model;
pub mod netlink;
pub mod plan;
