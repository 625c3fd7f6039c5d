//! The interfaces that the data path is attached to.

use std::collections::BTreeMap;

use super::Error;
use crate::bpf::{AttachMode, Attached, Dataplane};
use crate::director;
use crate::netlink;

/// The interfaces that lbd is told to serve, and those that have the program.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// Names, in the order given.
    wanted: Vec<String>,
    attached: BTreeMap<String, Attached>,
}

impl Interfaces {
    pub(super) fn new(wanted: Vec<String>) -> Self {
        Self { wanted, attached: BTreeMap::new() }
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

    /// Attaches all; where one fails, those that were not attached before are taken off again.
    ///
    /// # Errors
    /// [`Error::Attach`].
    pub(super) fn attach_all(&mut self, dataplane: &mut Dataplane) -> Result<(), Error> {
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
        self.attached.insert(name.to_owned(), attached);
        Ok(())
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
            if present.is_some()
                && !self.attached.contains_key(&name)
                && let Err(error) = self.attach(dataplane, &name)
            {
                tracing::error!(interface = name, error = error.text(), "cannot attach");
            }
        }
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
                None => warnings.push(format!(
                    "the director is not attached to {name}: the interface is gone, or refused it"
                )),
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
