//! Operations on the maps, in the order in which they are to be executed.

use std::sync::Arc;

use lb_common::abi::{Destination, Hop, Interface, MarkRule, Schedule, Service, Settings};

use crate::model::ServiceKey;

/// One write. A list of them is safe at every prefix: what a reader can reach is whole before it can
/// reach it.
#[derive(Debug, Clone, PartialEq)]
pub enum MapOp {
    /// Writes a whole destination that no slot names and no connection refers to, and sets its counts
    /// to 0 (`fresh`), or one that is trash coming back, whose counts stay.
    PutDestination {
        /// Destination id.
        id: u32,
        /// The value.
        value: Box<Destination>,
        /// Whether counts and counters start from 0.
        fresh: bool,
    },
    /// One aligned store of the flags.
    SetFlags {
        /// Destination id.
        id: u32,
        /// The flags.
        flags: u32,
    },
    /// One aligned store of the weight, and where it is not 0 one of the last weight above 0.
    SetWeight {
        /// Destination id.
        id: u32,
        /// The weight.
        weight: u32,
    },
    /// Stores method, thresholds and tunnel of a destination that is in use (`-e`); the overload mark is
    /// evaluated anew from its counts.
    SetOptions {
        /// Destination id.
        id: u32,
        /// The destination as it is to be; hop, MTU, flags and weight of it are not written.
        value: Box<Destination>,
    },
    /// One aligned store of the next hop.
    SetHop {
        /// Destination id.
        id: u32,
        /// The next hop.
        hop: Hop,
    },
    /// One aligned store of the MTU.
    SetMtu {
        /// Destination id.
        id: u32,
        /// Bytes of IP towards it, 0 where that is not known.
        mtu: u32,
    },
    /// When a removed destination became trash.
    SetRemovedAt {
        /// Destination id.
        id: u32,
        /// Seconds of CLOCK_BOOTTIME.
        seconds: u64,
    },
    /// Writes slots of an extent that no service names.
    PutSlots {
        /// First slot.
        first: u32,
        /// Destination ids.
        ids: Vec<u32>,
    },
    /// Writes or replaces a service: atomic for readers.
    PutService {
        /// Key.
        key: ServiceKey,
        /// The value.
        value: Box<Service>,
    },
    /// Removes a service.
    RemoveService {
        /// Key.
        key: ServiceKey,
    },
    /// Writes a list of rules that give marks, to where none is read.
    PutMarks {
        /// First element.
        first: u32,
        /// The rules in order.
        rules: Arc<[MarkRule]>,
    },
    /// Replaces words of the prefilter: (index, word).
    PutPrefilter {
        /// The words that differ.
        words: Vec<(u32, u64)>,
    },
    /// Stores those settings that a running daemon may change, each by aligned stores: timeouts, flags,
    /// which lists of mark rules are read, reuse mode, ICMP limits, route generation. Table masks and seeds stay.
    PutSettings {
        /// The settings.
        value: Box<Settings>,
    },
    /// Writes an interface.
    PutInterface {
        /// Index in the map: ifindex modulo [`lb_common::abi::INTERFACES`].
        index: u16,
        /// The value.
        value: Interface,
    },
}

/// What the maps hold: everything that is configured, in the kernel's own words.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Services by key.
    pub services: Vec<(ServiceKey, Service)>,
    /// Destinations in use (available or trash) by id.
    pub destinations: Vec<(u32, Destination)>,
    /// Scheduler states by service id, of the services above.
    pub schedules: Vec<(u32, Schedule)>,
    /// Slots in use, in the order of `services`.
    pub slots: Vec<Vec<u32>>,
    /// The lists of rules that give marks, IPv4 and IPv6: those that the settings name.
    pub marks: [Vec<MarkRule>; 2],
    /// The settings.
    pub settings: Settings,
    /// The prefilter's bitmap.
    pub prefilter: Vec<u64>,
    /// Elements of map `DESTINATIONS`, `SLOTS` and the service maps: what fits.
    pub capacity: Capacity,
}

/// How much the maps hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Services of each family and of marks.
    pub services: u32,
    /// Destinations.
    pub destinations: u32,
    /// Slots.
    pub slots: u32,
}
