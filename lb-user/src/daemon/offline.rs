//! Listings without lbd: what lies in the pinned maps, seen by a director of one's own.

use std::io::Write as _;
use std::time::Duration;

use lb_common::ABI_VERSION;

use super::core::chain;
use super::live::LiveMaps;
use super::state_dir;
use crate::api::{Request, Response, ServiceView};
use crate::bpf::Maps;
use crate::cli::{Control, ControlError};
use crate::client::Client;
use crate::director::{Director, Effect, Event, Link, RequestId};
use crate::instance::Instance;
use crate::model::ServiceKey;

/// Whom the command line asks: lbd, or for a listing the maps themselves where it does not answer
/// (architecture decision 8).
#[derive(Debug)]
pub struct Console {
    client: Client,
    instance: Instance,
}

impl Console {
    /// The console of an instance.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self { client: Client::new(&instance), instance }
    }
}

impl Control for Console {
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        self.client.ask(request, part)
    }

    fn offline_listing(
        &mut self,
        key: Option<ServiceKey>,
        error: ControlError,
    ) -> Result<Vec<ServiceView>, ControlError> {
        match services(&self.instance, key) {
            Ok(services) => {
                // Beside the listing, which scripts read.
                drop(writeln!(std::io::stderr(), "note: {error}: listed from the maps of the data path"));
                Ok(services)
            }
            Err(why) => Err(ControlError { message: format!("{error}, and {why}"), hint: error.hint }),
        }
    }

    fn read_file(&mut self, name: &str) -> Result<String, ControlError> {
        let read = if name == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(name)
        };
        read.map_err(|error| ControlError { message: format!("cannot read {name}: {error}"), hint: None })
    }

    fn detach(&mut self) -> Result<Vec<String>, ControlError> {
        self.client.detach()
    }
}

/// The services in the pinned maps of an instance, or the one of `key`.
fn services(instance: &Instance, key: Option<ServiceKey>) -> Result<Vec<ServiceView>, String> {
    let maps = Maps::open_pinned(&instance.maps_dir(ABI_VERSION)).map_err(|error| chain(&error))?;
    let observed = maps.observe().map_err(|error| chain(&error))?;
    let memory = state_dir::read_memory(&instance.state_dir());
    let live = LiveMaps(&maps);
    let mut director = Director::new();
    // What it would write is dropped: nobody but lbd changes the maps.
    let mut tell = |event| director.handle(&live, event, Duration::ZERO);
    tell(Event::Links(links()));
    tell(Event::Observed(Box::new(observed), Box::new(memory)));
    let (mut services, mut after) = (Vec::new(), None);
    loop {
        for effect in tell(Event::Services { id: RequestId(0), only: key, after }) {
            // No service of that key: none is listed.
            if let Effect::Page(_, page) = effect {
                services.extend(page.services);
                after = page.next;
            }
        }
        if after.is_none() {
            return Ok(services);
        }
    }
}

/// The names of the host's interfaces; nothing leaves by them here.
fn links() -> Vec<Link> {
    let named = nix::net::if_::if_nameindex();
    let named = named.iter().flat_map(|all| all.iter());
    named
        .map(|i| Link {
            ifindex: i.index(),
            name: i.name().to_string_lossy().into_owned(),
            mac: None,
            mtu: 0,
            attached: false,
        })
        .collect()
}
