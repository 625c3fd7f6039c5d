//! Rules that give marks to and from the elements of map `MARKS`, and the addresses they concern.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::mark_conditions as ask;
use lb_common::abi::{self, COMMENT, MARK_PORTS, MARK_RULES, NO_PORTS, PortRange, mark_owner};
use lb_common::family::{bytes, words};

use crate::model::{
    AddressRange, InterfaceName, Mac, MarkOwner, MarkRule, MarkTarget, Network, OwnedMarkRule, PortSpan,
    Ports, Test,
};

/// Addresses of a rule that get bits of their own in the prefilter; a rule of more turns it off.
const MOST_ADDRESSES: u128 = 256;

/// First element of the area that the next list of a family is written to: not the one of the list that
/// begins at `current`, because packets read that one.
#[must_use]
pub const fn next_area(ipv6: bool, current: u32) -> u32 {
    let base = if ipv6 { 2 * MARK_RULES } else { 0 };
    if current == base { base + MARK_RULES } else { base }
}

/// An address as rules in the map have it.
fn address_words(address: IpAddr) -> [u64; 2] {
    let n = match address {
        IpAddr::V4(a) => u128::from(a.to_bits()) << 96,
        IpAddr::V6(a) => a.to_bits(),
    };
    [(n >> 64) as u64, n as u64]
}

fn address_of([high, low]: [u64; 2], ipv6: bool) -> IpAddr {
    let n = u128::from(high) << 64 | u128::from(low);
    if ipv6 { Ipv6Addr::from_bits(n).into() } else { Ipv4Addr::from_bits((n >> 96) as u32).into() }
}

fn port_ranges(ports: &Ports) -> [PortRange; MARK_PORTS] {
    let mut ranges = NO_PORTS;
    for (to, from) in ranges.iter_mut().zip(&ports.0) {
        *to = PortRange { first: from.first, last: from.last };
    }
    ranges
}

fn ports_of(ranges: &[PortRange; MARK_PORTS]) -> Ports {
    let used = ranges.iter().filter(|r| r.first <= r.last);
    Ports(used.map(|r| PortSpan { first: r.first, last: r.last }).collect())
}

/// A rule as the map holds it.
#[must_use]
pub fn mark_rule(owned: &OwnedMarkRule) -> abi::MarkRule {
    let rule = &owned.rule;
    let mut out = abi::MarkRule::default();
    let mut conditions = 0;
    let mut asked = |bit: u32, negated: bool| conditions |= if negated { bit | bit << ask::NOT } else { bit };
    if let Some(t) = &rule.destination {
        asked(ask::DESTINATION, t.negated);
        (out.destination, out.destination_mask) =
            (address_words(t.value.address), address_words(t.value.mask));
    }
    if let Some(t) = &rule.source {
        asked(ask::SOURCE, t.negated);
        (out.source, out.source_mask) = (address_words(t.value.address), address_words(t.value.mask));
    }
    if let Some(t) = &rule.destination_range {
        asked(ask::DESTINATION_RANGE, t.negated);
        (out.destination_first, out.destination_last) =
            (address_words(t.value.first), address_words(t.value.last));
    }
    if let Some(t) = &rule.source_range {
        asked(ask::SOURCE_RANGE, t.negated);
        (out.source_first, out.source_last) = (address_words(t.value.first), address_words(t.value.last));
    }
    if let Some(t) = &rule.protocol {
        asked(ask::PROTOCOL, t.negated);
        out.protocol = t.value;
    }
    if let Some(t) = &rule.mac {
        asked(ask::MAC, t.negated);
        let [a, b, c, d, e, f] = t.value.0;
        out.mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    }
    if let Some(t) = &rule.interface {
        asked(ask::INTERFACE, t.negated);
        let (name, mask) = t.value.bytes();
        (out.interface, out.interface_mask) = (words(name), words(mask));
    }
    for (ports, bit) in
        [(&rule.destination_ports, ask::DESTINATION_PORTS), (&rule.either_ports, ask::EITHER_PORT)]
    {
        if let Some(t) = ports {
            asked(bit, t.negated);
            out.destination_ports = port_ranges(&t.value);
        }
    }
    if let Some(t) = &rule.source_ports {
        asked(ask::SOURCE_PORTS, t.negated);
        out.source_ports = port_ranges(&t.value);
    }
    out.conditions = conditions;
    let (target, value, mask) = match rule.target {
        MarkTarget::Mark { value, mask } => (abi::MarkTarget::Mark, value, mask),
        MarkTarget::Return => (abi::MarkTarget::Return, 0, 0),
        MarkTarget::Accept => (abi::MarkTarget::Accept, 0, 0),
    };
    (out.target, out.value, out.mask) = (target as u8, value, mask);
    out.owner = match owned.owner {
        MarkOwner::Operator => mark_owner::OPERATOR,
        MarkOwner::Configuration => mark_owner::CONFIGURATION,
        MarkOwner::Import => mark_owner::IMPORT,
    };
    for (to, from) in out.comment.iter_mut().zip(rule.comment.bytes().take(COMMENT - 1)) {
        *to = from;
    }
    out
}

/// The inverse of [`mark_rule`]. Numbers that no lbd writes read as their commonest.
#[must_use]
pub fn mark_rule_of(rule: &abi::MarkRule, ipv6: bool) -> OwnedMarkRule {
    fn test<T>(conditions: u32, bit: u32, value: impl FnOnce() -> T) -> Option<Test<T>> {
        (conditions & bit != 0).then(|| Test { value: value(), negated: conditions & bit << ask::NOT != 0 })
    }
    let conditions = rule.conditions;
    let network =
        |address, mask| Network { address: address_of(address, ipv6), mask: address_of(mask, ipv6) };
    let range = |first, last| AddressRange { first: address_of(first, ipv6), last: address_of(last, ipv6) };
    let [a, b, c, d, e, f, ..] = rule.mac.to_le_bytes();
    let target = match rule.target {
        1 => MarkTarget::Return,
        2 => MarkTarget::Accept,
        _ => MarkTarget::Mark { value: rule.value, mask: rule.mask },
    };
    let comment: Vec<u8> = rule.comment.iter().copied().take_while(|b| *b != 0).collect();
    let owner = match rule.owner {
        mark_owner::CONFIGURATION => MarkOwner::Configuration,
        mark_owner::IMPORT => MarkOwner::Import,
        _ => MarkOwner::Operator,
    };
    let rule = MarkRule {
        ipv6,
        source: test(conditions, ask::SOURCE, || network(rule.source, rule.source_mask)),
        destination: test(conditions, ask::DESTINATION, || network(rule.destination, rule.destination_mask)),
        interface: test(conditions, ask::INTERFACE, || {
            InterfaceName::from_bytes(bytes(rule.interface), bytes(rule.interface_mask))
        }),
        protocol: test(conditions, ask::PROTOCOL, || rule.protocol),
        source_ports: test(conditions, ask::SOURCE_PORTS, || ports_of(&rule.source_ports)),
        destination_ports: test(conditions, ask::DESTINATION_PORTS, || ports_of(&rule.destination_ports)),
        either_ports: test(conditions, ask::EITHER_PORT, || ports_of(&rule.destination_ports)),
        source_range: test(conditions, ask::SOURCE_RANGE, || range(rule.source_first, rule.source_last)),
        destination_range: test(conditions, ask::DESTINATION_RANGE, || {
            range(rule.destination_first, rule.destination_last)
        }),
        mac: test(conditions, ask::MAC, || Mac([a, b, c, d, e, f])),
        target,
        comment: String::from_utf8_lossy(&comment).into_owned(),
    };
    OwnedMarkRule { rule, owner }
}

/// Every destination address that a rule concerns, `None` where they are too many for the prefilter.
#[must_use]
pub fn mark_addresses(rule: &MarkRule) -> Option<Vec<IpAddr>> {
    let number = |address: IpAddr| match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    };
    let highest = if rule.ipv6 { u128::MAX } else { u128::from(u32::MAX) };
    let (mut first, mut last) = (0, highest);
    // The narrowest span that has them all: a contrary, and a mask with holes, narrow nothing.
    if let Some(t) = rule.destination.filter(|t| !t.negated)
        && t.value.prefix().is_some()
    {
        let low = number(t.value.address);
        (first, last) = (low, low | !number(t.value.mask) & highest);
    }
    if let Some(t) = rule.destination_range.filter(|t| !t.negated) {
        (first, last) = (first.max(number(t.value.first)), last.min(number(t.value.last)));
    }
    if first > last {
        return Some(Vec::new());
    }
    if last - first >= MOST_ADDRESSES {
        return None;
    }
    let ipv6 = rule.ipv6;
    let address = |n: u128| {
        if ipv6 { Ipv6Addr::from_bits(n).into() } else { Ipv4Addr::from_bits(n as u32).into() }
    };
    Some((first..=last).map(address).collect())
}

#[cfg(test)]
mod tests;
