//! A listing without lbd: the director's own view of what lies in the pinned maps (decision 8). Reads only.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{ABI_VERSION, destination_flags};
use lb_common::family::{Family, V4};

use super::core::chain;
use super::live::LiveMaps;
use super::state_dir::read_memory;
use crate::api::{Refusal, Request, Response, ServiceView};
use crate::bpf::Maps;
use crate::cli::{Control, ControlError};
use crate::client::Client;
use crate::director::{Director, Effect, Event, Link, NextHop, RequestId};
use crate::instance::Instance;
use crate::model::ServiceKey;
use crate::plan::Observed;

/// lbd over its socket; a listing also from the maps it left, with a word about that on standard error.
#[derive(Debug)]
pub struct ClientOrMaps {
    client: Client,
    instance: Instance,
}

impl ClientOrMaps {
    /// Whoever can answer for `instance`.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self { client: Client::new(&instance), instance }
    }
}

impl Control for ClientOrMaps {
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        self.client.ask(request, part)
    }

    fn detach(&mut self) -> Result<Vec<String>, ControlError> {
        self.client.detach()
    }

    fn offline_listing(
        &mut self,
        key: Option<ServiceKey>,
        error: ControlError,
    ) -> Result<Vec<ServiceView>, ControlError> {
        let maps = Maps::open_pinned(&self.instance.maps_dir(ABI_VERSION));
        let observed = match &maps {
            Ok(maps) => maps.observe(),
            // Nothing is pinned: that lbd does not answer says it all.
            Err(_) => return Err(error),
        };
        let (Ok(maps), Ok(observed)) = (maps, observed) else { return Err(error) };
        let services = list(&LiveMaps(&maps), observed, &self.instance, key)
            .map_err(|refusal| ControlError { message: refusal.message, hint: refusal.hint })?;
        eprintln!("note: {}; this is what its data path holds", error.message);
        Ok(services)
    }
}

/// The views of a director that finds `observed`; none of its effects is carried out.
fn list(
    live: &LiveMaps<'_>,
    observed: Observed,
    instance: &Instance,
    only: Option<ServiceKey>,
) -> Result<Vec<ServiceView>, Refusal> {
    let mut director = Director::new();
    let ways = ways(&observed);
    director.handle(live, Event::Links(links()), Duration::ZERO);
    director.handle(live, Event::Addresses(BTreeSet::new()), Duration::ZERO);
    let memory = read_memory(&instance.state_dir());
    director.handle(live, Event::Observed(Box::new(observed), Box::new(memory)), Duration::ZERO);
    for (address, next_hop) in ways {
        director.handle(live, Event::NextHop { address, next_hop }, Duration::ZERO);
    }
    let (mut services, mut after) = (Vec::new(), None);
    loop {
        let id = RequestId(0);
        let mut next = None;
        for effect in director.handle(live, Event::Services { id, only, after }, Duration::ZERO) {
            match effect {
                Effect::Page(_, page) => {
                    services.extend(page.services);
                    next = page.next;
                }
                Effect::Reply(_, Response::Refused(refusal)) => return Err(refusal),
                _ => {}
            }
        }
        match next {
            Some(key) => after = Some(key),
            None => return Ok(services),
        }
    }
}

/// The next hops that the maps hold.
fn ways(observed: &Observed) -> Vec<(IpAddr, NextHop)> {
    let known = observed.destinations.iter().map(|(_, destination)| {
        let address = if destination.family == 4 {
            IpAddr::from(V4::narrow(&destination.address))
        } else {
            IpAddr::from(destination.address)
        };
        let hop = destination.hop;
        let next_hop = if destination.flags & destination_flags::LOCAL != 0 {
            NextHop::Local
        } else if hop.is_resolved() {
            // An index in the map is the kernel's, up to a multiple of the map's size.
            NextHop::Resolved { mac: hop.mac(), ifindex: u32::from(hop.interface()), gateway: None }
        } else {
            NextHop::Unresolved { why: "not resolved when lbd ended".to_owned() }
        };
        (address, next_hop)
    });
    known.collect()
}

/// The interfaces of this host, by name.
fn links() -> Vec<Link> {
    let names = nix::net::if_::if_nameindex().map_err(|error| chain(&error));
    let Ok(names) = names else { return Vec::new() };
    let link = |i: &nix::net::if_::Interface| Link {
        ifindex: i.index(),
        name: i.name().to_string_lossy().into_owned(),
        mac: None,
        mtu: 0,
        attached: true,
    };
    names.iter().map(link).collect()
}
