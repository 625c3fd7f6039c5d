//! What is done without lbd: listings of what lies in the pinned maps, seen by a director of one's own, and taking
//! the data path away.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use lb_common::ABI_VERSION;

use super::Error;
use super::core::chain;
use super::live::LiveMaps;
use super::state_dir::{self, StateDir};
use crate::api::{Request, Response, ServiceView};
use crate::bpf::{Maps, detach_all, remove_maps};
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
                drop(writeln!(io::stderr(), "note: {error}: listed from the maps of the data path"));
                Ok(services)
            }
            Err(why) => Err(ControlError { message: format!("{error}, and {why}"), hint: error.hint }),
        }
    }

    fn read_text(&mut self, path: &str) -> Result<String, ControlError> {
        self.client.read_text(path)
    }

    fn saved_rules(&mut self, ipv6: bool) -> Result<String, ControlError> {
        self.client.saved_rules(ipv6)
    }

    fn pause(&mut self, seconds: u32) -> bool {
        self.client.pause(seconds)
    }

    fn detach(&mut self) -> Result<Vec<String>, ControlError> {
        detach(&self.instance).map_err(|error| {
            let text = error.text();
            match text.split_once("\nhint: ") {
                Some((message, hint)) => {
                    ControlError { message: message.to_owned(), hint: Some(hint.to_owned()) }
                }
                None => ControlError { message: text, hint: None },
            }
        })
    }
}

/// Takes the program off every interface, then removes the maps of every version, and the directories. The names of
/// the interfaces.
fn detach(instance: &Instance) -> Result<Vec<String>, Error> {
    let root = instance.pin_dir();
    let failed = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| Error::StateDir { what, path, source }
    };
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NothingPinned { instance: instance.name().to_owned(), path: root });
        }
        Err(error) => return Err(failed("read", &root)(error)),
    };
    // As long as this holds no lbd starts in the middle of it, and none runs.
    let _lock = StateDir::lock(instance).map_err(|error| match error {
        Error::Running { instance, .. } => Error::Attached { instance },
        error => error,
    })?;
    let links = instance.links_dir();
    let interfaces = detach_all(&links)?;
    for entry in entries {
        let path = entry.map_err(failed("read", &root))?.path();
        if path != links {
            remove_maps(&path)?;
        }
    }
    for directory in [&links, &root] {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", directory)(error));
            }
            _ => {}
        }
    }
    Ok(interfaces)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::link_path;

    #[test]
    fn everything_pinned_goes_and_the_interfaces_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::new("edge", dir.path().join("run"), dir.path().join("bpf")).unwrap();
        let mut console = Console::new(instance.clone());
        let nothing = console.detach().unwrap_err();
        assert!(nothing.message.starts_with("instance edge has nothing at "), "{nothing}");
        assert_eq!(
            nothing.hint.as_deref(),
            Some("name the instance with --instance, the bpffs with --bpffs")
        );
        let links = instance.links_dir();
        fs::create_dir_all(&links).unwrap();
        for version in [1, 2] {
            fs::create_dir_all(instance.maps_dir(version)).unwrap();
            fs::write(instance.maps_dir(version).join("SETTINGS"), "").unwrap();
        }
        fs::write(link_path(&links, "eth1"), "").unwrap();
        fs::write(link_path(&links, "eth0.7"), "").unwrap();
        let running = StateDir::lock(&instance).unwrap();
        let refused = console.detach().unwrap_err();
        assert_eq!(refused.message, "lbd of instance edge is running and holds the data path");
        assert!(refused.hint.is_some_and(|hint| hint.contains("SIGTERM")));
        assert!(link_path(&links, "eth1").exists());
        drop(running);
        assert_eq!(console.detach().unwrap(), ["eth0.7", "eth1"]);
        assert!(!instance.pin_dir().exists());
    }
}
