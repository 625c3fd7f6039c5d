//! Every byte layout that lies in a map, shared by the XDP program and the daemon.
//!
//! A change of any layout here changes [`ABI_VERSION`]: the maps of another version lie in another
//! directory (architecture decision 12), so that an old program never reads a new layout. This
//! directory is the one place of the crate where `unsafe` is allowed: the accessors of table entries
//! that live in memory shared with other CPUs and with the daemon.

mod atomics;
mod connection;
mod entry;
#[cfg(any(test, feature = "testing"))]
mod host;
mod locality;
mod mark;
mod raw;
mod service;
mod state;

pub use self::atomics::{
    add_u32, add_u64, and_u32, cas_u32, cas_u64, load_u32, load_u64, or_u32, store_u32, store_u64,
};
pub use self::connection::{
    Bucket4, Bucket6, Connection4, Connection6, FlowKey4, FlowKey6, WAYS, connection_flags,
};
pub use self::entry::{Entry4, Entry6};
#[cfg(any(test, feature = "testing"))]
pub use self::host::{Memory, Plain};
pub use self::locality::{LOCALITY_MEMBERS, Locality, LocalityKey, LocalityRef};
pub use self::mark::{
    COMMENT, MARK_PORTS, MarkRule, MarkTarget, NO_PORTS, PortRange, mark_conditions, mark_owner,
};
pub use self::raw::{opaque, read_raw, through, ways, write_raw};
pub use self::service::{
    Destination, FwmarkKey, Hop, Service, ServiceKey4, ServiceKey6, destination_flags, service_flags,
    tunnel_flags,
};
pub use self::state::{
    Counters, Counts, Event, IcmpBucket, Interface, Schedule, Settings, event_kind, interface_flags,
    settings_flags,
};

/// Version of every layout in this module.
pub const ABI_VERSION: u32 = 2;

/// Reads back a number that says "none" where an index or id is meant.
pub const NONE: u32 = u32::MAX;

/// Interfaces that one director can have: the index of [`Interface`] is the kernel's ifindex modulo this.
pub const INTERFACES: u32 = 4096;

/// Places of the programs behind the director's tail calls, in map `OPENERS`: what its own code does not do.
pub mod programs {
    /// Elements of the map.
    pub const COUNT: u32 = 16;
    /// Opens IPv4 connections.
    pub const OPEN4: u32 = 4;
    /// Opens IPv6 connections.
    pub const OPEN6: u32 = 6;
    /// IPv4 packets that are neither TCP nor UDP.
    pub const OTHER4: u32 = 5;
    /// IPv6 packets that are neither TCP nor UDP.
    pub const OTHER6: u32 = 7;
    /// Opens IPv4 connections of services with a persistence engine.
    pub const ENGINE4: u32 = 2;
    /// Opens IPv6 connections of services with a persistence engine.
    pub const ENGINE6: u32 = 3;
    /// Lets IPv4 connections in whose destination is chosen.
    pub const ADMIT4: u32 = 11;
    /// Lets IPv6 connections in.
    pub const ADMIT6: u32 = 12;
    /// Encapsulates IPv4 packets.
    pub const ENCAP4: u32 = 1;
    /// Encapsulates IPv6 packets.
    pub const ENCAP6: u32 = 8;
    /// IPv4 packets of no transport protocol that is balanced: errors about connections.
    pub const RELATED4: u32 = 9;
    /// The same of IPv6.
    pub const RELATED6: u32 = 10;
}

/// Rules that give marks, at most in a list; each address family has a list of its own, and each list two
/// areas of so many elements in map `MARKS` ([`Settings::marks`]).
pub const MARK_RULES: u32 = 2048;
/// Elements of map `MARKS`.
pub const MARK_ELEMENTS: u32 = 4 * MARK_RULES;

/// Bits of the prefilter; its map has one `u64` per 64 of them.
pub const PREFILTER_BITS: u32 = 1 << 16;

/// Reasons that are counted, at most; [`crate::reason::Reason`] is an index below it.
pub const REASONS: u32 = 64;

/// Token buckets for ICMP errors (one per hashed client address).
pub const ICMP_BUCKETS: u32 = 4096;

macro_rules! layout {
    ($($t:ty: $size:expr),* $(,)?) => { $( const _: () = assert!(core::mem::size_of::<$t>() == $size); )* };
}
layout! {
    FlowKey4: 16, FlowKey6: 40, Connection4: 64, Connection6: 128, Bucket4: 256, Bucket6: 512,
    ServiceKey4: 8, ServiceKey6: 20, FwmarkKey: 8, Service: 72, Destination: 128, MarkRule: 576,
    Counts: 16, Counters: 64, Interface: 64, Schedule: 8, IcmpBucket: 8, Settings: 512, Event: 32,
    LocalityKey: 24, Locality: 144,
}
