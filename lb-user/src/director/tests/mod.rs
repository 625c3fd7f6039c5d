//! The director against maps in memory that check every operation.

mod change;
mod maps;
mod recorded;
mod responders;
mod restart;
mod settings;
mod trash;
mod tunnels;
mod way;
mod world;
