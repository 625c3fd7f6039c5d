//! Rules that give packets firewall marks: iptables' mangle table, chain PREROUTING.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod values;

pub use self::values::{AddressRange, InterfaceName, Mac, Network, PortSpan, Ports, Wrong};

/// Whose a rule is: a reload and an import change only their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkOwner {
    /// The configuration file.
    Configuration,
    /// An operator's command.
    Operator,
    /// `lbadm mark import`.
    Import,
}

impl fmt::Display for MarkOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "configuration",
            Self::Operator => "operator",
            Self::Import => "import",
        })
    }
}

/// Something a rule asks of a packet, or its contrary (`!`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Test<T> {
    /// What is asked.
    #[serde(rename = "is")]
    pub value: T,
    /// Whether a packet fits that is not so.
    #[serde(default, rename = "not", skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
}

impl<T> Test<T> {
    /// Asks for it.
    pub const fn is(value: T) -> Self {
        Self { value, negated: false }
    }

    /// Asks for its contrary.
    pub const fn not(value: T) -> Self {
        Self { value, negated: true }
    }
}

/// What happens to a packet that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkTarget {
    /// Its mark becomes `(mark & !mask) ^ value`, and the walk goes on (iptables' `--set-xmark`).
    Mark {
        /// XORed into the mark.
        value: u32,
        /// Bits that are cleared before.
        mask: u32,
    },
    /// The walk ends (`-j RETURN`).
    Return,
    /// The walk ends (`-j ACCEPT`).
    Accept,
}

impl MarkTarget {
    /// Replaces the whole mark (`--set-mark`).
    #[must_use]
    pub const fn set(mark: u32) -> Self {
        Self::Mark { value: mark, mask: u32::MAX }
    }

    /// Whether a packet can have this mark straight after it.
    #[must_use]
    pub const fn can_give(self, mark: u32) -> bool {
        match self {
            // Outside of the mask any bit may have been set before.
            Self::Mark { value, mask } => mark & mask == value & mask,
            Self::Return | Self::Accept => false,
        }
    }
}

/// A rule that gives packets a firewall mark. A packet fits where everything fits that the rule asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkRule {
    /// Whether it is in the IPv6 list.
    #[serde(default)]
    pub ipv6: bool,
    /// Source network (`-s`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Test<Network>>,
    /// Destination network (`-d`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Test<Network>>,
    /// Interface it came in by (`-i`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Test<InterfaceName>>,
    /// IP protocol (`-p`), by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Test<u8>>,
    /// Source ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<Test<Ports>>,
    /// Destination ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<Test<Ports>>,
    /// Ports of which either is one (`--ports`); not together with `destination_ports`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub either_ports: Option<Test<Ports>>,
    /// Range of source addresses (`--src-range`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_range: Option<Test<AddressRange>>,
    /// Range of destination addresses (`--dst-range`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_range: Option<Test<AddressRange>>,
    /// MAC of the sender (`--mac-source`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Test<Mac>>,
    /// What happens to a packet that fits.
    pub target: MarkTarget,
    /// What people say about it (`-m comment --comment`), empty without; at most 255 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl MarkRule {
    /// A rule that every packet of a family fits.
    #[must_use]
    pub const fn new(ipv6: bool, target: MarkTarget) -> Self {
        Self {
            ipv6,
            source: None,
            destination: None,
            interface: None,
            protocol: None,
            source_ports: None,
            destination_ports: None,
            either_ports: None,
            source_range: None,
            destination_range: None,
            mac: None,
            target,
            comment: String::new(),
        }
    }

    /// What cannot be as it stands, in words; `None` where all is well.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let six = |a: &IpAddr| a.is_ipv6();
        let networks = [&self.source, &self.destination].into_iter().flatten().map(|t| six(&t.value.address));
        let ranges =
            [&self.source_range, &self.destination_range].into_iter().flatten().map(|t| six(&t.value.first));
        if networks.chain(ranges).any(|six| six != self.ipv6) {
            return Some("its addresses are not all of its address family".to_owned());
        }
        if self.destination_ports.is_some() && self.either_ports.is_some() {
            return Some("`--ports` and `--dports` cannot stand together".to_owned());
        }
        let ports = [&self.source_ports, &self.destination_ports, &self.either_ports];
        if ports.into_iter().flatten().any(|t| t.value.0.is_empty() || t.value.0.len() > Ports::MOST) {
            return Some(format!("a list of ports has 1 to {} of them", Ports::MOST));
        }
        if self.comment.len() >= lb_common::abi::COMMENT || self.comment.contains(['\0', '\n']) {
            return Some(format!(
                "its comment is longer than {} bytes or has a line break in it",
                lb_common::abi::COMMENT - 1
            ));
        }
        None
    }
}

/// A rule of the list, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedMarkRule {
    /// The rule.
    pub rule: MarkRule,
    /// Whose it is.
    pub owner: MarkOwner,
}

/// Names of IP protocols (Debian's /etc/protocols) that rules are written with.
const PROTOCOLS: [(&str, u8); 11] = [
    ("tcp", 6),
    ("udp", 17),
    ("sctp", 132),
    ("icmp", 1),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("udplite", 136),
    ("dccp", 33),
    ("esp", 50),
    ("ah", 51),
    ("gre", 47),
];

/// An IP protocol by name or number; 0 is `all`.
#[must_use]
pub fn protocol_number(text: &str) -> Option<u8> {
    if text.eq_ignore_ascii_case("all") {
        return Some(0);
    }
    let named = PROTOCOLS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    named.map(|(_, n)| *n).or_else(|| u8::from_str(text).ok())
}

/// An IP protocol as rules are written with it.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    let named = PROTOCOLS.iter().find(|(_, n)| *n == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests;
