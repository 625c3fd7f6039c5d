//! `[[mark]]`: rules that give packets a firewall mark.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::reader::{Located, Reader, integer};
use crate::model::{MarkRule, Protocol};

/// Reads one `[[mark]]`: a rule for each port or range of ports it names.
pub(super) fn read_mark(mut table: Reader<'_>) -> Vec<MarkRule> {
    let network = table.string("destination", "192.0.2.0/24");
    if !table.has("destination") {
        let help = "add: destination = \"192.0.2.0/24\"";
        table.errors().report(table.span(), "a mark needs a `destination`", "", help);
    }
    let network = network.and_then(|n| read_network(&table, &n));
    let protocol = table.string("protocol", "tcp").and_then(|p| read_protocol(&table, &p));
    let ports = read_ports(&mut table);
    let mark = table.number("mark", &(1..=u32::MAX), "");
    if !table.has("mark") {
        table.errors().report(table.span(), "a mark needs a `mark`", "", "add: mark = 1");
    }
    table.finish();
    let (Some((destination, prefix)), Some(mark)) = (network, mark) else { return Vec::new() };
    ports
        .into_iter()
        .map(|range| MarkRule {
            destination,
            prefix,
            protocol,
            first_port: *range.start(),
            last_port: *range.end(),
            mark: mark.value,
        })
        .collect()
}

fn read_protocol(table: &Reader<'_>, name: &Located<&str>) -> Option<Protocol> {
    match name.value {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        other => {
            let title = format!("unknown protocol `{other}`");
            let help = "write \"tcp\", \"udp\" or \"sctp\", or leave it out for all";
            table.errors().report(name.span.clone(), title, "", help);
            None
        }
    }
}

/// `address/prefix`, or an address alone.
fn read_network(table: &Reader<'_>, text: &Located<&str>) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.value.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text.value, None),
    };
    let report = |title: String, help: String| {
        table.errors().report(text.span.clone(), title, "", help);
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let title = format!("`{}` is no network", text.value);
        report(title, "write an address with its prefix length: \"192.0.2.0/24\"".to_owned());
        return None;
    };
    let widest: u8 = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix.map_or(Some(widest), |p| p.parse().ok().filter(|p| *p <= widest)) else {
        let title = format!("the prefix length of `{}` must be a number from 0 to {widest}", text.value);
        report(title, format!("for one address alone write \"{address}\""));
        return None;
    };
    let first = first_address(address, prefix);
    if first != address {
        let title = format!("`{}` is not the first address of its network", text.value);
        report(title, format!("write \"{first}/{prefix}\""));
        return None;
    }
    Some((address, prefix))
}

fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}

/// `80`, `"1000-2000"`, or a list of both; every port where the key is missing.
fn read_ports(table: &mut Reader<'_>) -> Vec<RangeInclusive<u16>> {
    const WANTED: &str = "a port, a range of ports or a list of them";
    let Some(value) = table.raw("ports") else { return vec![0..=u16::MAX] };
    let entries = match value.get_ref().as_array() {
        Some(list) => list.iter().collect(),
        None => vec![value],
    };
    if entries.is_empty() {
        let help = "leave `ports` out for every port";
        table.errors().report(value.span(), "`ports` is empty", "", help);
    }
    let mut out = Vec::new();
    for entry in entries {
        let range = if let Some(text) = entry.get_ref().as_str() {
            text.split_once('-').and_then(|(first, last)| {
                let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
                (*range.start() > 0 && !range.is_empty()).then_some(range)
            })
        } else if entry.get_ref().is_integer() {
            let port = integer(entry.get_ref()).and_then(|n| u16::try_from(n).ok());
            port.filter(|p| *p > 0).map(|p| p..=p)
        } else {
            table.wrong_kind("ports", entry, WANTED, "write it as: ports = [80, \"1000-2000\"]");
            continue;
        };
        match range {
            Some(range) => out.push(range),
            None => {
                let title = format!("`ports` must be {WANTED}");
                let help = "ports go from 1 to 65535: ports = [80, \"1000-2000\"]";
                table.errors().report(entry.span(), title, "", help);
            }
        }
    }
    out
}
