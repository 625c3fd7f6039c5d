//! Pieces of ipvsadm's listings: endpoints, numbers, scheduler flags.

use std::net::{Ipv4Addr, SocketAddr};

use crate::cli::ipvsadm::Names;
use crate::model::{Netmask, Protocol, Scheduler, SchedulerFlags, ServiceKey, ServiceSpec};

/// `192.0.2.1:80`, `[2001:db8::1]:80`, or by names; the ports of a mark's service have none.
pub(super) fn endpoint(
    address: SocketAddr,
    protocol: Option<Protocol>,
    numeric: bool,
    names: &dyn Names,
) -> String {
    let ip = address.ip();
    let host = if numeric { None } else { names.addr_to_host(ip) };
    let host = host.unwrap_or_else(|| ip.to_string());
    let service = match protocol {
        Some(protocol) if !numeric => names.port_to_service(address.port(), protocol),
        _ => None,
    };
    let service = service.unwrap_or_else(|| address.port().to_string());
    if ip.is_ipv6() { format!("[{host}]:{service}") } else { format!("{host}:{service}") }
}

/// The protocol of a service; a mark's has none.
pub(super) const fn protocol(key: ServiceKey) -> Option<Protocol> {
    match key {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::Fwmark(_) => None,
    }
}

/// A mark as ipvsadm prints it: a signed number.
pub(super) const fn mark(mark: u32) -> i32 {
    mark.cast_signed()
}

/// A counter in 9 columns, or more with `exact`.
pub(super) fn counter(n: u64, exact: bool) -> String {
    const K: u64 = 1_000;
    if exact {
        // One blank at least in front of it.
        return format!(" {n:>8}");
    }
    match n {
        0..100_000_000 => format!("{n:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", n / K),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", n / (K * K)),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", n / (K * K * K)),
        _ => format!("{:>8}T", n / (K * K * K * K)),
    }
}

/// The scheduler flags by name, comma-separated; empty where there are none to name.
pub(super) fn flags(scheduler: Scheduler, flags: SchedulerFlags) -> String {
    // sh and mh have names for two of the three, and the third is not told.
    let names: &[(u8, &str)] = match scheduler {
        Scheduler::Sh => &[(SchedulerFlags::FALLBACK, "sh-fallback"), (SchedulerFlags::PORT, "sh-port")],
        Scheduler::Mh => &[(SchedulerFlags::FALLBACK, "mh-fallback"), (SchedulerFlags::PORT, "mh-port")],
        _ => &[
            (SchedulerFlags::FALLBACK, "flag-1"),
            (SchedulerFlags::PORT, "flag-2"),
            (SchedulerFlags::FLAG3, "flag-3"),
        ],
    };
    let set: Vec<&str> = names.iter().filter(|(bit, _)| flags.0 & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

/// The netmask of persistence, where it is not that of a single address.
pub(super) fn netmask(service: &ServiceSpec) -> Option<String> {
    match service.netmask {
        Netmask::V4(u32::MAX) | Netmask::V6(128) => None,
        Netmask::V4(mask) => Some(Ipv4Addr::from_bits(mask).to_string()),
        Netmask::V6(prefix) => Some(prefix.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_every_size() {
        for (n, short, exact) in [
            (0, "        0", "        0"),
            (99_999_999, " 99999999", " 99999999"),
            (100_000_000, "  100000K", " 100000000"),
            (999_999_999, "  999999K", " 999999999"),
            (1_000_000_000, "    1000M", " 1000000000"),
            (99_999_999_999, "   99999M", " 99999999999"),
            (100_000_000_000, "     100G", " 100000000000"),
            (99_999_999_999_999, "   99999G", " 99999999999999"),
            (100_000_000_000_000, "     100T", " 100000000000000"),
            (u64::MAX, "18446744T", " 18446744073709551615"),
        ] {
            assert_eq!((counter(n, false).as_str(), counter(n, true).as_str()), (short, exact));
        }
    }

    #[test]
    fn flags_have_the_names_of_their_scheduler() {
        let all = SchedulerFlags(7);
        assert_eq!(flags(Scheduler::Sh, all), "sh-fallback,sh-port");
        assert_eq!(flags(Scheduler::Mh, all), "mh-fallback,mh-port");
        assert_eq!(flags(Scheduler::Rr, all), "flag-1,flag-2,flag-3");
        assert_eq!(flags(Scheduler::Rr, SchedulerFlags(0)), "");
    }
}
