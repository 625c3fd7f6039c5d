//! Virtual addresses that this host does not have, and who answers for them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::hops::{Route, mac_text};
use super::{Director, Effect};
use crate::api::AnsweredElsewhere;
use crate::model::{Responder, ServiceKey};

impl Director {
    /// Has it found out who answers for the virtual addresses that this host lacks, where these changed.
    pub(super) fn ask_for_addresses(&mut self) {
        let Some(own) = self.addresses.as_ref().filter(|_| self.addresses_changed) else { return };
        let lacking: BTreeSet<IpAddr> = self
            .services
            .keys()
            .filter_map(|key| match key {
                ServiceKey::Address { address, .. } => Some(address.ip()),
                ServiceKey::Fwmark(_) => None,
            })
            .filter(|address| !own.contains(address) && !address.is_loopback())
            .collect();
        self.addresses_changed = false;
        if lacking != self.lacking {
            self.responders.retain(|address, _| lacking.contains(address));
            self.lacking.clone_from(&lacking);
            self.effects.push(Effect::Ask(lacking));
        }
    }

    /// [`super::Event::Addresses`].
    pub(super) fn own_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        self.addresses = Some(addresses);
        self.addresses_changed = true;
    }

    /// [`super::Event::Responder`].
    pub(super) fn responder(&mut self, address: IpAddr, responder: Responder) {
        if self.lacking.contains(&address) {
            self.responders.insert(address, responder);
        }
    }

    /// What is known of the virtual addresses that this host lacks still.
    fn answers(&self) -> impl Iterator<Item = (&IpAddr, &Responder)> {
        let own = self.addresses.as_ref();
        self.responders.iter().filter(move |(address, _)| own.is_none_or(|own| !own.contains(address)))
    }

    /// The virtual addresses for which other hosts answer.
    #[must_use]
    pub fn answered_elsewhere(&self) -> Vec<AnsweredElsewhere> {
        let other = |(address, responder): (&IpAddr, &Responder)| match responder {
            Responder::Host { mac, ifindex } => Some(AnsweredElsewhere {
                address: *address,
                mac: mac_text(*mac),
                interface: self.link_name(*ifindex),
            }),
            Responder::Nobody { .. } => None,
        };
        self.answers().filter_map(other).collect()
    }

    fn link_name(&self, ifindex: u32) -> String {
        self.links.get(&ifindex).map_or_else(|| format!("interface {ifindex}"), |link| link.name.clone())
    }

    /// Virtual addresses whose packets do not come here, in words.
    pub(super) fn unanswered(&self) -> Vec<String> {
        let interface = self.links.values().find(|link| link.attached).map_or("...", |link| &link.name);
        self.answers()
            .filter_map(|(address, responder)| {
                let (asks, width) = match address {
                    IpAddr::V4(_) => ("ARP", 32),
                    IpAddr::V6(_) => ("neighbour solicitations", 128),
                };
                let add = format!("ip address add {address}/{width} dev {interface}");
                match *responder {
                    Responder::Nobody { on_link: true } => Some(format!(
                        "nobody answers {asks} for {address}, so its packets do not come here: add it to an interface ({add})"
                    )),
                    Responder::Nobody { on_link: false } => Some(format!(
                        "nobody answers {asks} for {address}, which lies in no subnet of this host: have routers send its packets here, or add it to an interface ({add})"
                    )),
                    Responder::Host { mac, ifindex } => self.real_server_at(*address, mac, ifindex).map(|server| {
                        format!(
                            "real server {server} answers {asks} for {address}, so its packets pass by this host: keep it from that (arp_ignore=1 and arp_announce=2 there, the address on lo), and add it here ({add})"
                        )
                    }),
                }
            })
            .collect()
    }

    /// A destination of the services of a virtual address that has this MAC on this interface.
    fn real_server_at(&self, virtual_address: IpAddr, at: [u8; 6], by: u32) -> Option<IpAddr> {
        self.destinations.values().filter(|d| d.removed_at.is_none()).find_map(|d| {
            let of_it =
                matches!(d.service, ServiceKey::Address { address, .. } if address.ip() == virtual_address);
            match self.route(d) {
                Route::Hop { mac, link, gateway: None, .. } if of_it && mac == at && link.ifindex == by => {
                    Some(d.spec.address.ip())
                }
                _ => None,
            }
        })
    }
}
