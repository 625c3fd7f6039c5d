//! The maps, typed.

use std::path::Path;

use lb_common::abi::{Counters, Counts, Settings};
use lb_common::reason::Reason;

use super::{LoadError, MapError};
use crate::plan::{MapOp, Observed};

/// Every map of a data path, open and, where it can be, mapped.
pub struct Maps {}

impl Maps {
    /// Opens pinned maps, for reading beside a daemon or without one; makes and loads nothing.
    ///
    /// # Errors
    /// [`LoadError`] where they are not there, or not of this version.
    pub fn open_pinned(maps_dir: &Path) -> Result<Self, LoadError> {
        let _ = maps_dir;
        todo!()
    }

    /// Executes operations in order, each as its documentation says.
    ///
    /// # Errors
    /// [`MapError`] of the first operation that failed; those before it are done.
    pub fn execute(&mut self, ops: &[MapOp]) -> Result<(), MapError> {
        let _ = ops;
        todo!()
    }

    /// What the maps hold.
    ///
    /// # Errors
    /// [`MapError`] where a map cannot be read.
    pub fn observe(&self) -> Result<Observed, MapError> {
        todo!()
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        todo!()
    }

    /// Connections of a destination; `None` beyond the map's size.
    #[must_use]
    pub fn counts(&self, id: u32) -> Option<Counts> {
        let _ = id;
        todo!()
    }

    /// Counters of destinations, summed over the CPUs, in the order of `ids`.
    ///
    /// # Errors
    /// [`MapError`] where one lies beyond the map.
    pub fn counters(&self, ids: &[u32]) -> Result<Vec<Counters>, MapError> {
        let _ = ids;
        todo!()
    }

    /// Packets by reason, summed over the CPUs, those of 0 too.
    ///
    /// # Errors
    /// [`MapError`] where the map cannot be read.
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>, MapError> {
        todo!()
    }

    /// Slots of the IPv4 and of the IPv6 connection table.
    #[must_use]
    pub fn connection_slots(&self) -> (u64, u64) {
        todo!()
    }
}
