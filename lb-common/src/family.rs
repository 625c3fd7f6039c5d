//! IPv4 and IPv6 behind one trait: what the decision needs to know of an address family.

use crate::abi::{FlowKey4, FlowKey6};

/// An address family.
pub trait Family: Copy + 'static {
    /// An address as its bytes lie in the packet.
    type Address: Copy + PartialEq + core::fmt::Debug;
    /// Key of a flow.
    type Key: Copy + PartialEq + core::fmt::Debug;
    /// 4 or 6.
    const NUMBER: u8;

    /// Key of a flow; ports as raw network bytes in native words.
    #[inline(always)]
    fn key(source: Self::Address, destination: Self::Address, ports: Ports, protocol: u8) -> Self::Key {
        Self::key_by_word(source, destination, ports.word(), protocol)
    }
    /// The same with both ports in one word, as they lie in the packet.
    fn key_by_word(source: Self::Address, destination: Self::Address, ports: u32, protocol: u8) -> Self::Key;
    /// The key of a template of a persistence engine, whose packets `hash` tells from others of the same client: never
    /// an ordinary key. Its own inverse.
    fn engine(key: &Self::Key, hash: u64) -> Self::Key;
    /// Whether a key is one of [`Family::engine`].
    fn is_engine(key: &Self::Key) -> bool;
    /// Protocol of a key.
    fn protocol(key: &Self::Key) -> u8;
    /// The address in the first bytes of sixteen.
    fn wide(address: Self::Address) -> [u8; 16];
    /// The inverse of [`Family::wide`].
    fn narrow(wide: &[u8; 16]) -> Self::Address;
    /// Folded to 32 bits, bytes as they lie (XOR of the words of an IPv6 address).
    fn fold(address: Self::Address) -> u32;
    /// Masked by a netmask in the same form as [`Family::wide`].
    fn masked(address: Self::Address, mask: &[u8; 16]) -> Self::Address;
    /// A firewall mark in the place of an address (templates): 3 is 0.0.0.3 or ::3.
    fn from_mark(mark: u32) -> Self::Address;
    /// Whether ICMP errors may be sent to it (unicast, not unspecified).
    fn is_unicast(address: Self::Address) -> bool;
    /// Hash of a key.
    fn hash(key: &Self::Key, seed: &[u64; 4]) -> u64;
}

/// Source and destination port, bytes as they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Ports {
    /// Source port.
    pub source: [u8; 2],
    /// Destination port.
    pub destination: [u8; 2],
}

impl Ports {
    /// Ports from host-order numbers.
    #[must_use]
    pub const fn new(source: u16, destination: u16) -> Self {
        Self { source: source.to_be_bytes(), destination: destination.to_be_bytes() }
    }

    /// Ports from the word they are in the packet.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        let [a, b, c, d] = word.to_ne_bytes();
        Self { source: [a, b], destination: [c, d] }
    }

    /// The inverse of [`Ports::from_word`].
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        let ([a, b], [c, d]) = (self.source, self.destination);
        u32::from_ne_bytes([a, b, c, d])
    }
}

/// Last word of a key.
#[inline(always)]
const fn rest(ports: u32, protocol: u8) -> u64 {
    ports as u64 | (protocol as u64) << 32
}

/// Bit of the last word of a key: it is one of a persistence engine.
const ENGINE_KEY: u64 = 1 << 56;

/// IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V4;

/// IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct V6;

impl Family for V4 {
    type Address = [u8; 4];
    type Key = FlowKey4;
    const NUMBER: u8 = 4;

    #[inline(always)]
    fn key_by_word(source: [u8; 4], destination: [u8; 4], ports: u32, protocol: u8) -> FlowKey4 {
        let addresses =
            u64::from(u32::from_le_bytes(source)) | u64::from(u32::from_le_bytes(destination)) << 32;
        FlowKey4 { addresses, rest: rest(ports, protocol) }
    }
    #[inline(always)]
    fn engine(key: &FlowKey4, hash: u64) -> FlowKey4 {
        // In the client's address, its port, which a template has not, and above the protocol.
        let rest = (hash >> 32) & 0xffff | hash >> 48 << 40 | ENGINE_KEY;
        FlowKey4 { addresses: key.addresses ^ hash & 0xffff_ffff, rest: key.rest ^ rest }
    }
    #[inline(always)]
    fn is_engine(key: &FlowKey4) -> bool {
        key.rest & ENGINE_KEY != 0
    }
    #[inline(always)]
    fn protocol(key: &FlowKey4) -> u8 {
        (key.rest >> 32) as u8
    }
    #[inline(always)]
    fn wide(a: [u8; 4]) -> [u8; 16] {
        let [a, b, c, d] = a;
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }
    #[inline(always)]
    fn narrow(w: &[u8; 16]) -> [u8; 4] {
        let [a, b, c, d, ..] = *w;
        [a, b, c, d]
    }
    #[inline(always)]
    fn fold(a: [u8; 4]) -> u32 {
        u32::from_le_bytes(a)
    }
    #[inline(always)]
    fn masked(a: [u8; 4], mask: &[u8; 16]) -> [u8; 4] {
        (u32::from_le_bytes(a) & u32::from_le_bytes(Self::narrow(mask))).to_le_bytes()
    }
    #[inline(always)]
    fn from_mark(mark: u32) -> [u8; 4] {
        mark.to_be_bytes()
    }
    #[inline(always)]
    fn is_unicast(a: [u8; 4]) -> bool {
        let [first, ..] = a;
        first != 0 && first < 224 && first != 127
    }
    #[inline(always)]
    fn hash(key: &FlowKey4, seed: &[u64; 4]) -> u64 {
        crate::hash::flow4(key.addresses, key.rest, seed)
    }
}

/// The two native words of sixteen bytes.
#[inline(always)]
#[must_use]
pub const fn words(a: [u8; 16]) -> [u64; 2] {
    let v = u128::from_le_bytes(a);
    [v as u64, (v >> 64) as u64]
}

/// The inverse of [`words`].
#[inline(always)]
#[must_use]
pub const fn bytes(w: [u64; 2]) -> [u8; 16] {
    let [a, b] = w;
    ((a as u128) | (b as u128) << 64).to_le_bytes()
}

impl Family for V6 {
    type Address = [u64; 2];
    type Key = FlowKey6;
    const NUMBER: u8 = 6;

    #[inline(always)]
    fn key_by_word(source: [u64; 2], destination: [u64; 2], ports: u32, protocol: u8) -> FlowKey6 {
        FlowKey6 { source, destination, rest: rest(ports, protocol) }
    }
    #[inline(always)]
    fn engine(key: &FlowKey6, hash: u64) -> FlowKey6 {
        let [a, b] = key.source;
        let source = [a ^ hash, b ^ hash.rotate_left(32)];
        FlowKey6 { source, destination: key.destination, rest: key.rest ^ ENGINE_KEY }
    }
    #[inline(always)]
    fn is_engine(key: &FlowKey6) -> bool {
        key.rest & ENGINE_KEY != 0
    }
    #[inline(always)]
    fn protocol(key: &FlowKey6) -> u8 {
        (key.rest >> 32) as u8
    }
    #[inline(always)]
    fn wide(a: [u64; 2]) -> [u8; 16] {
        bytes(a)
    }
    #[inline(always)]
    fn narrow(w: &[u8; 16]) -> [u64; 2] {
        words(*w)
    }
    #[inline(always)]
    fn fold(a: [u64; 2]) -> u32 {
        let [a, b] = a;
        let x = a ^ b;
        (x ^ x >> 32) as u32
    }
    #[inline(always)]
    fn masked(a: [u64; 2], mask: &[u8; 16]) -> [u64; 2] {
        let [a, b] = a;
        let [m, n] = words(*mask);
        [a & m, b & n]
    }
    #[inline(always)]
    fn from_mark(mark: u32) -> [u64; 2] {
        [0, u64::from(mark.swap_bytes()) << 32]
    }
    #[inline(always)]
    fn is_unicast(a: [u64; 2]) -> bool {
        let [a, b] = a;
        (a as u8) != 0xff && (a | b) != 0
    }
    #[inline(always)]
    fn hash(key: &FlowKey6, seed: &[u64; 4]) -> u64 {
        crate::hash::flow6(key.source, key.destination, key.rest, seed)
    }
}
