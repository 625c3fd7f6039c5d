//! The host that lbd runs on: its interfaces and addresses, what is attached to them, and what is pinned.

use super::Error;
use super::core::{Core, chain};
use crate::director::Event;
use crate::netlink::NetlinkError;

impl Core {
    /// The host's interfaces changed.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(super) async fn read_links(&mut self) -> Result<(), NetlinkError> {
        let links = self.netlink.links().await?;
        let links = self.interfaces.links(&links);
        self.event(Event::Links(links));
        self.ask();
        Ok(())
    }

    /// As [`Self::read_links`], and attaches interfaces that came back.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(super) async fn follow_links(&mut self) -> Result<(), NetlinkError> {
        let links = self.netlink.links().await?;
        // A packet that comes in must find its interface in the maps.
        let known = self.interfaces.links(&links);
        self.event(Event::Links(known));
        self.interfaces.follow(&mut self.dataplane, &links);
        let links = self.interfaces.links(&links);
        self.event(Event::Links(links));
        self.ask();
        Ok(())
    }

    /// Serves other interfaces from now on.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(super) async fn serve(&mut self, interfaces: Vec<String>) -> Result<(), NetlinkError> {
        if self.interfaces.replace(&mut self.dataplane, interfaces) {
            self.follow_links().await?;
        }
        Ok(())
    }

    /// Pins again what somebody took away, and attaches what lost its link or could not be attached before.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(super) async fn mend(&mut self) -> Result<(), NetlinkError> {
        let before = self.unpinned.take();
        match self.pins.mend() {
            Ok(mended) if mended.is_empty() => {}
            Ok(mended) => {
                tracing::warn!(maps = mended.join(" "), "pins of maps were removed: pinned again");
            }
            Err(error) => {
                let why = chain(&error);
                if before.as_ref() != Some(&why) {
                    tracing::error!(error = why, "pins of maps were removed and cannot be made again");
                }
                self.unpinned = Some(why);
            }
        }
        if self.interfaces.mend(&mut self.dataplane) {
            self.read_links().await?;
        }
        Ok(())
    }

    /// What an operator should know of the pins.
    pub(super) fn pin_warnings(&self) -> Option<String> {
        self.unpinned.as_ref().map(|why| {
            format!(
                "the maps are not pinned any more ({why}): when lbd ends, services and connections are lost; see to it that a bpffs is mounted at {} and may be written",
                self.instance.bpffs().display()
            )
        })
    }

    /// The host's addresses changed.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(super) async fn read_addresses(&mut self) -> Result<(), NetlinkError> {
        let addresses = self.netlink.addresses().await?;
        self.event(Event::Addresses(addresses.into_iter().map(|(_, address)| address).collect()));
        Ok(())
    }

    /// Attaches every interface.
    ///
    /// # Errors
    /// [`Error::Attach`].
    pub(super) fn attach(&mut self) -> Result<(), Error> {
        self.interfaces.attach_all(&mut self.dataplane, &self.instance.links_dir())
    }

    /// Has it found out who answers for the virtual addresses that this host lacks.
    pub(super) fn ask(&self) {
        self.netlink.ask(self.lacking.clone(), self.interfaces.indices());
    }
}
