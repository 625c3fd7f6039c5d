//! The director against maps in memory that check every operation.

mod change;
mod counters;
mod recorded;
mod restart;
mod settings;
mod trash;
mod way;
mod world;
