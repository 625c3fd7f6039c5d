//! Checks of the grammar that are tables of their own: services, scheduler flags, tunnels, sync.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::option::{Fits, Given, Opt};
use super::parse::{Wrong, usage};
use super::value::number;
use crate::model::{Persistence, Protocol, SchedulerFlags, ServiceKey, TunnelKind};

/// Largest sync message: an IPv4 packet less the headers of IPv4 and UDP, bytes.
const MAX_SYNC_LENGTH: u32 = 65_535 - 20 - 8;

/// A service that no director can have.
pub(super) fn service(
    key: ServiceKey,
    persistence: Option<Persistence>,
    one_packet: bool,
) -> Result<(), Wrong> {
    let ServiceKey::Address { protocol, address } = key else { return Ok(()) };
    if address.port() == 0 && persistence.is_none() {
        return usage("Zero port specified for non-persistent service");
    }
    if one_packet && protocol != Protocol::Udp {
        return usage("One-Packet Scheduling is only for UDP virtual services");
    }
    Ok(())
}

/// The flags of `-b`: three by number, and their names with the schedulers that have names for them.
pub(super) fn scheduler_flags(scheduler: &str, list: &str) -> Result<SchedulerFlags, Wrong> {
    let mut bits = 0;
    for flag in list.split(',').filter(|f| !f.is_empty()) {
        let (bit, of) = match flag {
            "flag-1" => (SchedulerFlags::FALLBACK, None),
            "flag-2" => (SchedulerFlags::PORT, None),
            "flag-3" => (SchedulerFlags::FLAG3, None),
            "sh-fallback" => (SchedulerFlags::FALLBACK, Some("sh")),
            "sh-port" => (SchedulerFlags::PORT, Some("sh")),
            "mh-fallback" => (SchedulerFlags::FALLBACK, Some("mh")),
            "mh-port" => (SchedulerFlags::PORT, Some("mh")),
            _ => return usage(format!("invalid scheduler flag `{flag}'")),
        };
        if of.is_some_and(|of| of != scheduler) {
            return usage(format!("incompatible scheduler flag `{flag}'"));
        }
        bits |= bit;
    }
    Ok(SchedulerFlags(bits))
}

/// Whether the options of a tunnel fit its kind.
pub(super) fn tunnel(kind: TunnelKind, given: Given, is_tunnel: bool) -> Result<(), Wrong> {
    const CHECKED: [Opt; 4] = [Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum];
    if !is_tunnel && (given.has(Opt::TunType) || given.any(&CHECKED)) {
        return usage("Tunnel options conflict with forward method");
    }
    use Fits::{Exclusive as One, Illegal as No, Required as Must};
    let (name, fits) = match kind {
        TunnelKind::Ipip => ("ipip", [No, No, No, No]),
        TunnelKind::Gue => ("gue", [Must, One, One, One]),
        TunnelKind::Gre => ("gre", [No, One, One, No]),
    };
    let mut exclusive: Option<Opt> = None;
    for (opt, fits) in CHECKED.into_iter().zip(fits) {
        match (fits, given.has(opt)) {
            (Fits::Required, false) => {
                let opt = opt.name();
                return usage(format!("You need to supply the '{opt}' option for the '{name}' tunnel type"));
            }
            (Fits::Illegal, true) => {
                return usage(format!("Illegal '{}' option with the '{name}' tunnel type", opt.name()));
            }
            (Fits::Exclusive, true) => {
                if let Some(other) = exclusive {
                    let (opt, other) = (opt.name(), other.name());
                    return usage(format!(
                        "The option '{opt}' conflicts with the '{other}' option in the '{name}' tunnel type"
                    ));
                }
                exclusive = Some(opt);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The arguments of the sync daemons' options.
pub(super) fn sync_option(opt: Opt, argument: &str) -> Result<(), Wrong> {
    let (min, max) = match opt {
        Opt::SyncId => (0, 255),
        Opt::McastPort => (1, 65_535),
        Opt::McastTtl => (1, 255),
        Opt::SyncMaxlen => (1, MAX_SYNC_LENGTH),
        _ => return multicast_group(argument),
    };
    match number(argument, min, max) {
        Some(_) => Ok(()),
        None => usage(format!("illegal {} specified", opt.name())),
    }
}

fn multicast_group(text: &str) -> Result<(), Wrong> {
    let (family, multicast) = if text.contains(':') {
        ("IPv6", text.parse().is_ok_and(|a: Ipv6Addr| a.is_multicast()))
    } else {
        ("IPv4", text.parse().is_ok_and(|a: Ipv4Addr| a.is_multicast()))
    };
    if multicast { Ok(()) } else { usage(format!("invalid {family} mcast-group `{text}'")) }
}
