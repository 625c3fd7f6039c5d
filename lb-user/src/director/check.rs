//! What a client may ask for: the kernel's checks in the kernel's order, and what this version refuses.

use std::net::{IpAddr, SocketAddr};

use lb_common::sched::MH_SIZES;

use super::Director;
use super::state::Service;
use crate::api::{ErrorKind, Refusal};
use crate::model::{
    DestinationSpec, ForwardingMethod, Netmask, Protocol, Scheduler, ServiceKey, ServiceSpec, TunnelKind,
};
use crate::plan::{SIP, engine_number};

/// Greatest weight, as ipvsadm takes.
const MAX_WEIGHT: u32 = 65_535;

/// Greatest threshold: the kernel's is a C int.
const MAX_THRESHOLD: u32 = i32::MAX as u32;

pub(super) fn refuse(kind: ErrorKind, message: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into(), hint: None }
}

pub(super) fn with_hint(kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into(), hint: Some(hint.into()) }
}

/// A service as ipvsadm's options name it.
pub(super) fn options(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol, address } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {address}")
        }
        ServiceKey::Fwmark(f) => format!("-f {}{}", f.mark, if f.ipv6 { " -6" } else { "" }),
    }
}

/// Whether the data path can do a service.
pub(super) fn service(spec: &ServiceSpec) -> Result<(), Refusal> {
    let key = &spec.key;
    match key {
        ServiceKey::Fwmark(f) if f.mark == 0 => {
            return Err(refuse(ErrorKind::Invalid, "a firewall mark is not 0"));
        }
        ServiceKey::Address { address, .. } if address.port() == 0 && spec.persistence.is_none() => {
            return Err(with_hint(
                ErrorKind::Invalid,
                format!("service {key}: only a persistent service can be of every port"),
                format!("lbadm -A {} -p", options(key)),
            ));
        }
        ServiceKey::Address { .. } | ServiceKey::Fwmark(_) => {}
    }
    if let Some(engine) = &spec.persistence_engine {
        if engine_number(engine).is_none() {
            return Err(with_hint(
                ErrorKind::NoSuchScheduler,
                format!("service {key}: there is no persistence engine `{engine}`"),
                format!("use --pe {SIP}, or leave it out: persistence then goes by client address"),
            ));
        }
        // The kernel takes both, and then drops every packet, or does not look at the engine.
        if !matches!(key, ServiceKey::Fwmark(_) | ServiceKey::Address { protocol: Protocol::Udp, .. }) {
            return Err(with_hint(
                ErrorKind::Invalid,
                format!("service {key}: persistence engine {engine} is only for UDP"),
                "leave out --pe: persistence then goes by client address",
            ));
        }
        if spec.persistence.is_none() {
            return Err(with_hint(
                ErrorKind::Invalid,
                format!("service {key}: persistence engine {engine} without persistence"),
                format!("lbadm -A {} -p --pe {engine}", options(key)),
            ));
        }
    }
    if let Some(p) = spec.persistence
        && p.timeout == 0
    {
        return Err(refuse(ErrorKind::Invalid, format!("service {key}: a persistence timeout is not 0")));
    }
    if let Some(size) = spec.mh_table_size
        && (spec.scheduler != Scheduler::Mh || !MH_SIZES.contains(&size))
    {
        return Err(refuse(
            ErrorKind::Invalid,
            format!("service {key}: {size} is no size of a table of mh, or the scheduler is another"),
        ));
    }
    let fits = match spec.netmask {
        Netmask::V4(_) => !key.is_ipv6(),
        Netmask::V6(prefix) => key.is_ipv6() && (1..=128).contains(&prefix),
    };
    if !fits {
        return Err(refuse(
            ErrorKind::Invalid,
            format!("service {key}: the netmask is not one of its address family"),
        ));
    }
    Ok(())
}

/// Whether an address can be a destination's (ip_vs_ctl.c asks it of destinations only).
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !(a.is_unspecified() || a.is_multicast() || a.is_broadcast()),
        IpAddr::V6(a) => !(a.is_unspecified() || a.is_multicast() || a.is_unicast_link_local()),
    }
}

/// The checks of a destination that come before whether it exists (ip_vs_ctl.c: ip_vs_add_dest,
/// ip_vs_edit_dest).
pub(super) fn destination(key: &ServiceKey, spec: &DestinationSpec) -> Result<(), Refusal> {
    let address = spec.address;
    if address.is_ipv6() != key.is_ipv6() && spec.method != ForwardingMethod::Tunnel {
        return Err(with_hint(
            ErrorKind::Invalid,
            format!("destination {address}: only a tunnel leads to the other address family than {key} has"),
            "use -i, or a destination of the service's own address family",
        ));
    }
    match spec.method {
        ForwardingMethod::Masq | ForwardingMethod::DirectRoute => {}
        ForwardingMethod::Tunnel => {
            if spec.tunnel.is_some_and(|t| t.kind == TunnelKind::Gue && t.port == 0) {
                return Err(with_hint(
                    ErrorKind::Invalid,
                    format!("destination {address}: a GUE tunnel needs a port"),
                    "add --tun-port 6080",
                ));
            }
        }
        ForwardingMethod::Local | ForwardingMethod::Bypass => {
            return Err(refuse(
                ErrorKind::Invalid,
                format!("destination {address}: `{}` is not a method to configure", spec.method.name()),
            ));
        }
    }
    sctp_port(key, spec)?;
    if spec.weight > MAX_WEIGHT {
        return Err(refuse(
            ErrorKind::OutOfRange,
            format!("destination {address}: the weight is above {MAX_WEIGHT}"),
        ));
    }
    if spec.lower > spec.upper {
        return Err(refuse(
            ErrorKind::OutOfRange,
            format!(
                "destination {address}: the lower threshold {} is above the upper one {}",
                spec.lower, spec.upper
            ),
        ));
    }
    if spec.upper > MAX_THRESHOLD {
        return Err(refuse(
            ErrorKind::Invalid,
            format!("destination {address}: the upper threshold is above {MAX_THRESHOLD}"),
        ));
    }
    Ok(())
}

/// NAT must not change SCTP's port: its checksum (CRC32c, RFC 9260 section 6.8) is over ports and all that follows, and the
/// data path would have to read the whole packet to make it anew. Addresses are not in it.
fn sctp_port(key: &ServiceKey, spec: &DestinationSpec) -> Result<(), Refusal> {
    let ServiceKey::Address { protocol: Protocol::Sctp, address: service } = key else { return Ok(()) };
    let (own, port) = (spec.address.port(), service.port());
    // Port 0 keeps the packet's.
    if spec.method != ForwardingMethod::Masq || own == port || own == 0 {
        return Ok(());
    }
    let same = SocketAddr::new(spec.address.ip(), port);
    Err(with_hint(
        ErrorKind::Unsupported,
        format!(
            "destination {}: NAT to another port than the service's {port} is not supported for SCTP, whose checksum is over the whole packet",
            spec.address
        ),
        format!("let the server listen on port {port} and use -r {same} -m, or direct routing: -r {same} -g"),
    ))
}

/// The checks of a new destination that come last (ip_vs_ctl.c: ip_vs_new_dest).
pub(super) fn new_destination(spec: &DestinationSpec) -> Result<(), Refusal> {
    if is_unicast(spec.address.ip()) {
        return Ok(());
    }
    Err(refuse(
        ErrorKind::Invalid,
        format!("{} is no unicast address that can be routed to", spec.address.ip()),
    ))
}

/// Why a destination that is the director itself cannot serve, where it cannot.
pub(super) fn local(key: &ServiceKey, spec: &DestinationSpec) -> Result<(), Refusal> {
    let port = spec.address.port();
    if spec.method != ForwardingMethod::Masq || port == 0 || port == key.port() {
        return Ok(());
    }
    Err(with_hint(
        ErrorKind::Unsupported,
        format!(
            "destination {}: a local server must listen on the service's own port {}, because the director's own stack gets the packet as it came",
            spec.address,
            key.port()
        ),
        format!(
            "let the server listen on port {} and use -r {}:{0}",
            key.port(),
            bracketed(spec.address.ip())
        ),
    ))
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => a.to_string(),
        IpAddr::V6(a) => format!("[{a}]"),
    }
}

impl Director {
    pub(super) fn existing_service(&self, key: &ServiceKey) -> Result<&Service, Refusal> {
        self.services.get(key).ok_or_else(|| {
            with_hint(
                ErrorKind::NoSuchService,
                format!("service {key} does not exist"),
                format!("lbadm -A {}", options(key)),
            )
        })
    }
}
