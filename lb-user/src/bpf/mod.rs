//! The data path as the kernel holds it: maps, programs, links. The only user of aya, and the only
//! place of user space where memory is shared with the XDP program (`unsafe`).
//!
//! Owns the pins of one director and nothing else; never decides what is in the maps: it executes
//! [`crate::plan::MapOp`]s. Called by the daemon (one task) and, for reading, by lbadm while lbd is down.

mod clock;
mod error;
mod events;
mod execute;
mod keys;
mod links;
mod listing;
mod live;
mod loader;
mod locality;
mod mapped;
mod maps;
mod mend;
mod object;
mod observe;
mod pins;
mod recount;
mod specs;
mod sweep;
mod sys;
mod tables;

pub use self::clock::Clock;
pub use self::error::{AttachError, LoadError, MapError};
pub use self::events::{Events, NeighbourWanted};
pub use self::links::{AttachMode, Attached, attached_interfaces, detach_all};
pub use self::listing::Listing;
pub use self::live::synchronize;
pub use self::loader::{Dataplane, OpenOptions, Sizes};
pub use self::locality::{LocalityKeeper, LocalityServices};
pub use self::maps::Maps;
pub use self::mend::MapPins;
pub use self::object::{ProgramFacts, ProgramName, Run};
pub use self::pins::remove_maps;
pub use self::recount::Drift;
pub use self::sweep::{PassStatistics, Step, Sweeper};
pub use self::tables::MappedTables;
