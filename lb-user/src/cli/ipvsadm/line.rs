//! What the options of a command line say, one after the other, and the command they make.

use std::net::SocketAddr;

use super::Names;
use super::check;
use super::command::{Command, Service};
use super::lexer::Token;
use super::option::{Given, Opt, Verb, Word};
use super::parse::{Wrong, timeout, usage};
use super::value::{Endpoint, decimal, endpoint, ipv4_or_host, leading_number, number};
use crate::cli::render::{ConnectionFormat, ListFormat, View};
use crate::model::{
    DestinationSpec, ForwardingMethod, Fwmark, Netmask, Persistence, SchedulerFlags, ServiceKey, Timeouts,
    Tunnel, TunnelChecksum, TunnelKind,
};

/// Seconds of `-p` without a number.
const DEFAULT_PERSISTENCE: u32 = 360;

/// Largest threshold and weight.
const MAX_THRESHOLD: u32 = i32::MAX as u32;
const MAX_WEIGHT: u32 = 65_535;

/// Longest names of a scheduler and of a persistence engine, bytes: the rest is cut off
/// (`IP_VS_SCHEDNAME_MAXLEN`, `IP_VS_PENAME_MAXLEN`).
const NAME_MAX: usize = 16;

/// The scheduler of a service without `-s`.
const DEFAULT_SCHEDULER: &str = "wlc";

fn cut(text: &str) -> String {
    let end = (0..=NAME_MAX).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
    text.get(..end).unwrap_or(text).to_owned()
}

/// What the options said so far.
pub(super) struct Line<'n> {
    names: &'n dyn Names,
    pub(super) given: Given,
    key: Option<ServiceKey>,
    scheduler: String,
    flags: Option<String>,
    persistence: Option<Persistence>,
    netmask: Netmask,
    persistence_engine: Option<String>,
    server: Option<SocketAddr>,
    method: ForwardingMethod,
    weight: u32,
    upper: u32,
    lower: u32,
    tunnel: Tunnel,
    pub(super) timeouts: Timeouts,
}

impl<'n> Line<'n> {
    pub(super) fn new(names: &'n dyn Names) -> Self {
        Self {
            names,
            given: Given::default(),
            key: None,
            scheduler: String::new(),
            flags: None,
            persistence: None,
            netmask: Netmask::V4(u32::MAX),
            persistence_engine: None,
            server: None,
            method: ForwardingMethod::DirectRoute,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: Tunnel { kind: TunnelKind::Ipip, port: 0, checksum: TunnelChecksum::None },
            timeouts: Timeouts { tcp: 0, tcp_fin: 0, udp: 0 },
        }
    }

    fn once(&mut self, opt: Opt) -> Result<(), Wrong> {
        if self.given.add(opt) {
            return Ok(());
        }
        usage(format!("multiple '{}' options specified", opt.name()))
    }

    /// Takes down one option after the command; `culprit` is the word it was in.
    pub(super) fn take(&mut self, token: &Token<'_>, culprit: &str) -> Result<(), Wrong> {
        let argument = token.argument.unwrap_or_default();
        match token.word {
            Word::Verb(_) => return usage(format!("invalid option `{culprit}'")),
            Word::Sort => {}
            Word::Address(protocol) => {
                self.once(Opt::Service)?;
                let Some(Endpoint { address, port }) = endpoint(argument, Some(protocol), self.names) else {
                    return usage("illegal virtual server address[:port] specified");
                };
                if address.is_ipv6() {
                    self.netmask = Netmask::V6(128);
                }
                let address = SocketAddr::new(address, port.unwrap_or(0));
                self.key = Some(ServiceKey::Address { protocol, address });
            }
            Word::Fwmark => {
                self.once(Opt::Service)?;
                let mark = decimal(argument).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
                let Some(mark) = mark else {
                    return usage(format!("invalid fwmark value `{argument}' specified"));
                };
                self.key = Some(ServiceKey::Fwmark(Fwmark { mark, ipv6: false }));
            }
            Word::Ipv6 => {
                let Some(ServiceKey::Fwmark(fwmark)) = &mut self.key else {
                    return usage("-6 used before -f\n");
                };
                fwmark.ipv6 = true;
                self.netmask = Netmask::V6(128);
            }
            Word::Method(method) => {
                self.once(Opt::Forward)?;
                self.method = method;
            }
            Word::Opt(opt) => {
                self.once(opt)?;
                self.option(opt, token.argument, argument)?;
            }
        }
        Ok(())
    }

    fn option(&mut self, opt: Opt, given: Option<&str>, argument: &str) -> Result<(), Wrong> {
        let illegal = |what: &str| Wrong::Usage(format!("illegal {what} specified"));
        match opt {
            Opt::Scheduler => self.scheduler = cut(argument),
            Opt::SchedFlags => self.flags = Some(argument.to_owned()),
            Opt::PersistenceEngine => self.persistence_engine = Some(cut(argument)),
            Opt::Persistent => {
                let timeout = given.map_or(Ok(DEFAULT_PERSISTENCE), |text| timeout(text, 1))?;
                self.persistence = Some(Persistence { timeout });
            }
            Opt::Netmask => self.netmask = self.mask(argument)?,
            Opt::Server => {
                let protocol = match self.key {
                    Some(ServiceKey::Address { protocol, .. }) => Some(protocol),
                    // ipvsadm holds a mark's service for a TCP one here.
                    Some(ServiceKey::Fwmark(_)) => Some(crate::model::Protocol::Tcp),
                    None => None,
                };
                let server = endpoint(argument, protocol, self.names);
                let server = server.ok_or_else(|| illegal("real server address[:port]"))?;
                let port = server.port.unwrap_or_else(|| self.key.map_or(0, |k| k.port()));
                self.server = Some(SocketAddr::new(server.address, port));
            }
            Opt::Weight => {
                self.weight = number(argument, 0, MAX_WEIGHT).ok_or_else(|| illegal("weight"))?;
            }
            Opt::UpperThreshold => {
                self.upper = number(argument, 0, MAX_THRESHOLD).ok_or_else(|| illegal("u_threshold"))?;
            }
            Opt::LowerThreshold => {
                self.lower = number(argument, 0, MAX_THRESHOLD).ok_or_else(|| illegal("l_threshold"))?;
            }
            Opt::TunType => {
                self.tunnel.kind = match argument {
                    "ipip" => TunnelKind::Ipip,
                    "gue" => TunnelKind::Gue,
                    "gre" => TunnelKind::Gre,
                    _ => return Err(illegal("tunnel type")),
                };
            }
            Opt::TunPort => {
                let port = number(argument, 1, 65_535).and_then(|n| u16::try_from(n).ok());
                self.tunnel.port = port.ok_or_else(|| illegal("tunnel port"))?;
            }
            Opt::TunNocsum => self.tunnel.checksum = TunnelChecksum::None,
            Opt::TunCsum => self.tunnel.checksum = TunnelChecksum::Checksum,
            Opt::TunRemcsum => self.tunnel.checksum = TunnelChecksum::Remote,
            Opt::SyncId | Opt::McastGroup | Opt::McastPort | Opt::McastTtl | Opt::SyncMaxlen => {
                check::sync_option(opt, argument)?;
            }
            Opt::Service
            | Opt::Forward
            | Opt::Numeric
            | Opt::Connection
            | Opt::McastInterface
            | Opt::Timeout
            | Opt::Daemon
            | Opt::Stats
            | Opt::Rate
            | Opt::Thresholds
            | Opt::PersistentConn
            | Opt::NoSort
            | Opt::Exact
            | Opt::OnePacket
            | Opt::TunInfo => {}
        }
        Ok(())
    }

    fn mask(&self, text: &str) -> Result<Netmask, Wrong> {
        if matches!(self.netmask, Netmask::V6(_)) {
            let prefix = u8::try_from(leading_number(text)).ok().filter(|n| (1..=128).contains(n));
            return prefix
                .map(Netmask::V6)
                .ok_or_else(|| Wrong::Usage("illegal ipv6 netmask specified".to_owned()));
        }
        match ipv4_or_host(text, self.names) {
            Some(mask) => Ok(Netmask::V4(mask.to_bits())),
            None => usage("illegal virtual server persistent mask specified"),
        }
    }

    /// The command, with the checks that look at several options together.
    pub(super) fn command(self, verb: Verb) -> Result<Command, Wrong> {
        // `fitting` has seen to it that they are there where they are needed.
        let (key, server) = (self.key, self.server);
        let key = || key.ok_or(Wrong::TryHelp);
        let server = || server.ok_or(Wrong::TryHelp);
        Ok(match verb {
            Verb::AddService => Command::AddService(self.service(key()?)?),
            Verb::EditService => Command::EditService(self.service(key()?)?),
            Verb::DeleteService => Command::DeleteService(key()?),
            Verb::Clear => Command::Clear,
            Verb::AddServer => Command::AddDestination(key()?, self.destination(key()?, server()?)?),
            Verb::EditServer => Command::EditDestination(key()?, self.destination(key()?, server()?)?),
            Verb::DeleteServer => Command::DeleteDestination(key()?, server()?),
            Verb::List => self.list()?,
            Verb::Set => Command::SetTimeouts(self.timeouts),
            Verb::StartDaemon => Command::StartDaemon,
            Verb::StopDaemon => Command::StopDaemon,
            Verb::Restore => Command::Restore,
            Verb::Save => Command::Save(self.format()),
            Verb::Zero => Command::Zero(self.key),
            Verb::Help => Command::Help,
            Verb::Version => Command::Version,
        })
    }

    fn service(self, key: ServiceKey) -> Result<Service, Wrong> {
        let one_packet = self.given.has(Opt::OnePacket);
        check::service(key, self.persistence, one_packet)?;
        let scheduler = if self.scheduler.is_empty() { DEFAULT_SCHEDULER.to_owned() } else { self.scheduler };
        let flags = match &self.flags {
            Some(flags) => check::scheduler_flags(&scheduler, flags)?,
            None => SchedulerFlags::default(),
        };
        Ok(Service {
            key,
            scheduler,
            flags,
            persistence: self.persistence,
            netmask: self.netmask,
            one_packet,
            persistence_engine: self.persistence_engine.filter(|name| !name.is_empty()),
        })
    }

    fn destination(&self, key: ServiceKey, mut address: SocketAddr) -> Result<DestinationSpec, Wrong> {
        let tunnel = self.method == ForwardingMethod::Tunnel;
        // DR and tunnels do not rewrite the packet, so the port is the service's whatever was typed.
        if let ServiceKey::Address { address: service, .. } = key
            && self.method != ForwardingMethod::Masq
        {
            address.set_port(service.port());
        }
        if key.is_ipv6() != address.is_ipv6() && !tunnel {
            return usage("Different address family is allowed only for tunneling servers");
        }
        check::tunnel(self.tunnel.kind, self.given, tunnel)?;
        Ok(DestinationSpec {
            address,
            method: self.method,
            weight: self.weight,
            upper: self.upper,
            lower: self.lower,
            tunnel: tunnel.then_some(self.tunnel),
        })
    }

    fn list(&self) -> Result<Command, Wrong> {
        let given = self.given;
        let timeout_or_daemon = given.any(&[Opt::Timeout, Opt::Daemon]);
        let counters = given.any(&[Opt::Stats, Opt::Rate, Opt::Thresholds]);
        if (timeout_or_daemon || given.has(Opt::Connection)) && counters
            || timeout_or_daemon && given.has(Opt::PersistentConn)
        {
            return usage("options conflicts in the list command");
        }
        Ok(if given.has(Opt::Connection) {
            Command::ListConnections(ConnectionFormat {
                numeric: given.has(Opt::Numeric),
                engine: given.has(Opt::PersistentConn),
            })
        } else if given.has(Opt::Service) {
            Command::List(self.key, self.format())
        } else if given.has(Opt::Timeout) {
            Command::ListTimeouts
        } else if given.has(Opt::Daemon) {
            Command::ListDaemons
        } else {
            Command::List(None, self.format())
        })
    }

    fn format(&self) -> ListFormat {
        let views = [
            (Opt::Stats, View::Stats),
            (Opt::Rate, View::Rate),
            (Opt::Thresholds, View::Thresholds),
            (Opt::PersistentConn, View::PersistentConn),
            (Opt::TunInfo, View::TunnelInfo),
        ];
        let view = views.into_iter().find(|(opt, _)| self.given.has(*opt)).map_or(View::Plain, |v| v.1);
        ListFormat {
            view,
            numeric: self.given.has(Opt::Numeric),
            exact: self.given.has(Opt::Exact),
            sort: !self.given.has(Opt::NoSort),
        }
    }
}
