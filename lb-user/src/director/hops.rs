//! Next hops of destinations, and the interfaces they leave by.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{self, Interface, destination_flags, interface_flags};
use lb_common::family::words;

use super::state::{Destination, Live};
use super::{Director, Effect, Link, check};
use crate::api::Neighbour;
use crate::model::NextHop;
use crate::plan::{interface_index, service_key, tunnel_source};

/// What is known of the way to an address.
#[derive(Debug, Clone, Default)]
pub(super) struct Hop {
    /// Destinations of that address that are in their services.
    users: BTreeSet<u32>,
    /// The last answer.
    state: Option<NextHop>,
    /// Whether nobody waits for the first answer any more.
    waited: bool,
}

/// A destination's way as the maps have it.
pub(super) struct Way {
    pub(super) hop: abi::Hop,
    pub(super) local: bool,
    /// Bytes of IP, 0 where it is not known.
    pub(super) mtu: u32,
    /// The director's address that the route prefers.
    pub(super) source: Option<IpAddr>,
}

impl Way {
    const NOWHERE: Self = Self { hop: abi::Hop::UNRESOLVED, local: false, mtu: 0, source: None };
}

impl Director {
    /// Whether the address is the director's own, as far as known.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || self.hops.get(&address).is_some_and(|hop| hop.state == Some(NextHop::Local))
            || self.addresses.as_ref().is_some_and(|own| own.contains(&address))
    }

    /// Whether a request about the address need not wait.
    pub(super) fn knows_way(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || self.hops.get(&address).is_some_and(|hop| {
                hop.waited || matches!(hop.state, Some(NextHop::Local | NextHop::Resolved { .. }))
            })
    }

    /// Begins to look for the way to an address.
    pub(super) fn look_up(&mut self, address: IpAddr) {
        if !address.is_loopback() && !self.hops.contains_key(&address) {
            self.hops.insert(address, Hop::default());
            self.effects.push(Effect::Watch(address));
        }
    }

    /// A destination begins to use the way to its address.
    pub(super) fn watch(&mut self, address: IpAddr, id: u32) {
        self.look_up(address);
        if let Some(hop) = self.hops.get_mut(&address) {
            hop.users.insert(id);
        }
    }

    /// A destination uses the way to its address no more.
    pub(super) fn unwatch(&mut self, address: IpAddr, id: u32) {
        self.stop_using(address, id);
        self.forget_unused(address);
    }

    /// As [`Self::unwatch`], where another may begin to use it before anybody looks.
    pub(super) fn stop_using(&mut self, address: IpAddr, id: u32) {
        if let Some(hop) = self.hops.get_mut(&address) {
            hop.users.remove(&id);
        }
    }

    /// Ends the look-up of an address that no destination and no request is about.
    pub(super) fn forget_unused(&mut self, address: IpAddr) {
        let unused = self.hops.get(&address).is_some_and(|hop| hop.users.is_empty());
        if unused && !self.parked.iter().any(|p| p.address == address) {
            self.hops.remove(&address);
            self.effects.push(Effect::Unwatch(address));
        }
    }

    /// [`super::Event::NextHop`].
    pub(super) fn next_hop<L: Live>(&mut self, live: &L, address: IpAddr, next: NextHop, now: Duration) {
        let Some(hop) = self.hops.get_mut(&address) else { return };
        if hop.state.as_ref() != Some(&next) {
            match &next {
                NextHop::Local => {
                    tracing::info!(destination = %address, "the destination is the director itself")
                }
                NextHop::Resolved { mac, .. } => {
                    tracing::info!(destination = %address, mac = %mac_text(*mac), "next hop resolved");
                }
                NextHop::Unresolved { why } if matches!(hop.state, Some(NextHop::Unresolved { .. })) => {
                    tracing::debug!(destination = %address, why, "next hop still unresolved");
                }
                NextHop::Unresolved { why } => {
                    tracing::warn!(destination = %address, why, "next hop unresolved: no new connections go there");
                }
            }
        }
        hop.state = Some(next);
        self.touched.destinations.extend(&hop.users);
        self.commit(live, now);
        if self.knows_way(address) {
            self.unpark(live, address, now);
        }
    }

    /// [`super::Event::Waited`].
    pub(super) fn waited<L: Live>(&mut self, live: &L, address: IpAddr, now: Duration) {
        if let Some(hop) = self.hops.get_mut(&address) {
            hop.waited = true;
            self.touched.destinations.extend(&hop.users);
        }
        self.commit(live, now);
        self.unpark(live, address, now);
    }

    /// [`super::Event::RoutesChanged`].
    pub(super) fn routes_changed<L: Live>(&mut self, live: &L, now: Duration) {
        let generation = &mut self.wanted.settings.route_generation;
        *generation = generation.wrapping_add(1);
        self.commit(live, now);
    }

    /// [`super::Event::Links`].
    pub(super) fn links<L: Live>(&mut self, live: &L, links: Vec<Link>, now: Duration) {
        self.wanted.interfaces.clear();
        for link in &links {
            let Some(mac) = link.mac else { continue };
            let [a, b, c, d, e, f] = mac;
            let value = Interface {
                ifindex: link.ifindex,
                flags: if link.attached { interface_flags::ATTACHED } else { 0 },
                mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
                second_mac: 0,
                mtu: link.mtu,
                _reserved: 0,
                name: name_words(&link.name),
                _room: [0; 2],
            };
            // Of two with the same place the attached one stays; the other's destinations are unresolved.
            let place = self.wanted.interfaces.entry(interface_index(link.ifindex)).or_insert(value);
            if link.attached {
                *place = value;
            }
        }
        self.links = links.into_iter().map(|link| (link.ifindex, link)).collect();
        self.touched.destinations.extend(self.hops.values().flat_map(|hop| &hop.users));
        self.commit(live, now);
    }

    /// The way of a destination: what the maps have, as long as nothing is known.
    pub(super) fn way(&self, id: u32, d: &Destination) -> Way {
        let known = self.maps.destinations.get(&id).filter(|m| {
            service_key(m) == Some(d.service) && crate::plan::destination_address(m) == d.spec.address
        });
        let present = Way {
            hop: known.map_or(abi::Hop::UNRESOLVED, |m| m.hop),
            local: known.is_some_and(|m| m.flags & destination_flags::LOCAL != 0),
            mtu: known.map_or(0, |m| m.mtu),
            source: known.and_then(tunnel_source),
        };
        if d.removed_at.is_some() {
            return present;
        }
        match self.route(d) {
            Route::Unknown => present,
            Route::Local => Way { local: true, ..Way::NOWHERE },
            Route::Hop { mac, link, mtu, source, .. } => {
                Way { hop: abi::Hop::new(mac, interface_index(link.ifindex)), local: false, mtu, source }
            }
            Route::None(_) => Way::NOWHERE,
        }
    }

    /// The way of a destination in a listing.
    pub(super) fn neighbour(&self, id: u32, d: &Destination) -> Neighbour {
        match self.route(d) {
            // Just adopted: what the data path goes by.
            Route::Unknown => match self.way(id, d) {
                Way { local: true, .. } => Neighbour::Local,
                Way { hop, .. } if hop.is_resolved() => {
                    let leaving = |link: &&Link| interface_index(link.ifindex) == hop.interface();
                    let name = self.links.values().find(leaving).map(|link| link.name.clone());
                    let interface = name.unwrap_or_else(|| format!("interface {}", hop.interface()));
                    Neighbour::Resolved { mac: mac_text(hop.mac()), interface, gateway: None }
                }
                Way { .. } => Neighbour::Unresolved { why: "not looked up yet".to_owned() },
            },
            Route::Local => Neighbour::Local,
            Route::Hop { mac, link, gateway, .. } => {
                Neighbour::Resolved { mac: mac_text(mac), interface: link.name.clone(), gateway }
            }
            Route::None(why) => Neighbour::Unresolved { why },
        }
    }

    /// Where packets to a destination go.
    pub(super) fn route(&self, d: &Destination) -> Route<'_> {
        let address = d.spec.address.ip();
        let local = || match check::local(&d.service, &d.spec) {
            Ok(()) => Route::Local,
            Err(refusal) => Route::None(refusal.message),
        };
        if address.is_loopback() {
            return local();
        }
        let hop = self.hops.get(&address);
        match hop.and_then(|hop| hop.state.as_ref()) {
            None => Route::Unknown,
            // The kernel may have forgotten a neighbour that the data path goes on using.
            Some(NextHop::Unresolved { .. }) if hop.is_some_and(|hop| !hop.waited) => Route::Unknown,
            Some(NextHop::Local) => local(),
            Some(NextHop::Unresolved { why }) => Route::None(why.clone()),
            Some(NextHop::Resolved { source: None, .. }) if self.needs_source(d) => {
                Route::None(format!("the director has no address to send to {address} from"))
            }
            Some(NextHop::Resolved { mac, ifindex, gateway, mtu, source }) => {
                let placed = self.wanted.interfaces.get(&interface_index(*ifindex));
                match self.links.get(ifindex) {
                    Some(link) if placed.is_some_and(|i| i.ifindex == *ifindex) => {
                        Route::Hop { mac: *mac, link, gateway: *gateway, mtu: *mtu, source: *source }
                    }
                    Some(link) => Route::None(format!("nothing can be sent by interface {}", link.name)),
                    None => Route::None(format!("interface {ifindex} is gone")),
                }
            }
        }
    }
}

/// Where packets to a destination go.
pub(super) enum Route<'a> {
    /// Not known yet.
    Unknown,
    /// To the director's own stack.
    Local,
    /// To a next hop.
    Hop {
        /// Its MAC.
        mac: [u8; 6],
        /// The leaving interface.
        link: &'a Link,
        /// The gateway.
        gateway: Option<IpAddr>,
        /// MTU towards the destination, bytes of IP.
        mtu: u32,
        /// The director's address that the route prefers.
        source: Option<IpAddr>,
    },
    /// Nowhere, with the reason.
    None(String),
}

/// The name of an interface as [`Interface::name`] has it.
fn name_words(name: &str) -> [u64; 2] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    words(bytes)
}

pub(super) fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
