//! `[[service]]` and its `[[service.destination]]`s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_common::sched::MH_SIZES;
use toml::de::DeValue;

use super::native::MAX_TIMEOUT;
use super::reader::{Located, Reader, integer};
use super::tunnel::{read_settings, read_tunnel};
use crate::model::{
    DestinationSpec, ForwardingMethod, Fwmark, Netmask, Persistence, Protocol, Scheduler, SchedulerFlags,
    ServiceKey, ServiceSpec, TunnelSettings,
};

/// Largest weight (ipvsadm's).
const MAX_WEIGHT: u32 = 65_535;

/// Largest threshold (ipvsadm's).
const MAX_THRESHOLD: u32 = i32::MAX as u32;

/// Reads one `[[service]]`, `None` where it has no valid key or scheduler.
pub(super) fn read_service(
    mut table: Reader<'_>,
) -> Option<(ServiceSpec, Vec<DestinationSpec>, TunnelSettings)> {
    let key = read_key(&mut table);
    let scheduler = read_scheduler(&mut table);
    let flags = read_flags(&mut table, scheduler);
    let mh_table_size = read_mh_table_size(&mut table);
    if let (Some(size), Some(other)) = (&mh_table_size, scheduler.filter(|s| *s != Scheduler::Mh)) {
        let title = format!("`{MH_TABLE_SIZE}` is only for the scheduler mh, not for {}", other.name());
        table.errors().report(size.span.clone(), title, "", "remove it, or write: scheduler = \"mh\"");
    }
    let mh_table_size = mh_table_size.map(|size| size.value);
    let persistence = table
        .number("persistent", &(1..=MAX_TIMEOUT), "seconds")
        .map(|seconds| Persistence { timeout: seconds.value });
    let netmask = read_netmask(&mut table, key);
    let one_packet = table.boolean("one-packet");
    if let (Some(one), Some(ServiceKey::Address { protocol, .. })) = (&one_packet, key)
        && one.value
        && protocol != Protocol::Udp
    {
        let help = "remove it, or make the service a `udp` or a `fwmark` one";
        table.errors().report(one.span.clone(), "one-packet scheduling is only for UDP", "", help);
    }
    if let Some(ServiceKey::Address { address, .. }) = key
        && address.port() == 0
        && persistence.is_none()
    {
        let help = "add: persistent = 360";
        let title = "a service of every port (port 0) must be persistent";
        table.errors().report(table.span(), title, "", help);
    }
    let engine = read_engine(&mut table, key, persistence.is_some());
    let mut destinations: Vec<DestinationSpec> = Vec::new();
    for entry in table.tables("destination", "service.destination", "a destination") {
        let span = entry.span();
        let Some(destination) = read_destination(entry, key) else { continue };
        if destinations.iter().any(|d| d.address == destination.address) {
            let title = format!("destination {} is defined twice in this service", destination.address);
            table.errors().report(span, title, "the second one", "remove one of the two");
            continue;
        }
        destinations.push(destination);
    }
    let tunnels = read_settings(&mut table);
    table.finish();
    let key = key?;
    let netmask = netmask.unwrap_or(if key.is_ipv6() { Netmask::V6(128) } else { Netmask::V4(u32::MAX) });
    let service = ServiceSpec {
        key,
        scheduler: scheduler?,
        flags,
        persistence,
        netmask,
        one_packet: one_packet.is_some_and(|o| o.value),
        persistence_engine: engine.map(|e| e.value.to_owned()),
        mh_table_size,
    };
    Some((service, destinations, tunnels))
}

/// The persistence engine: of a persistent service that gets UDP.
fn read_engine<'t>(
    table: &mut Reader<'t>,
    key: Option<ServiceKey>,
    persistent: bool,
) -> Option<Located<&'t str>> {
    let engine = table.string("persistence-engine", "sip")?;
    let other = matches!(key, Some(ServiceKey::Address { protocol, .. }) if protocol != Protocol::Udp);
    let (title, help) = if engine.value != "sip" {
        (format!("unknown persistence engine `{}`", engine.value), "write \"sip\", or leave it out")
    } else if other {
        (
            "a persistence engine is only for UDP".to_owned(),
            "remove it, or make the service a `udp` or a `fwmark` one",
        )
    } else if !persistent {
        ("a persistence engine needs persistence".to_owned(), "add: persistent = 360")
    } else {
        return Some(engine);
    };
    table.errors().report(engine.span, title, "", help);
    None
}

fn read_key(table: &mut Reader<'_>) -> Option<ServiceKey> {
    let addresses = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)]
        .map(|(name, protocol)| (name, protocol, table.string(name, "192.0.2.1:80")));
    let mark = table.number("fwmark", &(1..=u32::MAX), "");
    let ipv6 = table.boolean("ipv6");
    let given: Vec<&str> = ["tcp", "udp", "sctp", "fwmark"].into_iter().filter(|k| table.has(k)).collect();
    match given.as_slice() {
        [] => {
            let help = "add: tcp = \"192.0.2.1:80\"";
            let title = "a service needs one of `tcp`, `udp`, `sctp` and `fwmark`";
            table.errors().report(table.span(), title, "", help);
        }
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                let title = format!("a service is either `{first}` or `{other}`");
                let help = "write a second [[service]]";
                table.errors().report(table.key_span(other), title, "", help);
            }
            return None;
        }
    }
    if let Some(flag) = &ipv6
        && !given.contains(&"fwmark")
    {
        let help = "remove it: the address tells its family";
        table.errors().report(flag.span.clone(), "`ipv6` belongs to `fwmark`", "", help);
    }
    if let Some(mark) = mark {
        return Some(ServiceKey::Fwmark(Fwmark { mark: mark.value, ipv6: ipv6.is_some_and(|i| i.value) }));
    }
    addresses.into_iter().find_map(|(name, protocol, text)| {
        let text = text?;
        let Ok(address) = text.value.parse::<SocketAddr>() else {
            let example =
                if text.value.matches(':').count() > 1 { "[2001:db8::1]:80" } else { "192.0.2.1:80" };
            let title = format!("`{}` is no address and port", text.value);
            table.errors().report(text.span, title, "", format!("write it as: {name} = \"{example}\""));
            return None;
        };
        Some(ServiceKey::Address { protocol, address })
    })
}

fn read_scheduler(table: &mut Reader<'_>) -> Option<Scheduler> {
    if !table.has("scheduler") {
        return Some(Scheduler::Wlc);
    }
    let name = table.string("scheduler", "wrr")?;
    let scheduler = Scheduler::from_name(name.value);
    if scheduler.is_none() {
        let known: Vec<&str> = Scheduler::ALL.iter().map(|s| s.name()).collect();
        let title = format!("unknown scheduler `{}`", name.value);
        table.errors().report(name.span, title, "", format!("one of {}", known.join(", ")));
    }
    scheduler
}

fn read_flags(table: &mut Reader<'_>, scheduler: Option<Scheduler>) -> SchedulerFlags {
    let mut flags = 0;
    for flag in table.strings("flags", "sh-port") {
        let (bit, of) = match flag.value {
            "sh-fallback" => (SchedulerFlags::FALLBACK, Scheduler::Sh),
            "sh-port" => (SchedulerFlags::PORT, Scheduler::Sh),
            "mh-fallback" => (SchedulerFlags::FALLBACK, Scheduler::Mh),
            "mh-port" => (SchedulerFlags::PORT, Scheduler::Mh),
            other => {
                let title = format!("unknown scheduler flag `{other}`");
                let help = "one of sh-fallback, sh-port, mh-fallback, mh-port";
                table.errors().report(flag.span, title, "", help);
                continue;
            }
        };
        if scheduler.is_some_and(|s| s != of) {
            let title = format!("flag `{}` is only for the scheduler {}", flag.value, of.name());
            table.errors().report(flag.span, title, "", format!("add: scheduler = \"{}\"", of.name()));
        }
        flags |= bit;
    }
    SchedulerFlags(flags)
}

/// Key of the size of a table of mh, of a service and of the director.
const MH_TABLE_SIZE: &str = "mh-table-size";

/// Reads the size of a table of mh.
pub(super) fn read_mh_table_size(table: &mut Reader<'_>) -> Option<Located<u32>> {
    let size = table.number(MH_TABLE_SIZE, &(1..=u32::MAX), "")?;
    if !MH_SIZES.contains(&size.value) {
        let known: Vec<String> = MH_SIZES.iter().map(u32::to_string).collect();
        let title = format!("a table of mh cannot have {} buckets", size.value);
        table.errors().report(size.span, title, "", format!("one of {}", known.join(", ")));
        return None;
    }
    Some(size)
}

fn read_netmask(table: &mut Reader<'_>, key: Option<ServiceKey>) -> Option<Netmask> {
    let value = table.raw("netmask")?;
    let ipv6 = key.is_some_and(|k| k.is_ipv6());
    let mask = match value.get_ref() {
        DeValue::String(text) if !ipv6 => {
            text.parse::<Ipv4Addr>().ok().map(|mask| Netmask::V4(mask.to_bits()))
        }
        number @ DeValue::Integer(_) => {
            let prefix = integer(number).and_then(|n| u8::try_from(n).ok()).filter(|n| *n > 0);
            match prefix {
                Some(prefix) if ipv6 && prefix <= 128 => Some(Netmask::V6(prefix)),
                Some(prefix) if !ipv6 && prefix <= 32 => {
                    Some(Netmask::V4(u32::MAX << (32 - u32::from(prefix))))
                }
                _ => None,
            }
        }
        _ => None,
    };
    if mask.is_none() {
        let (wanted, help) = if ipv6 {
            ("a prefix length from 1 to 128", "write it as: netmask = 64")
        } else {
            ("a mask or a prefix length from 1 to 32", "write it as: netmask = \"255.255.255.0\"")
        };
        table.errors().report(value.span(), format!("`netmask` must be {wanted}"), "", help);
    }
    mask
}

fn read_destination(mut table: Reader<'_>, service: Option<ServiceKey>) -> Option<DestinationSpec> {
    let method = read_method(&mut table);
    let address = table.string("address", "198.51.100.11:80");
    if !table.has("address") {
        let help = "add: address = \"198.51.100.11:80\"";
        table.errors().report(table.span(), "a destination needs an `address`", "", help);
    }
    let address = address.and_then(|a| read_address(&table, &a, service, method));
    let weight = table.number("weight", &(0..=MAX_WEIGHT), "").map_or(1, |w| w.value);
    let upper = table.number("upper", &(0..=MAX_THRESHOLD), "").map_or(0, |u| u.value);
    let lower = table.number("lower", &(0..=MAX_THRESHOLD), "");
    if let Some(lower) = &lower
        && lower.value > upper
    {
        let title = "the lower threshold is above the upper one";
        table.errors().report(lower.span.clone(), title, format!("upper is {upper}"), "raise `upper`");
    }
    let tunnel = read_tunnel(&mut table, method.is_none_or(|m| m == ForwardingMethod::Tunnel));
    table.finish();
    let method = method?;
    let lower = lower.map_or(0, |l| l.value);
    Some(DestinationSpec { address: address?, method, weight, upper, lower, tunnel })
}

fn read_method(table: &mut Reader<'_>) -> Option<ForwardingMethod> {
    if !table.has("method") {
        return Some(ForwardingMethod::DirectRoute);
    }
    let name = table.string("method", "nat")?;
    match name.value {
        "dr" => Some(ForwardingMethod::DirectRoute),
        "nat" => Some(ForwardingMethod::Masq),
        "tunnel" => Some(ForwardingMethod::Tunnel),
        other => {
            let title = format!("unknown forwarding method `{other}`");
            table.errors().report(name.span, title, "", "one of dr, nat, tunnel");
            None
        }
    }
}

fn read_address(
    table: &Reader<'_>,
    text: &Located<&str>,
    service: Option<ServiceKey>,
    method: Option<ForwardingMethod>,
) -> Option<SocketAddr> {
    let port = service.map(|s| s.port());
    let address = match text.value.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port.unwrap_or(0)),
        Err(_) => match text.value.parse::<SocketAddr>() {
            Ok(address) => address,
            Err(_) => {
                let title = format!("`{}` is no address", text.value);
                let help = "write an address, with a port where it is not the service's: \
                            address = \"198.51.100.11:80\"";
                table.errors().report(text.span.clone(), title, "", help);
                return None;
            }
        },
    };
    let (service, method) = (service?, method?);
    if service.is_ipv6() != address.is_ipv6() && method != ForwardingMethod::Tunnel {
        let title = format!("destination {address} is of another address family than {service}");
        let help = "only a tunnel leads into the other family: method = \"tunnel\"";
        table.errors().report(text.span.clone(), title, "", help);
        return None;
    }
    // The packet is not rewritten, so the server sees the service's port whatever is written here.
    let rewrites = method == ForwardingMethod::Masq || matches!(service, ServiceKey::Fwmark(_));
    if !rewrites && Some(address.port()) != port {
        let title = format!("without NAT the destination's port is the service's, {}", service.port());
        let help = format!("write \"{}\", or method = \"nat\"", address.ip());
        table.errors().report(text.span.clone(), title, "", help);
        return None;
    }
    Some(address)
}
