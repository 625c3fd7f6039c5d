//! The kernel's interfaces, addresses, routes and neighbours. The only user of rtnetlink.
//!
//! Reads them, asks the kernel to resolve neighbours and keeps those that matter fresh; changes
//! nothing else. Called by the daemon.

mod error;
mod link;
mod neigh;
mod watch;

use std::collections::BTreeSet;
use std::net::IpAddr;

use tokio::sync::mpsc;

pub use self::error::NetlinkError;
pub use self::link::{Link, LinkState};
pub use self::neigh::NextHop;
pub use self::watch::NetEvent;

/// A connection to the kernel's routing tables, of the network namespace of the thread that made it.
pub struct Netlink {}

impl Netlink {
    /// Connects, and listens for changes. Spawns tasks on the present tokio runtime; they end when it
    /// is dropped.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses the socket.
    pub fn new() -> Result<Self, NetlinkError> {
        todo!()
    }

    /// The changes from now on; at most once (`None` afterwards). A receiver that is not emptied loses
    /// nothing: it blocks the listener, which then reports [`NetEvent::Lost`].
    pub fn events(&mut self) -> Option<mpsc::Receiver<NetEvent>> {
        todo!()
    }

    /// An interface by name; `None` where there is none.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let _ = name;
        todo!()
    }

    /// Every interface.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        todo!()
    }

    /// The addresses of this host, with the index of their interface.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn addresses(&self) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
        todo!()
    }

    /// The next hop towards an address, by route and neighbour. Where the neighbour is missing the
    /// kernel is asked to resolve it, and the answer is [`NextHop::Unresolved`]; the result comes as a
    /// [`NetEvent::Neighbour`] (or, for watched addresses, [`NetEvent::NextHop`]).
    pub async fn next_hop(&self, address: IpAddr) -> NextHop {
        let _ = address;
        todo!()
    }

    /// Replaces the set of addresses (destinations) whose next hops are kept fresh: each is resolved at
    /// once and again at every change, its neighbour is probed every half second, and every change comes
    /// as [`NetEvent::NextHop`], the first result included.
    pub fn watch(&self, addresses: BTreeSet<IpAddr>) {
        let _ = addresses;
        todo!()
    }
}
