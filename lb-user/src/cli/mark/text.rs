//! A rule as iptables-save writes it.

use std::fmt::{Display, Write as _};

use super::line::quoted;
use crate::model::{MarkRule, MarkTarget, Ports, Test, protocol_name};

fn test<T: Display>(out: &mut String, module: &str, option: &str, test: Option<&Test<T>>) {
    let Some(Test { value, negated }) = test else { return };
    let not = if *negated { "! " } else { "" };
    if !module.is_empty() {
        out.push_str(&format!(" -m {module}"));
    }
    out.push_str(&format!(" {not}{option} {value}"));
}

/// The rule without command and chain: `-d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x3/0xffffffff`.
pub(in crate::cli) fn text(rule: &MarkRule) -> String {
    let mut out = String::new();
    test(&mut out, "", "-s", rule.source.as_ref());
    test(&mut out, "", "-d", rule.destination.as_ref());
    test(&mut out, "", "-i", rule.interface.as_ref());
    let protocol = rule.protocol.map(|t| Test { value: protocol_name(t.value), negated: t.negated });
    test(&mut out, "", "-p", protocol.as_ref());
    test(&mut out, "iprange", "--src-range", rule.source_range.as_ref());
    test(&mut out, "iprange", "--dst-range", rule.destination_range.as_ref());
    // The protocol's own module knows one port or range, multiport many.
    let own = |ports: &Ports| {
        let module =
            protocol.as_ref().filter(|p| !p.negated && matches!(p.value.as_str(), "tcp" | "udp" | "sctp"));
        module.filter(|_| ports.0.len() == 1).map(|p| p.value.as_str())
    };
    for (ports, one, many) in [
        (&rule.source_ports, "--sport", "--sports"),
        (&rule.destination_ports, "--dport", "--dports"),
        (&rule.either_ports, "--ports", "--ports"),
    ] {
        if let Some(t) = ports {
            match own(&t.value).filter(|_| one != many) {
                Some(module) => test(&mut out, module, one, Some(t)),
                None => test(&mut out, "multiport", many, Some(t)),
            }
        }
    }
    test(&mut out, "mac", "--mac-source", rule.mac.as_ref());
    if !rule.comment.is_empty() {
        out.push_str(&format!(" -m comment --comment {}", quoted(&rule.comment)));
    }
    // Writing to a String does not fail.
    let _ = match rule.target {
        MarkTarget::Mark { value, mask } => write!(out, " -j MARK --set-xmark {value:#x}/{mask:#x}"),
        MarkTarget::Return => write!(out, " -j RETURN"),
        MarkTarget::Accept => write!(out, " -j ACCEPT"),
    };
    out.trim_start().to_owned()
}
