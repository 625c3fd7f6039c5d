//! The director against maps in memory that check every operation.

mod change;
mod maps;
mod marks;
mod recorded;
mod responders;
mod restart;
mod settings;
mod trash;
mod way;
mod world;
