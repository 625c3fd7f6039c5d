//! Timeouts, and the settings that services bring with them.

use std::net::IpAddr;

use lb_common::abi::{Settings, settings_flags};
use lb_common::conn::tcp;

use super::Director;
use super::state::{Destination, Scheduling};
use crate::model::{ForwardingMethod, Protocol, Scheduler, ServiceKey, Timeouts};

/// Port of FTP control connections.
const FTP: u16 = 21;

/// Most ticks of a timeout: an age is told from a clock that lies behind by its sign.
const MOST_TICKS: u64 = i32::MAX as u64;

/// Seconds in ticks.
pub(super) fn ticks(seconds: u32, hz: u32) -> u32 {
    u32::try_from((u64::from(seconds) * u64::from(hz)).min(MOST_TICKS)).unwrap_or(u32::MAX)
}

/// Fills in what a new map has not.
pub(super) fn with_defaults(mut settings: Settings) -> Settings {
    if settings.timeouts_seconds != [0; 3] {
        return settings;
    }
    for (slot, seconds) in settings.tcp_timeouts.iter_mut().zip(tcp::TIMEOUTS) {
        *slot = ticks(seconds, settings.hz);
    }
    set_timeouts(&mut settings, Timeouts::default());
    super::sysctl::defaults(&mut settings);
    if settings.icmp_interval == 0 {
        // icmp_ratelimit: 1000 ms.
        settings.icmp_interval = settings.hz;
    }
    settings
}

fn set_timeouts(settings: &mut Settings, timeouts: Timeouts) {
    let hz = settings.hz;
    let [tcp, tcp_fin, udp] = &mut settings.timeouts_seconds;
    if timeouts.tcp != 0 {
        *tcp = timeouts.tcp;
        settings.tcp_timeouts[tcp::ESTABLISHED as usize] = ticks(timeouts.tcp, hz);
    }
    if timeouts.tcp_fin != 0 {
        *tcp_fin = timeouts.tcp_fin;
        settings.tcp_timeouts[tcp::FIN_WAIT as usize] = ticks(timeouts.tcp_fin, hz);
    }
    if timeouts.udp != 0 {
        *udp = timeouts.udp;
        settings.udp_timeout = ticks(timeouts.udp, hz);
    }
}

impl Director {
    /// `--set`: 0 leaves a timeout as it is.
    pub(super) fn set_timeouts(&mut self, timeouts: Timeouts) {
        set_timeouts(&mut self.wanted.settings, timeouts);
    }

    /// The size of tables of mh without one of their own; their services get new ones.
    pub(super) fn set_mh_table_size(&mut self, size: Option<u32>) {
        let size = size.unwrap_or(0);
        if self.wanted.settings.mh_table_size == size {
            return;
        }
        self.wanted.settings.mh_table_size = size;
        for (key, service) in &self.services {
            if service.spec.scheduler == Scheduler::Mh {
                self.touched.service(*key, Scheduling::Same);
                if let Err(refusal) = self.slots_for(&service.spec, service.members.len()) {
                    // The table has no bucket for some of them.
                    tracing::warn!("{}", refusal.message);
                    self.reload_warnings.push(refusal.message);
                }
            }
        }
    }

    /// The timeouts in force.
    pub(super) fn timeouts(&self) -> Timeouts {
        let [tcp, tcp_fin, udp] = self.wanted.settings.timeouts_seconds;
        Timeouts { tcp, tcp_fin, udp }
    }

    /// A service begins or ends to concern packets.
    pub(super) fn concern_service(&mut self, key: &ServiceKey, begins: bool) {
        let (protocol, address) = match key {
            ServiceKey::Address { protocol, address } => (protocol, address),
            ServiceKey::Fwmark(mark) => return self.concern_mark(*mark, begins),
        };
        self.concern(address.ip(), begins);
        let change = |n: &mut u32| *n = if begins { n.saturating_add(1) } else { n.saturating_sub(1) };
        if address.port() == 0 {
            change(&mut self.any_port_services);
        }
        if address.port() == FTP && *protocol == Protocol::Tcp {
            change(&mut self.ftp_services);
        }
    }

    /// A destination begins or ends to concern packets: those to the virtual address of its
    /// connections, also after its service is gone, and those from a real server of NAT.
    pub(super) fn concern_destination(&mut self, d: &Destination, begins: bool) {
        match d.service {
            ServiceKey::Address { address, .. } => self.concern(address.ip(), begins),
            ServiceKey::Fwmark(mark) => self.concern_mark(mark, begins),
        }
        if d.spec.method == ForwardingMethod::Masq {
            self.concern(d.spec.address.ip(), begins);
        }
    }

    fn concern(&mut self, address: IpAddr, begins: bool) {
        if begins {
            self.prefilter.add(address);
        } else {
            self.prefilter.remove(address);
        }
    }

    /// Brings everything that is of all services up to date.
    pub(super) fn settle(&mut self) {
        self.wanted.prefilter.clear();
        self.wanted.prefilter.extend_from_slice(self.prefilter.words());
        let everything = self.settle_marks();
        let settings = &mut self.wanted.settings;
        for (flag, on) in [
            (settings_flags::FTP, self.ftp_services > 0),
            (settings_flags::ANY_PORT, self.any_port_services > 0),
            (settings_flags::NO_PREFILTER, everything),
        ] {
            settings.flags = if on { settings.flags | flag } else { settings.flags & !flag };
        }
    }
}

/// Whether a service's templates are of every port: port 0, and FTP.
pub(super) fn is_every_port(key: &ServiceKey) -> bool {
    match key {
        ServiceKey::Address { protocol, address } => {
            address.port() == 0 || (address.port() == FTP && *protocol == Protocol::Tcp)
        }
        ServiceKey::Fwmark(_) => false,
    }
}
