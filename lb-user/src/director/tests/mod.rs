//! The director against maps in memory that check every operation.

mod change;
mod counters;
mod maps;
mod marks;
mod recorded;
mod responders;
mod restart;
mod schedulers;
mod settings;
mod sysctl;
mod trash;
mod tunnels;
mod way;
mod world;
