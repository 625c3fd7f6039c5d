//! The interfaces that the data path is attached to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Args, Error};
use crate::bpf::{AttachMode, Attached, Dataplane, attached_interfaces};
use crate::config::Config;
use crate::director;
use crate::netlink;

/// The interfaces of the command line and of the configuration, each once, in that order.
///
/// # Errors
/// [`Error::NoInterface`].
pub(super) fn named(args: &Args, config: Option<&Config>) -> Result<Vec<String>, Error> {
    let mut seen = BTreeSet::new();
    let all = args.interface.iter().chain(config.iter().flat_map(|config| &config.interfaces));
    let names: Vec<String> = all.filter(|name| seen.insert(name.as_str())).cloned().collect();
    if names.is_empty() { Err(Error::NoInterface) } else { Ok(names) }
}

/// The interfaces that lbd is told to serve, and those that have the program.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// Names, in the order given.
    wanted: Vec<String>,
    attached: BTreeMap<String, Attached>,
    /// Why the others have it not, as far as that was tried.
    failures: BTreeMap<String, String>,
}

impl Interfaces {
    pub(super) fn new(wanted: Vec<String>) -> Self {
        Self { wanted, ..Self::default() }
    }

    pub(super) fn wanted(&self) -> &[String] {
        &self.wanted
    }

    pub(super) fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.wanted.iter().filter_map(|name| self.attached.get(name))
    }

    /// Whether every interface has the program.
    pub(super) fn is_complete(&self) -> bool {
        self.wanted.iter().all(|name| self.attached.contains_key(name))
    }

    /// Attaches all, and takes the program off those that an earlier lbd served and this one is not told to; where
    /// one fails, those that were not attached before are taken off again.
    ///
    /// # Errors
    /// [`Error::Attach`].
    pub(super) fn attach_all(&mut self, dataplane: &mut Dataplane, links_dir: &Path) -> Result<(), Error> {
        for name in self.wanted.clone() {
            if let Err(error) = self.attach(dataplane, &name) {
                for attached in self.attached.values().filter(|a| !a.adopted) {
                    if let Err(error) = dataplane.detach(&attached.name) {
                        tracing::error!(interface = attached.name, %error, "cannot detach");
                    }
                }
                return Err(error);
            }
        }
        for name in attached_interfaces(links_dir)?.iter().filter(|name| !self.wanted.contains(name)) {
            dataplane.detach(name)?;
            tracing::info!(interface = name, "detached: an earlier lbd served it, this one is not told to");
        }
        Ok(())
    }

    /// Attaches one.
    ///
    /// # Errors
    /// [`Error::Attach`].
    fn attach(&mut self, dataplane: &mut Dataplane, name: &str) -> Result<(), Error> {
        let attached = dataplane.attach(name)?;
        let Attached { mode, program, adopted, .. } = attached;
        tracing::info!(interface = name, %mode, program, adopted, "attached");
        if let Some(why) = &attached.refusal {
            tracing::warn!(interface = name, why, "{mode}: the driver refused the program");
        }
        self.failures.remove(name);
        self.attached.insert(name.to_owned(), attached);
        Ok(())
    }

    /// As [`Self::attach`] where it can be tried again: the same failure is told once. Whether it has it now.
    fn try_attach(&mut self, dataplane: &mut Dataplane, name: &str) -> bool {
        let Err(error) = self.attach(dataplane, name) else { return true };
        let why = error.text();
        if self.failures.get(name) != Some(&why) {
            tracing::error!(interface = name, error = why, "cannot attach");
            self.failures.insert(name.to_owned(), why);
        }
        false
    }

    /// Replaces the interfaces to serve, and takes the program off those that are not among them any more; the new
    /// ones get it by [`Self::follow`]. Whether anything changed.
    pub(super) fn replace(&mut self, dataplane: &mut Dataplane, wanted: Vec<String>) -> bool {
        if wanted == self.wanted {
            return false;
        }
        for name in std::mem::replace(&mut self.wanted, wanted) {
            if self.wanted.contains(&name) {
                continue;
            }
            self.attached.remove(&name);
            self.failures.remove(&name);
            match dataplane.detach(&name) {
                Ok(()) => tracing::info!(interface = name, "detached: it is not configured any more"),
                Err(error) => tracing::error!(interface = name, %error, "cannot detach"),
            }
        }
        true
    }

    /// Follows what became of the interfaces: forgets those that are gone, attaches those that came.
    pub(super) fn follow(&mut self, dataplane: &mut Dataplane, links: &[netlink::Link]) {
        for name in self.wanted.clone() {
            let present = links.iter().find(|link| link.name == name).map(|link| link.ifindex);
            let known = self.attached.get(&name).map(|a| a.ifindex);
            if known.is_some() && known != present {
                tracing::error!(interface = name, "the interface is gone: nothing is forwarded from it");
                self.attached.remove(&name);
                if let Err(error) = dataplane.detach(&name) {
                    tracing::debug!(interface = name, %error, "cannot remove the link of an interface that is gone");
                }
            }
            if !self.attached.contains_key(&name) && (present.is_some() || !self.failures.contains_key(&name))
            {
                self.try_attach(dataplane, &name);
            }
        }
    }

    /// Attaches again where somebody took the pinned link away, and where the program was refused before and the
    /// cause may have gone. Whether anything changed.
    pub(super) fn mend(&mut self, dataplane: &mut Dataplane) -> bool {
        let mut changed = false;
        for name in self.wanted.clone() {
            if let Some(attached) = self.attached.get(&name) {
                match dataplane.holds(attached) {
                    Ok(true) => continue,
                    Ok(false) => {
                        tracing::warn!(
                            interface = name,
                            "the pinned link is gone, and the program with it: attaching again"
                        );
                    }
                    Err(error) => {
                        tracing::error!(interface = name, %error, "cannot look at the pinned link");
                        continue;
                    }
                }
                self.attached.remove(&name);
                changed = true;
            }
            changed |= self.try_attach(dataplane, &name);
        }
        changed
    }

    /// The kernel indices of the interfaces that have the program.
    pub(super) fn indices(&self) -> BTreeSet<u32> {
        self.attached.values().map(|attached| attached.ifindex).collect()
    }

    /// The host's interfaces for the director.
    pub(super) fn links(&self, links: &[netlink::Link]) -> Vec<director::Link> {
        links
            .iter()
            .map(|link| director::Link {
                ifindex: link.ifindex,
                name: link.name.clone(),
                mac: link.mac,
                mtu: link.mtu,
                attached: self.attached.values().any(|a| a.ifindex == link.ifindex),
            })
            .collect()
    }

    /// What an operator should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for name in &self.wanted {
            match self.attached.get(name) {
                None => {
                    let why = self.failures.get(name).map_or("the interface is gone", String::as_str);
                    warnings.push(format!("the director is not attached to {name}: {why}"));
                }
                Some(Attached { mode: AttachMode::Generic, refusal, .. }) => {
                    let why = refusal.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                    warnings.push(format!(
                        "{name} runs the director in the stack (xdp generic), slower than in its driver, which refused it{why}"
                    ));
                }
                Some(_) => {}
            }
        }
        warnings
    }
}
