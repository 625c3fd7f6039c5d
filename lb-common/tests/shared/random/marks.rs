//! Rules that give marks, with every condition there is.

use lb_common::abi::mark_conditions::{
    DESTINATION, DESTINATION_PORTS, DESTINATION_RANGE, EITHER_PORT, INTERFACE, MAC, NOT, PROTOCOL, SOURCE,
    SOURCE_PORTS, SOURCE_RANGE,
};
use lb_common::abi::{MarkRule, MarkTarget, NO_PORTS, PortRange};
use lb_common::conn::protocol;
use lb_common::testing::{mark_words, name_words};

use super::super::frames::CLIENT_MAC;
use super::site::wide;
use super::{CLIENT_PORTS, CLIENTS4, CLIENTS6, PORTS, Random, VIRTUAL4, VIRTUAL6, ip};

/// A list of rules of an address family, some of which give these marks.
pub(crate) fn rules(random: &mut Random, ipv6: bool, marks: &[u32]) -> Vec<MarkRule> {
    let count = random.one_of(&[0, 1, 1, 2, 3, 5, 12, 70]);
    (0..count).map(|_| rule(random, ipv6, marks)).collect()
}

/// One rule. Most conditions are not there, or hold of many packets: else no packet would ever fit.
pub(crate) fn rule(random: &mut Random, ipv6: bool, marks: &[u32]) -> MarkRule {
    let (clients, virtuals) = if ipv6 { (&CLIENTS6, &VIRTUAL6) } else { (&CLIENTS4, &VIRTUAL4) };
    let (value, mask) = value(random, marks);
    let mut rule = MarkRule { value, mask, ..MarkRule::default() };
    if random.once_in(12) {
        rule.target = random.one_of(&[MarkTarget::Return, MarkTarget::Accept]) as u8;
    }
    let mut ask = |random: &mut Random, condition: u32, seldom: u32| {
        let asked = random.once_in(seldom);
        if asked {
            rule.conditions |= condition;
            if random.once_in(4) {
                rule.conditions |= condition << NOT;
            }
        }
        asked
    };
    let asked = [
        ask(random, DESTINATION, 2),
        ask(random, SOURCE, 5),
        ask(random, DESTINATION_RANGE, 6),
        ask(random, SOURCE_RANGE, 6),
        ask(random, PROTOCOL, 4),
        ask(random, MAC, 6),
        ask(random, INTERFACE, 6),
        ask(random, SOURCE_PORTS, 6),
    ];
    let either = random.once_in(4);
    ask(random, if either { EITHER_PORT } else { DESTINATION_PORTS }, 3);
    if asked[0] {
        (rule.destination, rule.destination_mask) = network(random, virtuals);
    }
    if asked[1] {
        (rule.source, rule.source_mask) = network(random, clients);
    }
    (rule.destination_first, rule.destination_last) = range(random, virtuals);
    (rule.source_first, rule.source_last) = range(random, clients);
    rule.protocol = random.one_of(&[protocol::TCP, protocol::TCP, protocol::UDP, 1]);
    let [a, b, c, d, e, f] = CLIENT_MAC;
    rule.mac = u64::from_le_bytes([a, b, c, d, e, f ^ u8::from(random.once_in(3)), 0, 0]);
    rule.interface = name_words(random.one_of(&["eth1", "eth1", "eth", "eth7", "lo"]));
    let bytes = random.one_of(&[16, 16, 3, 0]);
    let mut mask = [0; 16];
    mask[..bytes].fill(0xff);
    rule.interface_mask = lb_common::family::words(mask);
    if bytes < 16 {
        // As the daemon writes it: the name without what does not count.
        for (name, mask) in rule.interface.iter_mut().zip(rule.interface_mask) {
            *name &= mask;
        }
    }
    rule.destination_ports = ports(random, &PORTS);
    rule.source_ports = ports(random, &CLIENT_PORTS);
    rule
}

/// What a rule XORs into the mark, and what it clears before.
fn value(random: &mut Random, marks: &[u32]) -> (u32, u32) {
    let mark = if marks.is_empty() || random.once_in(5) { random.below(4) } else { random.one_of(marks) };
    match random.below(8) {
        0 => (mark, mark),
        1 => (0, !mark),
        2 => (mark, random.next() as u32),
        3 => (mark, 0),
        _ => (mark, u32::MAX),
    }
}

/// A network around an address, now and then with a mask that is none.
fn network(random: &mut Random, addresses: &[&str]) -> ([u64; 2], [u64; 2]) {
    let address = ip(random.one_of(addresses));
    let prefix = random.one_of(if address.is_ipv4() { &[32, 32, 24, 0, 31] } else { &[128, 128, 48, 0, 65] });
    let mut mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
    if random.once_in(8) {
        mask = 0xff00_00ff << 96 | 0xff;
    }
    let address = u128::from_be_bytes(wide(address)) & mask;
    (mark_words(address.to_be_bytes()), mark_words(mask.to_be_bytes()))
}

fn range(random: &mut Random, addresses: &[&str]) -> ([u64; 2], [u64; 2]) {
    let mut two = [random.one_of(addresses), random.one_of(addresses)].map(|a| mark_words(wide(ip(a))));
    two.sort_unstable();
    (two[0], two[1])
}

fn ports(random: &mut Random, of: &[u16]) -> [PortRange; 15] {
    let mut ports = NO_PORTS;
    let count = random.one_of(&[1, 1, 2, 3, 15]);
    for range in ports.iter_mut().take(count) {
        let first = random.one_of(of);
        let last = if random.once_in(4) { first.saturating_add(random.below(400) as u16) } else { first };
        *range = PortRange { first, last };
    }
    ports
}
