//! Rules that give firewall marks, as map `MARKS` holds them.
//!
//! Writer: the daemon. Readers: the XDP program, while it opens a connection; a restarted daemon, which
//! finds everything of a rule here that a person wrote.

/// Ranges of ports that one list of a rule holds.
pub const MARK_PORTS: usize = 15;
/// Bytes of a comment.
pub const COMMENT: usize = 256;

/// A range of ports, host order; empty where `first` is above `last`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

/// A list of ports in which there is none.
pub const NO_PORTS: [PortRange; MARK_PORTS] = [PortRange { first: 1, last: 0 }; MARK_PORTS];

/// Bits of [`MarkRule::conditions`]: what a rule asks. The same bit shifted by
/// [`mark_conditions::NOT`] negates the answer.
pub mod mark_conditions {
    /// `destination`, `destination_mask`.
    pub const DESTINATION: u32 = 1;
    /// `source`, `source_mask`.
    pub const SOURCE: u32 = 1 << 1;
    /// `destination_first`, `destination_last`.
    pub const DESTINATION_RANGE: u32 = 1 << 2;
    /// `source_first`, `source_last`.
    pub const SOURCE_RANGE: u32 = 1 << 3;
    /// `protocol`.
    pub const PROTOCOL: u32 = 1 << 4;
    /// `destination_ports`, of the destination port.
    pub const DESTINATION_PORTS: u32 = 1 << 5;
    /// `source_ports`.
    pub const SOURCE_PORTS: u32 = 1 << 6;
    /// `mac`.
    pub const MAC: u32 = 1 << 7;
    /// `interface`, `interface_mask`.
    pub const INTERFACE: u32 = 1 << 8;
    /// `destination_ports`, of either port: instead of [`DESTINATION_PORTS`].
    pub const EITHER_PORT: u32 = 1 << 9;
    /// Distance of a condition's negation.
    pub const NOT: u32 = 16;
}

/// What a rule does with a packet that fits.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkTarget {
    /// Changes the mark and goes on.
    Mark = 0,
    /// Ends the walk (`RETURN`).
    Return = 1,
    /// Ends the walk (`ACCEPT`).
    Accept = 2,
}

/// Values of [`MarkRule::owner`].
pub mod mark_owner {
    /// An operator's command.
    pub const OPERATOR: u8 = 0;
    /// The configuration file.
    pub const CONFIGURATION: u8 = 1;
    /// `lbadm mark import`.
    pub const IMPORT: u8 = 2;
}

/// A rule that may give a mark: element of map `MARKS` (ARRAY, mmapable).
///
/// Addresses and masks are two words of the address as a number, high one first; of an IPv4 address the
/// four bytes are the highest. What is tested first lies in the first cache line.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkRule {
    /// [`mark_conditions`].
    pub conditions: u32,
    /// XORed into the mark (xt_mark: `mark = (mark & !mask) ^ value`).
    pub value: u32,
    /// Bits of the mark that are cleared before.
    pub mask: u32,
    /// IP protocol.
    pub protocol: u8,
    /// [`MarkTarget`].
    pub target: u8,
    /// [`mark_owner`].
    pub owner: u8,
    /// 0.
    pub _pad: u8,
    /// Destination network.
    pub destination: [u64; 2],
    /// Its mask; need not be contiguous.
    pub destination_mask: [u64; 2],
    /// MAC of the sender, first byte lowest, upper 16 bits 0.
    pub mac: u64,
    /// 0.
    pub _room: u64,
    /// Source network.
    pub source: [u64; 2],
    /// Its mask.
    pub source_mask: [u64; 2],
    /// First destination address.
    pub destination_first: [u64; 2],
    /// Last destination address.
    pub destination_last: [u64; 2],
    /// First source address.
    pub source_first: [u64; 2],
    /// Last source address.
    pub source_last: [u64; 2],
    /// Name of the interface a packet came in by ([`super::Interface::name`]).
    pub interface: [u64; 2],
    /// Which bytes of the name count (`eth+`).
    pub interface_mask: [u64; 2],
    /// Destination ports.
    pub destination_ports: [PortRange; MARK_PORTS],
    /// Source ports.
    pub source_ports: [PortRange; MARK_PORTS],
    /// 0.
    pub _more: u64,
    /// The comment, UTF-8, filled up with zeros. Only people read it.
    pub comment: [u8; COMMENT],
}

impl Default for MarkRule {
    /// Fits every packet and changes nothing.
    fn default() -> Self {
        Self {
            conditions: 0,
            value: 0,
            mask: 0,
            protocol: 0,
            target: MarkTarget::Mark as u8,
            owner: mark_owner::OPERATOR,
            _pad: 0,
            destination: [0; 2],
            destination_mask: [0; 2],
            mac: 0,
            _room: 0,
            source: [0; 2],
            source_mask: [0; 2],
            destination_first: [0; 2],
            destination_last: [0; 2],
            source_first: [0; 2],
            source_last: [0; 2],
            interface: [0; 2],
            interface_mask: [0; 2],
            destination_ports: NO_PORTS,
            source_ports: NO_PORTS,
            _more: 0,
            comment: [0; COMMENT],
        }
    }
}
