//! `[[mark]]`: rules that give packets a firewall mark.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::reader::{Located, Reader, integer};
use crate::model::{
    AddressRange, InterfaceName, Mac, MarkRule, MarkTarget, Network, PortSpan, Ports, Protocol, Test, Wrong,
};

/// The conditions that `not` can turn round.
const CONDITIONS: [&str; 9] = [
    "source",
    "destination",
    "interface",
    "protocol",
    "source-ports",
    "ports",
    "source-range",
    "destination-range",
    "mac",
];

/// Reads one `[[mark]]`: a rule, or several where its list of ports is longer than a rule's.
pub(super) fn read_mark(mut table: Reader<'_>) -> Vec<MarkRule> {
    let before = table.errors().count();
    let negated = read_not(&mut table);
    let negated = |key: &str| negated.iter().any(|n| n == key);
    let destination = table
        .string("destination", "192.0.2.0/24")
        .and_then(|n| read_network(&table, &n))
        .map(|value| Test { value, negated: negated("destination") });
    let source = table
        .string("source", "203.0.113.0/24")
        .and_then(|n| read_network(&table, &n))
        .map(|value| Test { value, negated: negated("source") });
    let range = |table: &mut Reader<'_>, key| -> Option<Test<AddressRange>> {
        let value = read_value(table, key, "192.0.2.1-192.0.2.9")?;
        Some(Test { value, negated: negated(key) })
    };
    let destination_range = range(&mut table, "destination-range");
    let source_range = range(&mut table, "source-range");
    let interface = read_value::<InterfaceName>(&mut table, "interface", "eth0")
        .map(|value| Test { value, negated: negated("interface") });
    let mac = read_value::<Mac>(&mut table, "mac", "02:00:00:00:00:01")
        .map(|value| Test { value, negated: negated("mac") });
    let protocol = table
        .string("protocol", "tcp")
        .and_then(|p| read_protocol(&table, &p))
        .map(|value| Test { value, negated: negated("protocol") });
    let ports = read_ports(&mut table, "ports");
    let source_ports = read_ports(&mut table, "source-ports");
    let comment = table.string("comment", "web").map(|c| c.value.to_owned()).unwrap_or_default();
    let ipv6 = table.boolean("ipv6");
    let others = ["source", "destination-range", "source-range", "interface", "mac"];
    if !table.has("destination") && !others.into_iter().any(|key| table.has(key)) {
        let help = "add: destination = \"192.0.2.0/24\"";
        table.errors().report(table.span(), "a mark needs a `destination`", "", help);
    }
    let target = read_target(&mut table);
    let lists = [("ports", &ports), ("source-ports", &source_ports)];
    for (key, list) in lists {
        let more = list.as_ref().is_some_and(|l| l.len() > Ports::MOST);
        // More destination ports become more rules.
        if more && (negated(key) || key == "source-ports") {
            let title = format!("`{key}` has more than {} entries", Ports::MOST);
            table.errors().report(
                table.key_span(key),
                title,
                "",
                "make ranges of them, or more than one [[mark]]",
            );
        }
    }
    let six = [
        destination.map(|t| t.value.address),
        source.map(|t| t.value.address),
        destination_range.map(|t| t.value.first),
        source_range.map(|t| t.value.first),
    ];
    let six: Vec<bool> = six.into_iter().flatten().map(|a| a.is_ipv6()).collect();
    let family = six.first().copied().or(ipv6.as_ref().map(|i| i.value)).unwrap_or(false);
    if six.iter().any(|six| *six != family) || ipv6.is_some_and(|i| i.value != family) {
        let title = "the addresses of a mark are not all of one address family";
        table.errors().report(table.span(), title, "", "write one [[mark]] for each");
    }
    let errors = table.errors();
    let span = table.span();
    table.finish();
    let Some(target) = target else { return Vec::new() };
    if errors.count() > before {
        return Vec::new();
    }
    let spans = |ranges: &[RangeInclusive<u16>], negated| Test {
        value: Ports(ranges.iter().map(|r| PortSpan { first: *r.start(), last: *r.end() }).collect()),
        negated,
    };
    let rule = MarkRule {
        ipv6: family,
        source,
        destination,
        interface,
        protocol,
        source_ports: source_ports.map(|p| spans(&p, negated("source-ports"))),
        destination_ports: None,
        either_ports: None,
        source_range,
        destination_range,
        mac,
        target,
        comment,
    };
    if let Some(wrong) = rule.wrong() {
        errors.report(span, format!("this mark cannot be: {wrong}"), "", "");
        return Vec::new();
    }
    match ports {
        None => vec![rule],
        Some(ports) => ports
            .chunks(Ports::MOST)
            .map(|some| MarkRule { destination_ports: Some(spans(some, negated("ports"))), ..rule.clone() })
            .collect(),
    }
}

/// `not`: the names of conditions that a packet is not to fit.
fn read_not(table: &mut Reader<'_>) -> Vec<String> {
    let mut known = Vec::new();
    for name in table.strings("not", "mac") {
        match CONDITIONS.iter().find(|c| **c == name.value) {
            Some(condition) if table.has(condition) => known.push((*condition).to_owned()),
            Some(condition) => {
                let title = format!("`not` names `{condition}`, which this mark does not ask for");
                table.errors().report(name.span, title, "", "");
            }
            None => {
                let title = format!("`not` names the unknown condition `{}`", name.value);
                let help = format!("known here: {}", CONDITIONS.join(", "));
                table.errors().report(name.span, title, "", &help);
            }
        }
    }
    known
}

/// What happens to a packet: `mark` with or without `mask`, or `target`.
fn read_target(table: &mut Reader<'_>) -> Option<MarkTarget> {
    let mark = table.number("mark", &(1..=u32::MAX), "");
    let mask = table.number("mask", &(1..=u32::MAX), "");
    let target = table.string("target", "return");
    if let Some(target) = target {
        if table.has("mark") || table.has("mask") {
            let help = "a rule either gives a mark or ends the walk";
            table.errors().report(target.span, "`target` and `mark` cannot stand together", "", help);
            return None;
        }
        return match target.value {
            "return" => Some(MarkTarget::Return),
            "accept" => Some(MarkTarget::Accept),
            other => {
                let help = "write \"return\" or \"accept\": both end the walk over the rules";
                table.errors().report(target.span, format!("unknown target `{other}`"), "", help);
                None
            }
        };
    }
    if !table.has("mark") {
        table.errors().report(table.span(), "a mark needs a `mark`", "", "add: mark = 1");
    }
    let mark = mark?.value;
    if table.has("mask") {
        // iptables: --set-mark value/mask.
        return Some(MarkTarget::Mark { value: mark, mask: mask?.value | mark });
    }
    Some(MarkTarget::set(mark))
}

/// A value that is written as iptables writes it.
fn read_value<T: FromStr<Err = Wrong>>(
    table: &mut Reader<'_>,
    key: &'static str,
    example: &str,
) -> Option<T> {
    let text = table.string(key, example)?;
    match text.value.parse() {
        Ok(value) => Some(value),
        Err(Wrong(why)) => {
            let help = format!("write it as: {key} = \"{example}\"");
            table.errors().report(text.span, why, "", &help);
            None
        }
    }
}

fn read_protocol(table: &Reader<'_>, name: &Located<&str>) -> Option<u8> {
    match name.value {
        "tcp" => Some(Protocol::Tcp.number()),
        "udp" => Some(Protocol::Udp.number()),
        "sctp" => Some(Protocol::Sctp.number()),
        other => {
            let title = format!("unknown protocol `{other}`");
            let help = "write \"tcp\", \"udp\" or \"sctp\", or leave it out for all";
            table.errors().report(name.span.clone(), title, "", help);
            None
        }
    }
}

/// `address/prefix`, or an address alone.
fn read_network(table: &Reader<'_>, text: &Located<&str>) -> Option<Network> {
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
    Some(Network::new(address, prefix))
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

/// `80`, `"1000-2000"`, or a list of both; `None` where the key is missing.
fn read_ports(table: &mut Reader<'_>, key: &'static str) -> Option<Vec<RangeInclusive<u16>>> {
    const WANTED: &str = "a port, a range of ports or a list of them";
    let value = table.raw(key)?;
    let entries = match value.get_ref().as_array() {
        Some(list) => list.iter().collect(),
        None => vec![value],
    };
    if entries.is_empty() {
        let help = format!("leave `{key}` out for every port");
        table.errors().report(value.span(), format!("`{key}` is empty"), "", help);
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
            table.wrong_kind(key, entry, WANTED, &format!("write it as: {key} = [80, \"1000-2000\"]"));
            continue;
        };
        match range {
            Some(range) => out.push(range),
            None => {
                let title = format!("`{key}` must be {WANTED}");
                let help = format!("ports go from 1 to 65535: {key} = [80, \"1000-2000\"]");
                table.errors().report(entry.span(), title, "", help);
            }
        }
    }
    Some(out)
}
