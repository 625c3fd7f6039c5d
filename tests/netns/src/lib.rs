//! Network-namespace topologies for whole-system tests, the demo and the replay of recordings.
//!
//! - [`topology`]: namespaces, bridges and veth pairs from a description; [`site`] holds the descriptions used.
//! - [`director`]: a running lbd in a site and the lbadm that speaks to it.
//! - [`recorded`]: commands as the recordings gave them; [`document`]: those of documents.
//! - [`server`] and [`agent`]: what answers on the real servers, and what sends for the client.
//! - [`stream`]: requests that go on while something changes.
//! - [`flood`]: what floods a director.
//! - [`process`], [`namespace`], [`shell`], [`stale`], [`interrupt`]: the machinery below.
//!
//! Everything a site makes (namespaces, a private bpffs, processes, files) carries the id of the process that made
//! it, is removed when the [`site::Site`] is dropped, and is swept by the next run if that process was killed.
//! Traffic stays inside the namespaces, in the address blocks of RFC 5737 and RFC 3849.

pub mod agent;
pub mod decap;
pub mod director;
pub mod document;
pub mod download;
pub mod flood;
pub mod interrupt;
pub mod namespace;
pub mod process;
pub mod recorded;
pub mod server;
pub mod shell;
pub mod site;
pub mod stale;
pub mod stream;
pub mod topology;
mod verify;
pub mod view;

pub use agent::Agent;
pub use director::{Director, DirectorOptions};
pub use namespace::Namespace;
pub use process::Process;
pub use server::Server;
pub use site::Site;
