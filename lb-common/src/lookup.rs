//! Which virtual service a packet belongs to: firewall mark, exact, FTP, every port.

use crate::abi::{FwmarkKey, Service, Settings, settings_flags};
use crate::conn::protocol;
use crate::direct::is_persistent;
use crate::family::Family;
use crate::parse::Packet;
use crate::tables::{Store, Tables, Walk};

/// Port of FTP control connections.
const FTP: [u8; 2] = 21_u16.to_be_bytes();
const ANY_PORT: [u8; 2] = [0, 0];

/// The service of a packet (ip_vs_ctl.c: ip_vs_service_find).
#[inline(always)]
pub(crate) fn service<'a, F: Family, T: Store<F>>(
    tables: &'a T,
    settings: &Settings,
    packet: &Packet<F>,
) -> Option<&'a Service> {
    if settings.mark_rules != 0 {
        let mut marks = Marks {
            address: F::wide(packet.destination),
            family: F::NUMBER,
            protocol: packet.protocol,
            port: u16::from_be_bytes(packet.ports.destination),
            mark: 0,
        };
        tables.walk(settings.mark_rules, &mut marks);
        if marks.mark != 0
            && let Some(service) =
                tables.fwmark(&FwmarkKey { mark: marks.mark, family: u32::from(F::NUMBER) })
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

/// The walk over the rules that give marks: first match wins.
#[derive(Clone, Copy)]
struct Marks {
    address: [u8; 16],
    family: u8,
    protocol: u8,
    port: u16,
    mark: u32,
}

impl Walk for Marks {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let Some(rule) = tables.mark_rule(i) else { return true };
        let protocol = rule.protocol == 0 || rule.protocol == self.protocol;
        let port = rule.first_port <= self.port && self.port <= rule.last_port;
        if rule.family != self.family || !protocol || !port || !within(&self.address, rule) {
            return false;
        }
        self.mark = rule.mark;
        true
    }
}

/// Whether an address lies in a rule's network.
#[inline(always)]
fn within(address: &[u8; 16], rule: &crate::abi::MarkRule) -> bool {
    let differing = u128::from_be_bytes(*address) ^ u128::from_be_bytes(rule.address);
    let (high, low) = ((differing >> 64) as u64, differing as u64);
    let prefix = rule.prefix;
    if prefix == 0 {
        true
    } else if prefix <= 64 {
        high >> ((64 - prefix) & 63) == 0
    } else {
        high == 0 && low >> ((128 - u32::from(prefix)) & 63) == 0
    }
}
