//! A rule while its words come in.

use std::net::IpAddr;

use super::error::{Error, UNDERSTOOD, wrong, wrong_with};
use super::option::Word;
use crate::cli::ipvsadm::Names;
use crate::model::{
    MarkRule, MarkTarget, Network, PortSpan, Ports, Protocol, Test, Wrong, protocol_name, protocol_number,
};

/// What was said of a rule so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// `-4`, `-6`.
    pub(super) family: Option<bool>,
    /// Several addresses make several rules.
    source: Option<Test<Vec<Network>>>,
    destination: Option<Test<Vec<Network>>>,
    /// Everything else.
    rest: Option<MarkRule>,
    protocol_given: bool,
    jump: Option<String>,
    /// The option that says the mark, and what it says.
    mark: Option<(String, MarkTarget)>,
    any: bool,
    /// The first option of ports.
    ports: Option<String>,
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), Error> {
    if slot.is_some() {
        return wrong(format!("`{name}` says once more what was said before"));
    }
    *slot = Some(value);
    Ok(())
}

fn text<T>(result: Result<T, Wrong>, name: &str) -> Result<T, Error> {
    result.or_else(|Wrong(why)| wrong(format!("`{name}`: {why}")))
}

/// A number as C reads it: decimal, `0x` hexadecimal, `0` octal.
fn number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('0').filter(|digits| !digits.is_empty()) {
        Some(digits) => u32::from_str_radix(digits, 8).ok(),
        None => text.parse().ok(),
    }
}

impl Draft {
    fn rest(&mut self) -> &mut MarkRule {
        self.rest.get_or_insert_with(|| MarkRule::new(false, MarkTarget::Return))
    }

    /// Whether nothing was said of a rule.
    pub(super) const fn is_empty(&self) -> bool {
        !self.any
    }

    /// Takes an option of a rule.
    pub(super) fn set(
        &mut self,
        word: Word,
        name: &str,
        value: &str,
        negated: bool,
        names: &dyn Names,
    ) -> Result<(), Error> {
        match word {
            Word::Ipv4 | Word::Ipv6 => {
                if self.family.is_some_and(|six| six != (word == Word::Ipv6)) {
                    return wrong("`-4` and `-6` cannot stand together");
                }
                self.family = Some(word == Word::Ipv6);
                return Ok(());
            }
            _ => self.any = true,
        }
        match word {
            Word::Source => {
                let value = networks(value, name, names)?;
                once(&mut self.source, name, Test { value, negated })
            }
            Word::Destination => {
                let value = networks(value, name, names)?;
                once(&mut self.destination, name, Test { value, negated })
            }
            Word::Protocol => {
                let Some(value) = protocol_number(value) else {
                    return wrong(format!("`{name}`: `{value}` is no protocol"));
                };
                if std::mem::replace(&mut self.protocol_given, true) {
                    return wrong(format!("`{name}` says once more what was said before"));
                }
                match (value, negated) {
                    (0, true) => return wrong(format!("`! {name} all` fits no packet")),
                    (0, false) => {}
                    _ => self.rest().protocol = Some(Test { value, negated }),
                }
                Ok(())
            }
            Word::Interface => {
                let value = text(value.parse(), name)?;
                once(&mut self.rest().interface, name, Test { value, negated })
            }
            Word::MacSource => {
                let value = text(value.parse(), name)?;
                once(&mut self.rest().mac, name, Test { value, negated })
            }
            Word::SourceRange => {
                let value = text(value.parse(), name)?;
                once(&mut self.rest().source_range, name, Test { value, negated })
            }
            Word::DestinationRange => {
                let value = text(value.parse(), name)?;
                once(&mut self.rest().destination_range, name, Test { value, negated })
            }
            Word::SourcePort | Word::DestinationPort if value.contains(',') => wrong_with(
                format!("`{name}` takes one port or one range"),
                format!("for a list write -m multiport {name}s {value}"),
            ),
            Word::SourcePort
            | Word::SourcePorts
            | Word::DestinationPort
            | Word::DestinationPorts
            | Word::EitherPorts => {
                self.ports.get_or_insert_with(|| name.to_owned());
                // The names of ports are those of the protocol, which stands in front.
                let protocol = self.rest.as_ref().and_then(|r| r.protocol.as_ref()).map_or(6, |t| t.value);
                let value = ports(value, name, protocol, names)?;
                let rule = self.rest();
                let slot = match word {
                    Word::SourcePort | Word::SourcePorts => &mut rule.source_ports,
                    Word::EitherPorts => &mut rule.either_ports,
                    _ => &mut rule.destination_ports,
                };
                once(slot, name, Test { value, negated })
            }
            Word::Comment => {
                if !self.rest().comment.is_empty() {
                    return wrong(format!("`{name}` says once more what was said before"));
                }
                value.clone_into(&mut self.rest().comment);
                Ok(())
            }
            Word::Jump => once(&mut self.jump, name, value.to_owned()),
            Word::SetMark | Word::SetXmark | Word::OrMark | Word::AndMark | Word::XorMark => {
                let target = mark(word, name, value)?;
                once(&mut self.mark, name, (name.to_owned(), target))
            }
            _ => wrong_with(format!("option `{name}` is not known"), UNDERSTOOD),
        }
    }

    /// What `-j` says happens.
    fn target(&self) -> Result<MarkTarget, Error> {
        let Some(jump) = self.jump.as_deref() else {
            return wrong_with("the rule says not what to do", "add: -j MARK --set-mark 1");
        };
        match (jump, &self.mark) {
            ("MARK", Some((_, target))) => Ok(*target),
            ("MARK", None) => wrong_with("`-j MARK` says not which mark", "add: --set-mark 1"),
            (other, Some((name, _))) => wrong(format!("`{name}` belongs to `-j MARK`, not to `-j {other}`")),
            ("RETURN", None) => Ok(MarkTarget::Return),
            ("ACCEPT", None) => Ok(MarkTarget::Accept),
            (other, None) => wrong_with(
                format!("target `-j {other}` is not known"),
                "rules here give marks (-j MARK) or end the walk (-j RETURN, -j ACCEPT)",
            ),
        }
    }

    /// The rules: one for each source and destination.
    pub(super) fn rules(mut self) -> Result<Vec<MarkRule>, Error> {
        let target = self.target()?;
        self.rest().target = target;
        let Some(rule) = self.rest.take() else { return Ok(Vec::new()) };
        if rule.protocol.as_ref().is_some_and(|t| t.negated || !has_ports(t.value))
            && let Some(name) = &self.ports
        {
            return wrong_with(
                format!("`{name}` needs a protocol that has ports"),
                "write -p tcp, -p udp or -p sctp in front of it",
            );
        }
        let each = |side: Option<Test<Vec<Network>>>| -> Vec<Option<Test<Network>>> {
            let Some(Test { value, negated }) = side else { return vec![None] };
            // Every address is no condition.
            let one = |n: Network| (negated || n.prefix() != Some(0)).then_some(Test { value: n, negated });
            value.into_iter().map(one).collect()
        };
        let literal = |side: &Option<Test<Vec<Network>>>| {
            side.as_ref().and_then(|t| t.value.first()).map(|n| n.address.is_ipv6())
        };
        let ranges = [&rule.source_range, &rule.destination_range];
        let ipv6 = self
            .family
            .or_else(|| literal(&self.source))
            .or_else(|| literal(&self.destination))
            .or_else(|| ranges.into_iter().flatten().map(|t| t.value.first.is_ipv6()).next())
            .unwrap_or(false);
        // iptables refuses to mean both of two.
        for side in [&self.source, &self.destination] {
            if side.as_ref().is_some_and(|t| t.negated && t.value.len() > 1) {
                return wrong("`!` cannot stand in front of several addresses");
            }
            let other = side.iter().flat_map(|t| &t.value).find(|n| n.address.is_ipv6() != ipv6);
            if let Some(network) = other {
                let family = if ipv6 { "IPv6" } else { "IPv4" };
                return wrong(format!("`{network}` is no {family} address, as the rest of the rule is"));
            }
        }
        let mut rules = Vec::new();
        let destinations = each(self.destination);
        for source in each(self.source) {
            for destination in &destinations {
                rules.push(MarkRule { ipv6, source, destination: *destination, ..rule.clone() });
            }
        }
        match rules.iter().find_map(MarkRule::wrong) {
            Some(why) => wrong(format!("the rule cannot be: {why}")),
            None => Ok(rules),
        }
    }
}

/// Addresses with masks, between commas.
fn networks(value: &str, name: &str, names: &dyn Names) -> Result<Vec<Network>, Error> {
    value.split(',').map(|one| network(one, name, names)).collect()
}

fn network(value: &str, name: &str, names: &dyn Names) -> Result<Network, Error> {
    let (host, mask) = value.split_once('/').map_or((value, None), |(h, m)| (h, Some(m)));
    if host.parse::<IpAddr>().is_ok()
        || !host.contains(|c: char| c.is_ascii_alphabetic())
        || host.contains(':')
    {
        return text(value.parse(), name);
    }
    let Some(address) = names.host_to_addr(host) else {
        return wrong(format!("`{name}`: the host `{host}` is not known"));
    };
    match mask {
        Some(mask) => text(format!("{address}/{mask}").parse(), name),
        None => Ok(Network::new(address.into(), 32)),
    }
}

const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// A list of ports; an end of a range that is missing is the last one there is.
fn ports(value: &str, name: &str, protocol: u8, names: &dyn Names) -> Result<Ports, Error> {
    let protocol = Protocol::from_number(protocol).unwrap_or(Protocol::Tcp);
    let port = |text: &str| {
        text.parse::<u16>().ok().or_else(|| {
            let is_name = text.contains(|c: char| c.is_ascii_alphabetic());
            is_name.then(|| names.service_to_port(text, protocol))?
        })
    };
    let span = |text: &str| {
        let Some((first, last)) = text.split_once(':') else { return Some(PortSpan::one(port(text)?)) };
        let first = if first.is_empty() { 0 } else { port(first)? };
        let last = if last.is_empty() { u16::MAX } else { port(last)? };
        (first <= last).then_some(PortSpan { first, last })
    };
    let mut spans = Vec::new();
    for text in value.split(',') {
        let Some(span) = span(text) else {
            let protocol = protocol_name(protocol.number());
            return wrong(format!("`{name}`: `{text}` is no port of {protocol} and no range of ports"));
        };
        spans.push(span);
    }
    if spans.len() > Ports::MOST {
        return wrong(format!("`{name}` names more than {} ports", Ports::MOST));
    }
    Ok(Ports(spans))
}

/// What an option of `-j MARK` does (extensions/libxt_MARK.c).
fn mark(word: Word, name: &str, value: &str) -> Result<MarkTarget, Error> {
    let (mark, mask) = match value.split_once('/') {
        Some((mark, mask)) if matches!(word, Word::SetMark | Word::SetXmark) => (number(mark), number(mask)),
        Some(_) => (None, None),
        None => (number(value), Some(u32::MAX)),
    };
    let (Some(mark), Some(mask)) = (mark, mask) else {
        let form =
            if matches!(word, Word::SetMark | Word::SetXmark) { "3, 0x3 or 0x3/0xff" } else { "3 or 0x3" };
        return wrong(format!("`{name}`: `{value}` is no mark like {form}"));
    };
    let (value, mask) = match word {
        Word::SetMark => (mark, mask | mark),
        Word::OrMark => (mark, mark),
        Word::AndMark => (0, !mark),
        Word::XorMark => (mark, 0),
        _ => (mark, mask),
    };
    Ok(MarkTarget::Mark { value, mask })
}
