//! What rules compare packets with: each is written and read as iptables has it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not what it should be, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

macro_rules! as_text {
    ($($t:ty),*) => { $(
        impl TryFrom<String> for $t {
            type Error = Wrong;
            fn try_from(text: String) -> Result<Self, Wrong> {
                text.parse()
            }
        }
        impl From<$t> for String {
            fn from(value: $t) -> Self {
                value.to_string()
            }
        }
    )* };
}
as_text!(Network, AddressRange, InterfaceName, Mac, PortSpan);

/// A network: `192.0.2.0/24`, `192.0.2.1`, `192.0.2.0/255.255.255.0`. The mask need not be contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    /// First address: masked.
    pub address: IpAddr,
    /// Mask, of the same family.
    pub mask: IpAddr,
}

/// An address as a number, IPv4 in the highest 32 bits.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()) << 96,
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn address(bits: u128, ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::from_bits(bits).into() } else { Ipv4Addr::from_bits((bits >> 96) as u32).into() }
}

impl Network {
    /// A network by address and prefix length; the address is masked.
    #[must_use]
    pub fn new(first: IpAddr, prefix: u8) -> Self {
        let prefix = u32::from(prefix).min(if first.is_ipv6() { 128 } else { 32 });
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        Self::masked(first, mask)
    }

    /// As [`Self::new`], by mask: its highest 32 bits for IPv4.
    #[must_use]
    pub fn masked(first: IpAddr, mask: u128) -> Self {
        let ipv6 = first.is_ipv6();
        Self { address: address(bits(first) & mask, ipv6), mask: address(mask, ipv6) }
    }

    /// The prefix length, `None` where the mask has none.
    #[must_use]
    pub fn prefix(&self) -> Option<u32> {
        let mask = bits(self.mask);
        let prefix = mask.leading_ones();
        (u128::MAX.checked_shl(128 - prefix).unwrap_or(0) == mask).then_some(prefix)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            Some(prefix) => write!(f, "{}/{prefix}", self.address),
            None => write!(f, "{}/{}", self.address, self.mask),
        }
    }
}

impl FromStr for Network {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (first, mask) = text.split_once('/').map_or((text, None), |(a, m)| (a, Some(m)));
        let Ok(first) = first.parse::<IpAddr>() else {
            return Err(Wrong(format!("`{first}` is no address")));
        };
        let width: u8 = if first.is_ipv6() { 128 } else { 32 };
        let Some(mask) = mask else { return Ok(Self::new(first, width)) };
        if let Ok(prefix) = mask.parse::<u8>()
            && prefix <= width
        {
            return Ok(Self::new(first, prefix));
        }
        match mask.parse::<IpAddr>() {
            Ok(mask) if mask.is_ipv6() == first.is_ipv6() => Ok(Self::masked(first, bits(mask))),
            Ok(_) | Err(_) => {
                Err(Wrong(format!("`{mask}` is no prefix length from 0 to {width} and no mask")))
            }
        }
    }
}

/// A range of addresses: `192.0.2.1-192.0.2.9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    /// First address.
    pub first: IpAddr,
    /// Last address, of the same family, not below the first.
    pub last: IpAddr,
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddressRange {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        // One address is a range of one.
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<IpAddr>(), last.parse::<IpAddr>()) {
            (Ok(first), Ok(last)) if first.is_ipv6() == last.is_ipv6() && bits(first) <= bits(last) => {
                Ok(Self { first, last })
            }
            _ => Err(Wrong(format!("`{text}` is no range of addresses like 192.0.2.1-192.0.2.9"))),
        }
    }
}

/// Name of an interface; with `+` at the end every one whose name begins so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName {
    /// The name without `+`, filled up with zeros.
    name: [u8; 16],
    /// Whether only its beginning counts.
    prefix: bool,
}

impl InterfaceName {
    /// Bytes of a name without the terminating 0 (IFNAMSIZ of include/uapi/linux/if.h).
    pub const LONGEST: usize = 15;

    /// Name and mask of what of it counts: bytes in the order of memory.
    #[must_use]
    pub fn bytes(&self) -> ([u8; 16], [u8; 16]) {
        let mut mask = [0xff; 16];
        if self.prefix {
            for (mask, byte) in mask.iter_mut().zip(self.name) {
                if byte == 0 {
                    *mask = 0;
                }
            }
        }
        (self.name, mask)
    }

    /// The inverse of [`Self::bytes`]; the bytes that do not count are taken for zeros.
    #[must_use]
    pub fn from_bytes(name: [u8; 16], mask: [u8; 16]) -> Self {
        let mut kept = name;
        for (byte, mask) in kept.iter_mut().zip(mask) {
            *byte &= mask;
        }
        Self { name: kept, prefix: mask != [0xff; 16] }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.name.iter().position(|b| *b == 0).unwrap_or(self.name.len());
        let name = self.name.get(..length).unwrap_or_default();
        write!(f, "{}{}", String::from_utf8_lossy(name), if self.prefix { "+" } else { "" })
    }
}

impl FromStr for InterfaceName {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (plain, prefix) = text.strip_suffix('+').map_or((text, false), |name| (name, true));
        let wrong = |why: &str| Err(Wrong(format!("`{text}` is no name of an interface: {why}")));
        if plain.len() > Self::LONGEST {
            return wrong("they have at most 15 bytes");
        }
        if text.is_empty() || plain.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return wrong("they have neither blanks nor `/`");
        }
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().zip(plain.bytes()) {
            *to = from;
        }
        Ok(Self { name, prefix })
    }
}

/// A MAC: `02:00:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let parts: Option<Vec<u8>> = text
            .split(':')
            .map(|part| (1..=2).contains(&part.len()).then(|| u8::from_str_radix(part, 16).ok())?)
            .collect();
        match parts.and_then(|parts| <[u8; 6]>::try_from(parts).ok()) {
            Some(mac) => Ok(Self(mac)),
            None => Err(Wrong(format!("`{text}` is no MAC address like 02:00:00:00:00:01"))),
        }
    }
}

/// A port, or a range of ports: `80`, `1000:2000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortSpan {
    /// First port.
    pub first: u16,
    /// Last port, not below the first.
    pub last: u16,
}

impl PortSpan {
    /// One port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl fmt::Display for PortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}:{}", self.first, self.last) }
    }
}

impl FromStr for PortSpan {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(Wrong(format!("`{text}` is no port and no range of ports like 1000:2000"))),
        }
    }
}

/// A list of ports: 1 to [`Ports::MOST`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ports(pub Vec<PortSpan>);

impl Ports {
    /// Ports and ranges in one list.
    pub const MOST: usize = lb_common::abi::MARK_PORTS;
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, span) in self.0.iter().enumerate() {
            write!(f, "{}{span}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
