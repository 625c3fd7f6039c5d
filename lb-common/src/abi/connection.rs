//! Connection entries and persistence templates: the set-associative tables of decision 1.
//!
//! Maps `CONNECTIONS4`/`CONNECTIONS6` (and `TEMPLATES4`/`TEMPLATES6`): mmapable ARRAYs of buckets, the
//! overflow buckets last ([`crate::flow_table::elements`]).
//! Writers: the XDP program on every CPU, and the daemon's sweep through its mapping, both by the
//! protocol of [`crate::flow_table`]. Readers: both.

/// Entries of a bucket.
pub const WAYS: u32 = 4;

/// Key of an IPv4 flow: the addresses and ports as they stand in the packet.
///
/// `addresses` = source | destination << 32 and `rest` = source port | destination port << 16 |
/// protocol << 32, each field loaded from its network bytes as they lie (no swap). A template of a persistence engine
/// has a hash in some of it ([`crate::family::Family::engine`]).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowKey4 {
    /// Source and destination address.
    pub addresses: u64,
    /// Ports and protocol.
    pub rest: u64,
}

/// Key of an IPv6 flow, built like [`FlowKey4`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowKey6 {
    /// Source address, as two words of its bytes as they lie.
    pub source: [u64; 2],
    /// Destination address.
    pub destination: [u64; 2],
    /// Ports and protocol.
    pub rest: u64,
}

/// Bits of an entry's `flags`.
pub mod connection_flags {
    /// The entry is the reply direction of a NAT connection; state and counts are its peer's.
    pub const REPLY: u16 = 1;
    /// The reply entry's next hop is known (`link` holds it).
    pub const HOP_KNOWN: u16 = 2;
    /// The connection is controlled by the template that `link` names.
    pub const CONTROLLED: u16 = 4;
    /// The entry is a persistence template.
    pub const TEMPLATE: u16 = 8;
    /// The entry of a NAT connection: `peer` is its reply entry.
    pub const MASQ: u16 = 16;
    /// The template is of a service with one-packet scheduling: it never has connections.
    pub const ONE_PACKET: u16 = 32;
}

/// One IPv4 connection entry, one cache line.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Default)]
pub struct Connection4 {
    /// State word ([`crate::flow_table::Word`]): status, protocol state, generation.
    pub word: u32,
    /// When the last packet came, ticks (low 32 bits of the kernel's jiffies).
    pub last_seen: u32,
    /// Key.
    pub key: FlowKey4,
    /// Destination id.
    pub destination: u32,
    /// Timeout of the present state, ticks.
    pub timeout: u32,
    /// Slot index of the other direction's entry, [`super::NONE`] without NAT. Of a template: its own
    /// slot.
    pub peer: u32,
    /// Generation of the peer when the pair was made.
    pub peer_generation: u16,
    /// [`connection_flags`].
    pub flags: u16,
    /// Reply entry: the virtual address; forward entry: the destination's address (as listed).
    pub address: [u8; 4],
    /// Reply entry: the virtual port; forward entry: the destination's port. Network order.
    pub port: [u8; 2],
    /// Reply entry: low half of [`super::Settings::route_generation`] when `link` was found.
    pub route_generation: u16,
    /// Reply entry: next hop towards the client ([`super::Hop`]); without [`connection_flags::HOP_KNOWN`]
    /// the sender of its first packet. Forward entry: template slot (low
    /// half) and its generation (bits 32 to 47). Template of a persistence engine: the hash in its key.
    pub link: u64,
    /// Way 0 only, of the bucket as a whole: where else its keys live ([`crate::flow_table::gate`]).
    pub gate: u32,
    /// Firewall mark of the service. Of a template: its number of connections.
    pub mark: u32,
}

/// One IPv6 connection entry, two cache lines; fields as in [`Connection4`].
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Default)]
pub struct Connection6 {
    /// As [`Connection4::word`].
    pub word: u32,
    /// As [`Connection4::last_seen`].
    pub last_seen: u32,
    /// Key.
    pub key: FlowKey6,
    /// As [`Connection4::destination`].
    pub destination: u32,
    /// As [`Connection4::timeout`].
    pub timeout: u32,
    /// As [`Connection4::peer`].
    pub peer: u32,
    /// As [`Connection4::peer_generation`].
    pub peer_generation: u16,
    /// [`connection_flags`].
    pub flags: u16,
    /// As [`Connection4::address`].
    pub address: [u8; 16],
    /// As [`Connection4::port`].
    pub port: [u8; 2],
    /// As [`Connection4::route_generation`].
    pub route_generation: u16,
    /// As [`Connection4::gate`].
    pub gate: u32,
    /// As [`Connection4::link`].
    pub link: u64,
    /// As [`Connection4::mark`].
    pub mark: u32,
    /// Not used.
    pub _reserved: [u32; 7],
}

/// A bucket of the IPv4 table.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket4 {
    /// Its entries.
    pub ways: [Connection4; WAYS as usize],
}

/// A bucket of the IPv6 table.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket6 {
    /// Its entries.
    pub ways: [Connection6; WAYS as usize],
}
