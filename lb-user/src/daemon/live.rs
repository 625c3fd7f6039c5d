//! The maps as the director reads them.

use lb_common::abi::{Counters, Counts, Schedule};

use crate::bpf::{Maps, synchronize};
use crate::director::Live;

/// What packets change in the maps.
pub(super) struct LiveMaps<'a>(pub(super) &'a Maps);

impl Live for LiveMaps<'_> {
    fn schedule(&self, service: u32) -> Schedule {
        self.0.schedule(service).unwrap_or_default()
    }

    fn counts(&self, destination: u32) -> Counts {
        self.0.counts(destination).unwrap_or_default()
    }

    fn counters(&self, destination: u32) -> Counters {
        match self.0.counters(&[destination]) {
            Ok(counters) => counters.first().copied().unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "cannot read counters");
                Counters::default()
            }
        }
    }

    fn synchronize(&self) {
        synchronize();
    }
}
