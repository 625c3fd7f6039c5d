//! Which virtual service a packet belongs to: firewall mark, exact, FTP, every port.

use crate::abi::mark_conditions::{
    DESTINATION, DESTINATION_PORTS, DESTINATION_RANGE, EITHER_PORT, INTERFACE, MAC as MAC_ADDRESS, NOT,
    PROTOCOL, SOURCE, SOURCE_PORTS, SOURCE_RANGE,
};
use crate::abi::{FwmarkKey, Hop, MarkRule, MarkTarget, Service, Settings, settings_flags};
use crate::conn::protocol;
use crate::direct::is_persistent;
use crate::family::Family;
use crate::parse::Packet;
use crate::tables::{Store, Tables, Walk};

/// Port of FTP control connections.
const FTP: [u8; 2] = 21_u16.to_be_bytes();
const ANY_PORT: [u8; 2] = [0, 0];

/// The service of a packet that `sender` sent (ip_vs_ctl.c: ip_vs_service_find).
#[inline(always)]
pub(crate) fn service<'a, F: Family, T: Store<F>>(
    tables: &'a T,
    settings: &Settings,
    packet: &Packet<F>,
    sender: Hop,
) -> Option<&'a Service> {
    let (first, rules) = settings.mark_list(F::NUMBER == 6);
    if rules != 0 {
        let mark = mark::<F, T>(tables, packet, sender.0, Settings::mark_word(first, rules));
        if mark != 0
            && let Some(service) = tables.fwmark(&FwmarkKey { mark, family: u32::from(F::NUMBER) })
        {
            return Some(service);
        }
    }
    let (address, port) = (packet.destination, packet.ports.destination);
    if let Some(service) = tables.service(address, port, packet.protocol) {
        return Some(service);
    }
    if settings.flags & settings_flags::FTP != 0 && packet.protocol == protocol::TCP {
        let n = u16::from_be_bytes(port);
        if (n == 20 || n >= 1024)
            && let Some(service) = tables.service(address, FTP, packet.protocol)
            && is_persistent(service)
        {
            return Some(service);
        }
    }
    if settings.flags & settings_flags::ANY_PORT != 0 {
        return tables.service(address, ANY_PORT, packet.protocol);
    }
    None
}

/// A packet on its way through the rules that give marks (iptables: mangle, PREROUTING): each rule that fits changes
/// the mark and the walk goes on, until one says that it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    /// First element of the list.
    first: u32,
    /// The mark so far.
    mark: u32,
    destination: [u64; 2],
    source: [u64; 2],
    /// Name of the interface it came in by.
    interface: [u64; 2],
    /// MAC of its sender.
    mac: u64,
    destination_port: u16,
    source_port: u16,
    protocol: u8,
}

impl Walk for Marks {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let Some(rule) = tables.mark_rule(self.first.wrapping_add(i)) else { return true };
        if fits(self, rule) == 0 {
            return false;
        }
        // xt_mark.c: mark_tg.
        self.mark = self.mark & !rule.mask ^ rule.value;
        rule.target != MarkTarget::Mark as u8
    }
}

/// An address as a number in two words, high one first.
#[inline(always)]
fn number<F: Family>(address: F::Address) -> [u64; 2] {
    let n = u128::from_be_bytes(F::wide(address));
    [(n >> 64) as u64, n as u64]
}

/// The mark of a packet, 0 without. Not inlined: a stack frame of its own.
#[inline(never)]
fn mark<F: Family, T: Store<F>>(tables: &T, packet: &Packet<F>, sender: u64, list: u64) -> u32 {
    let sender = Hop(sender);
    let mut marks = Marks {
        first: (list >> 32) as u32,
        mark: 0,
        destination: number::<F>(packet.destination),
        source: number::<F>(packet.source),
        interface: tables.interface_at(sender.interface()).map_or([0; 2], |i| i.name),
        mac: sender.0 & MAC,
        destination_port: u16::from_be_bytes(packet.ports.destination),
        source_port: u16::from_be_bytes(packet.ports.source),
        protocol: packet.protocol,
    };
    tables.walk(list as u32, &mut marks);
    marks.mark
}

/// The MAC in a [`Hop`].
const MAC: u64 = 0xffff_ffff_ffff;

/// Whether a packet fits a rule: 0 or 1. Not inlined: a stack frame of its own.
#[inline(never)]
fn fits(packet: &Marks, rule: &MarkRule) -> u32 {
    let conditions = rule.conditions;
    // The answer to a condition that is asked must be what is wanted.
    let fails = |condition: u32, answer: bool| {
        conditions & condition != 0 && answer == (conditions & condition << NOT != 0)
    };
    if fails(DESTINATION, within(packet.destination, rule.destination, rule.destination_mask))
        || fails(PROTOCOL, packet.protocol == rule.protocol)
        || fails(MAC_ADDRESS, packet.mac == rule.mac)
        || fails(SOURCE, within(packet.source, rule.source, rule.source_mask))
        || fails(
            DESTINATION_RANGE,
            between(packet.destination, rule.destination_first, rule.destination_last),
        )
        || fails(SOURCE_RANGE, between(packet.source, rule.source_first, rule.source_last))
        || fails(INTERFACE, within(packet.interface, rule.interface, rule.interface_mask))
    {
        return 0;
    }
    if conditions & (DESTINATION_PORTS | EITHER_PORT) != 0 {
        let either = conditions & EITHER_PORT != 0;
        let negated = conditions & (DESTINATION_PORTS | EITHER_PORT) << NOT != 0;
        let second = if either { packet.source_port } else { packet.destination_port };
        let hit = rule.destination_ports.iter().any(|range| {
            range.first <= packet.destination_port && packet.destination_port <= range.last
                || range.first <= second && second <= range.last
        });
        if hit == negated {
            return 0;
        }
    }
    if conditions & SOURCE_PORTS != 0 {
        let port = packet.source_port;
        let hit = rule.source_ports.iter().any(|range| range.first <= port && port <= range.last);
        if hit == (conditions & SOURCE_PORTS << NOT != 0) {
            return 0;
        }
    }
    1
}

/// Whether an address (or a name) lies in a network.
#[inline(always)]
fn within(address: [u64; 2], network: [u64; 2], mask: [u64; 2]) -> bool {
    let ([a, b], [c, d], [m, n]) = (address, network, mask);
    (a ^ c) & m == 0 && (b ^ d) & n == 0
}

/// Whether an address lies in a range.
#[inline(always)]
fn between(address: [u64; 2], first: [u64; 2], last: [u64; 2]) -> bool {
    not_above(first, address) && not_above(address, last)
}

#[inline(always)]
fn not_above(a: [u64; 2], b: [u64; 2]) -> bool {
    let ([high, low], [other_high, other_low]) = (a, b);
    high < other_high || high == other_high && low <= other_low
}
