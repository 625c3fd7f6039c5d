//! lbd, the director's daemon, and lbadm, its tool, as one library of layers (ARCHITECTURE.md).
//!
//! Pure modules: [`model`], [`api`], [`plan`]. They know neither sockets nor clocks nor files.

pub mod api;
pub mod model;
pub mod plan;
