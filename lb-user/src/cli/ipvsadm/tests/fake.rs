//! A director that keeps its rules in memory and answers as the kernel does, and the hosts and
//! services of the machine on which the recordings were made.

use std::net::{IpAddr, Ipv4Addr};

use crate::api::{
    ConnectionView, DestinationView, ErrorKind, Neighbour, Rates, Refusal, Request, Response, ServiceView,
    Stats,
};
use crate::cli::ipvsadm::Names;
use crate::cli::{Control, ControlError};
use crate::model::{DestinationSpec, Owner, Protocol, ServiceKey, ServiceSpec, Timeouts};

/// The director: no packets, so no counters but those that a test puts in.
#[derive(Debug, Default)]
pub(super) struct Director {
    pub(super) services: Vec<ServiceView>,
    pub(super) connections: Vec<ConnectionView>,
    pub(super) timeouts: Timeouts,
    /// Every request so far.
    pub(super) asked: Vec<Request>,
    /// Answers every request so.
    pub(super) refuses: Option<Refusal>,
    /// Nobody answers.
    pub(super) dead: bool,
}

fn refused(kind: ErrorKind) -> Response {
    Response::Refused(Refusal { kind, message: "refused".to_owned(), hint: None })
}

pub(super) fn destination_view(destination: DestinationSpec) -> DestinationView {
    DestinationView {
        destination,
        owner: Owner::Operator,
        active: 0,
        inactive: 0,
        persistent: 0,
        overloaded: false,
        stats: Stats::default(),
        rates: Rates::default(),
        neighbour: Neighbour::Unresolved { why: "no packets here".to_owned() },
    }
}

fn service_view(service: ServiceSpec) -> ServiceView {
    ServiceView {
        service,
        owner: Owner::Operator,
        stats: Stats::default(),
        rates: Rates::default(),
        destinations: Vec::new(),
    }
}

impl Director {
    fn find(&mut self, key: ServiceKey) -> Result<&mut ServiceView, ErrorKind> {
        let found = self.services.iter_mut().find(|s| s.service.key == key);
        found.ok_or(ErrorKind::NoSuchService)
    }

    fn put_destination(
        &mut self,
        key: ServiceKey,
        destination: &DestinationSpec,
        edit: bool,
    ) -> Result<(), ErrorKind> {
        let service = self.find(key)?;
        if destination.lower > destination.upper {
            return Err(ErrorKind::OutOfRange);
        }
        let found = service.destinations.iter_mut().find(|d| d.destination.address == destination.address);
        match (found, edit) {
            (Some(_), false) => return Err(ErrorKind::DestinationExists),
            (None, true) => return Err(ErrorKind::NoSuchDestination),
            (Some(found), true) => found.destination = destination.clone(),
            // The kernel puts a new one in front.
            (None, false) => service.destinations.insert(0, destination_view(destination.clone())),
        }
        Ok(())
    }

    fn change(&mut self, request: &Request) -> Result<(), ErrorKind> {
        match request {
            Request::AddService { service } => {
                if self.find(service.key).is_ok() {
                    return Err(ErrorKind::ServiceExists);
                }
                self.services.push(service_view(service.clone()));
            }
            Request::EditService { service } => self.find(service.key)?.service = service.clone(),
            Request::DeleteService { key } => {
                self.find(*key)?;
                self.services.retain(|s| s.service.key != *key);
            }
            Request::Clear => self.services.clear(),
            Request::AddDestination { key, destination } => self.put_destination(*key, destination, false)?,
            Request::EditDestination { key, destination } => self.put_destination(*key, destination, true)?,
            Request::DeleteDestination { key, address } => {
                let service = self.find(*key)?;
                let before = service.destinations.len();
                service.destinations.retain(|d| d.destination.address != *address);
                if service.destinations.len() == before {
                    return Err(ErrorKind::NoSuchDestination);
                }
            }
            Request::Zero { key: Some(key) } => self.find(*key)?.stats = Stats::default(),
            Request::Zero { key: None } => {
                self.services.iter_mut().for_each(|s| s.stats = Stats::default());
            }
            Request::SetTimeouts { timeouts } => {
                let now = &mut self.timeouts;
                for (now, new) in [
                    (&mut now.tcp, timeouts.tcp),
                    (&mut now.tcp_fin, timeouts.tcp_fin),
                    (&mut now.udp, timeouts.udp),
                ] {
                    if new != 0 {
                        *now = new;
                    }
                }
            }
            other => panic!("not a change: {other:?}"),
        }
        Ok(())
    }
}

impl Control for Director {
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        self.asked.push(request.clone());
        if self.dead {
            let message = "lbd of instance default does not answer at /run/lb/default/socket".to_owned();
            let hint = Some("start it with: lbd --interface INTERFACE".to_owned());
            return Err(ControlError { message, hint });
        }
        if let Some(refusal) = &self.refuses {
            part(Response::Refused(refusal.clone()));
            return Ok(());
        }
        match request {
            Request::Services { key } => {
                if let Some(key) = key {
                    match self.find(*key) {
                        Ok(service) => part(Response::Services { services: vec![service.clone()] }),
                        Err(kind) => {
                            part(refused(kind));
                            return Ok(());
                        }
                    }
                } else {
                    // In several lines, as lbd does with many.
                    for service in &self.services {
                        part(Response::Services { services: vec![service.clone()] });
                    }
                }
                part(Response::Done);
            }
            Request::Connections => {
                for chunk in self.connections.chunks(5) {
                    part(Response::Connections { connections: chunk.to_vec() });
                }
                part(Response::Done);
            }
            Request::Timeouts => part(Response::Timeouts { timeouts: self.timeouts }),
            change => match self.change(change) {
                Ok(()) => part(Response::Done),
                Err(kind) => part(refused(kind)),
            },
        }
        Ok(())
    }
}

/// The machine's names (README of the recordings).
#[derive(Debug)]
pub(super) struct Hosts;

const HOSTS: [(&str, &[&str]); 5] = [
    ("127.0.0.1", &["localhost", "ipvs-vm"]),
    ("192.0.2.1", &["vip.example", "vip"]),
    ("198.51.100.11", &["real1.example", "real1"]),
    ("2001:db8::1", &["vip6.example"]),
    ("2001:db8:1::11", &["real6.example"]),
];

/// Those of /etc/services that the recordings meet, with tcp and udp alike.
const SERVICES: [(u16, &str); 8] = [
    (7, "echo"),
    (9, "discard"),
    (13, "daytime"),
    (53, "domain"),
    (80, "http"),
    (443, "https"),
    (5060, "sip"),
    (8080, "http-alt"),
];

/// Those with tcp only.
const TCP_SERVICES: [(u16, &str); 2] = [(1, "tcpmux"), (11, "systat")];

fn of(protocol: Protocol) -> impl Iterator<Item = (u16, &'static str)> {
    let both: &[(u16, &str)] = if protocol == Protocol::Sctp { &[] } else { &SERVICES };
    let tcp: &[(u16, &str)] = if protocol == Protocol::Tcp { &TCP_SERVICES } else { &[] };
    both.iter().chain(tcp).copied()
}

impl Names for Hosts {
    fn host_to_addr(&self, name: &str) -> Option<Ipv4Addr> {
        HOSTS.iter().filter(|(_, names)| names.contains(&name)).find_map(|(ip, _)| ip.parse().ok())
    }

    fn service_to_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        of(protocol).find(|(_, n)| *n == name).map(|(port, _)| port)
    }

    fn addr_to_host(&self, address: IpAddr) -> Option<String> {
        HOSTS.iter().find(|(ip, _)| ip.parse() == Ok(address)).map(|(_, names)| names[0].to_owned())
    }

    fn port_to_service(&self, port: u16, protocol: Protocol) -> Option<String> {
        of(protocol).find(|(p, _)| *p == port).map(|(_, name)| name.to_owned())
    }
}
