//! Services and destinations as the commands that make them (`ipvsadm -S`). Thresholds are not among
//! them, as in ipvsadm.

use std::io::{self, Write};

use super::format::{endpoint, flags, mark, netmask, protocol};
use crate::api::ServiceView;
use crate::cli::ipvsadm::Names;
use crate::model::{
    DestinationSpec, ForwardingMethod, Fwmark, Protocol, ServiceKey, Tunnel, TunnelChecksum, TunnelKind,
};

/// Prints a line for each service and each destination, in the order they have.
pub(in crate::cli) fn rules(
    out: &mut dyn Write,
    services: &[ServiceView],
    numeric: bool,
    names: &dyn Names,
) -> io::Result<()> {
    for view in services {
        let service = &view.service;
        let key = key(service.key, numeric, names);
        write!(out, "-A {key} -s {}", service.scheduler.name())?;
        if let Some(persistence) = service.persistence {
            write!(out, " -p {}", persistence.timeout)?;
            if let Some(mask) = netmask(service) {
                write!(out, " -M {mask}")?;
            }
        }
        if let Some(engine) = &service.persistence_engine {
            write!(out, " --pe {engine}")?;
        }
        if service.one_packet {
            write!(out, " -o")?;
        }
        let flags = flags(service.scheduler, service.flags);
        if !flags.is_empty() {
            write!(out, " -b {flags}")?;
        }
        writeln!(out)?;
        for destination in &view.destinations {
            let destination = &destination.destination;
            let server = endpoint(destination.address, protocol(service.key), numeric, names);
            writeln!(out, "-a {key} -r {server} {}", method(destination))?;
        }
    }
    Ok(())
}

fn key(key: ServiceKey, numeric: bool, names: &dyn Names) -> String {
    match key {
        ServiceKey::Fwmark(Fwmark { mark: m, ipv6 }) => {
            format!("-f {}{}", mark(m), if ipv6 { " -6" } else { "" })
        }
        ServiceKey::Address { protocol, address } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", endpoint(address, Some(protocol), numeric, names))
        }
    }
}

fn method(destination: &DestinationSpec) -> String {
    let weight = destination.weight;
    let method = match destination.method {
        ForwardingMethod::Masq => "-m",
        ForwardingMethod::Tunnel => "-i",
        // The director's own stack is reached by any method; `-g` asks for nothing more.
        ForwardingMethod::DirectRoute | ForwardingMethod::Local | ForwardingMethod::Bypass => "-g",
    };
    let tunnel = destination.tunnel.filter(|_| destination.method == ForwardingMethod::Tunnel);
    let Some(Tunnel { kind, port, checksum }) = tunnel else { return format!("{method} -w {weight}") };
    let checksum = match checksum {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Checksum => "--tun-csum",
        TunnelChecksum::Remote => "--tun-remcsum",
    };
    let tunnel = match kind {
        TunnelKind::Ipip => "--tun-type ipip".to_owned(),
        TunnelKind::Gue => format!("--tun-type gue --tun-port {port} {checksum}"),
        TunnelKind::Gre => format!("--tun-type gre {checksum}"),
    };
    format!("{method} -w {weight} {tunnel}")
}
