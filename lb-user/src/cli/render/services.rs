//! Listings of services and their destinations, column by column as ipvsadm 1.31 has them.

use std::io::{self, Write};

use super::format::{counter, endpoint, flags, mark, netmask, protocol};
use crate::api::{DestinationView, Rates, ServiceView, Stats};
use crate::cli::ipvsadm::Names;
use crate::model::{
    DestinationSpec, ForwardingMethod, Fwmark, Protocol, ServiceKey, Tunnel, TunnelChecksum, TunnelKind,
};

/// The first line of a listing of all services. Scripts read the version of IPVS from it; the size is
/// the kernel's default.
pub(in crate::cli) const VERSION_LINE: &str = "IP Virtual Server version 1.2.1 (size=4096)";

/// Columns of a service's name in front of its counters; a longer name of an IPv4 service is cut.
const SERVICE_COLUMNS: usize = 33;

/// Columns of a destination's name; a longer one of an IPv4 destination is cut.
const DESTINATION_COLUMNS: usize = 28;

/// Which columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum View {
    Plain,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    TunnelInfo,
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct ListFormat {
    pub(in crate::cli) view: View,
    pub(in crate::cli) numeric: bool,
    pub(in crate::cli) exact: bool,
    pub(in crate::cli) sort: bool,
}

/// Prints the title and `services`, in the order they have.
pub(in crate::cli) fn services(
    out: &mut dyn Write,
    services: &[ServiceView],
    format: ListFormat,
    names: &dyn Names,
) -> io::Result<()> {
    title(out, format.view)?;
    for service in services {
        service_line(out, service, format, names)?;
        for destination in &service.destinations {
            let protocol = protocol(service.service.key);
            destination_line(out, destination, protocol, format, names)?;
        }
    }
    Ok(())
}

fn title(out: &mut dyn Write, view: View) -> io::Result<()> {
    const LOCAL: &str = "Prot LocalAddress:Port";
    const REMOTE: &str = "  -> RemoteAddress:Port";
    let counters = |out: &mut dyn Write, names: [&str; 5]| {
        write!(out, "{LOCAL:<33}")?;
        for name in names {
            write!(out, " {name:>8}")?;
        }
        writeln!(out, "\n{REMOTE}")
    };
    match view {
        View::Stats => counters(out, ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]),
        View::Rate => counters(out, ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]),
        View::Thresholds => {
            let names = ["Uthreshold", "Lthreshold", "ActiveConn", "InActConn"];
            let [u, l, a, i] = names;
            writeln!(out, "{LOCAL:<33} {u:<10} {l:<10} {a:<10} {i:<10}\n{REMOTE}")
        }
        View::PersistentConn => {
            let [w, p, a, i] = ["Weight", "PersistConn", "ActiveConn", "InActConn"];
            writeln!(out, "{LOCAL:<33} {w:<9} {p:<11} {a:<10} {i:<10}\n{REMOTE}")
        }
        View::TunnelInfo => {
            let remote = "Forward TunnelInfo    Weight ActiveConn InActConn";
            writeln!(out, "{LOCAL} Scheduler Flags\n{REMOTE:<33} {remote}")
        }
        View::Plain => {
            let remote = "Forward Weight ActiveConn InActConn";
            writeln!(out, "{LOCAL} Scheduler Flags\n{REMOTE:<33} {remote}")
        }
    }
}

fn service_name(key: ServiceKey, format: ListFormat, names: &dyn Names) -> String {
    match key {
        ServiceKey::Fwmark(Fwmark { mark: m, ipv6 }) => {
            format!("FWM  {}{}", mark(m), if ipv6 { " IPv6" } else { "" })
        }
        ServiceKey::Address { protocol, address } => {
            let word = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            let mut name = format!("{word:<4} {}", endpoint(address, Some(protocol), format.numeric, names));
            if address.is_ipv4() {
                cut(&mut name, SERVICE_COLUMNS);
            }
            name
        }
    }
}

/// Cuts after `columns` characters.
fn cut(name: &mut String, columns: usize) {
    if let Some((at, _)) = name.char_indices().nth(columns) {
        name.truncate(at);
    }
}

fn service_line(
    out: &mut dyn Write,
    view: &ServiceView,
    format: ListFormat,
    names: &dyn Names,
) -> io::Result<()> {
    let service = &view.service;
    let name = service_name(service.key, format, names);
    match format.view {
        View::Stats => {
            write!(out, "{name:<33}")?;
            return counters(out, stats(&view.stats), format.exact);
        }
        View::Rate => {
            write!(out, "{name:<33}")?;
            return counters(out, rates(&view.rates), format.exact);
        }
        View::Plain | View::Thresholds | View::PersistentConn | View::TunnelInfo => {}
    }
    write!(out, "{name} {}", service.scheduler.name())?;
    let flags = flags(service.scheduler, service.flags);
    if !flags.is_empty() {
        write!(out, " ({flags})")?;
    }
    if let Some(persistence) = service.persistence {
        write!(out, " persistent {}", persistence.timeout)?;
        if let Some(mask) = netmask(service) {
            write!(out, " mask {mask}")?;
        }
    }
    if let Some(engine) = &service.persistence_engine {
        write!(out, " pe {engine}")?;
    }
    if service.one_packet {
        write!(out, " ops")?;
    }
    writeln!(out)
}

const fn stats(s: &Stats) -> [u64; 5] {
    [s.connections, s.in_packets, s.out_packets, s.in_bytes, s.out_bytes]
}

const fn rates(r: &Rates) -> [u64; 5] {
    [r.connections, r.in_packets, r.out_packets, r.in_bytes, r.out_bytes]
}

fn counters(out: &mut dyn Write, values: [u64; 5], exact: bool) -> io::Result<()> {
    for value in values {
        out.write_all(counter(value, exact).as_bytes())?;
    }
    writeln!(out)
}

fn destination_line(
    out: &mut dyn Write,
    view: &DestinationView,
    protocol: Option<Protocol>,
    format: ListFormat,
    names: &dyn Names,
) -> io::Result<()> {
    let DestinationView { destination, active, inactive, persistent, .. } = view;
    let DestinationSpec { address, method, weight, upper, lower, .. } = destination;
    let mut name = endpoint(*address, protocol, format.numeric, names);
    if address.is_ipv4() {
        cut(&mut name, DESTINATION_COLUMNS);
    }
    write!(out, "  -> {name:<28}")?;
    match format.view {
        View::Stats => counters(out, stats(&view.stats), format.exact),
        View::Rate => {
            // The first three are never shortened.
            let [connections, in_packets, out_packets, in_bytes, out_bytes] = rates(&view.rates);
            write!(out, " {connections:>8} {in_packets:>8} {out_packets:>8}")?;
            let bytes = [in_bytes, out_bytes].map(|n| counter(n, format.exact));
            writeln!(out, "{}{}", bytes[0], bytes[1])
        }
        View::Thresholds => writeln!(out, " {upper:<10} {lower:<10} {active:<10} {inactive:<10}"),
        View::PersistentConn => writeln!(out, " {weight:<9} {persistent:<11} {active:<10} {inactive:<10}"),
        View::TunnelInfo => {
            let (method, tunnel) = (method.name(), tunnel_info(destination));
            writeln!(out, " {method:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}")
        }
        View::Plain => {
            writeln!(out, " {:<7} {weight:<6} {active:<10} {inactive:<10}", method.name())
        }
    }
}

/// `ipip`, `gue:6080:+c`, `gre:-c`, `n/a`.
fn tunnel_info(destination: &DestinationSpec) -> String {
    let tunnel = destination.tunnel.filter(|_| destination.method == ForwardingMethod::Tunnel);
    let Some(Tunnel { kind, port, checksum }) = tunnel else { return "n/a".to_owned() };
    let checksum = match checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Checksum => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match kind {
        TunnelKind::Ipip => "ipip".to_owned(),
        TunnelKind::Gue => format!("gue:{port}:{checksum}"),
        TunnelKind::Gre => format!("gre:{checksum}"),
    }
}
