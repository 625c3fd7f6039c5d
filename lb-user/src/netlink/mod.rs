//! The kernel's interfaces, addresses, routes and neighbours. The only user of rtnetlink.
//!
//! Reads them, asks the kernel to resolve neighbours and keeps those that matter fresh; changes
//! nothing else. Called by the daemon.

mod error;
mod fresh;
mod inbox;
mod link;
mod neigh;
mod request;
mod responders;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures_util::StreamExt as _;
use rtnetlink::MulticastGroup;
use rtnetlink::sys::AsyncSocket as _;
use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;

pub use self::error::NetlinkError;
pub use self::link::{Link, LinkState};
pub use self::watch::NetEvent;

use self::inbox::Inbox;
use self::request::Requests;
use self::responders::{Asked, Asker};
use self::watch::Watcher;
use crate::model::NextHop;

/// What may change while packets pass.
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];
/// Room for changes that come while others are worked on, bytes.
const RECEIVE_BUFFER: u32 = 1 << 20;
/// Events that wait for the daemon.
const EVENTS: usize = 256;

/// A connection to the kernel's routing tables, of the network namespace of the thread that made it.
pub struct Netlink {
    requests: Requests,
    events: Option<mpsc::Receiver<NetEvent>>,
    addresses: channel::Sender<BTreeSet<IpAddr>>,
    asked: channel::Sender<Asked>,
    /// True once the listener knows what was there before.
    learned: channel::Receiver<bool>,
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
}

impl Netlink {
    /// Connects, and listens for changes. Spawns tasks on the present tokio runtime; they end when it
    /// is dropped.
    ///
    /// # Errors
    /// [`NetlinkError`] where the kernel refuses the socket.
    pub fn new() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Socket)?;
        let (mut listener, listener_handle, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(NetlinkError::Socket)?;
        listener.socket_mut().socket_mut().set_rx_buf_sz(RECEIVE_BUFFER).map_err(NetlinkError::Socket)?;
        let requests = Requests(handle);
        let (sender, events) = mpsc::channel(EVENTS);
        let (addresses, wanted) = channel::channel(BTreeSet::new());
        let (asked, questions) = channel::channel(Asked::default());
        let asker = Asker::new(requests.clone(), sender.clone(), questions);
        let (learning, learned) = channel::channel(false);
        let watcher = Watcher::new(requests.clone(), sender, wanted, learning);
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        tasks.spawn(async move {
            // The listener's connection ends with its last handle.
            let _handle = listener_handle;
            listener.await;
        });
        let inbox = Inbox::default();
        tasks.spawn(inbox.clone().fill(messages.map(|(message, _)| message)));
        tasks.spawn(watcher.run(inbox));
        tasks.spawn(asker.run());
        Ok(Self { requests, events: Some(events), addresses, asked, learned, _tasks: tasks })
    }

    /// The changes from [`Self::new`] on; at most once (`None` afterwards). A receiver that is not
    /// emptied holds the listener up, which then drops what it has no room for and reports [`NetEvent::Lost`].
    pub fn events(&mut self) -> Option<mpsc::Receiver<NetEvent>> {
        self.events.take()
    }

    /// An interface by name; `None` where there is none.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        self.requests.link_named(name).await
    }

    /// Every interface.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        self.requests.links().await
    }

    /// The addresses of this host, with the index of their interface.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub async fn addresses(&self) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
        self.requests.addresses().await
    }

    /// The next hop towards an address, by route and neighbour. Where the neighbour is missing the
    /// kernel is asked to resolve it, and the answer is [`NextHop::Unresolved`]; the result comes as a
    /// [`NetEvent::Neighbour`] (or, for watched addresses, [`NetEvent::NextHop`]).
    pub async fn next_hop(&self, address: IpAddr) -> NextHop {
        // A neighbour that is resolved on our behalf before the listener has learned what was there would be
        // taken for one of these, and not reported. An error means that the listener is gone, and with it all
        // reports.
        drop(self.learned.clone().wait_for(|learned| *learned).await);
        neigh::look_up(&self.requests, address).await.next_hop
    }

    /// Replaces the set of addresses (destinations) whose next hops are kept fresh: each is resolved at
    /// once and again at every change, its neighbour is probed every 400 ms, and every change comes as
    /// [`NetEvent::NextHop`], the first result included. A neighbour that stops answering is unresolved
    /// after about four seconds; a changed MAC is followed within one.
    pub fn watch(&self, addresses: BTreeSet<IpAddr>) {
        self.addresses.send_replace(addresses);
    }

    /// Replaces the set of addresses, none of this host, for which is found out who answers ARP or neighbour
    /// solicitations: new ones at once, which takes some seconds where nobody does, and all of them every half a
    /// minute. Asked is by the interfaces in whose subnets they lie, or else by `interfaces` (kernel indices). What
    /// is found comes as [`NetEvent::Responder`], each time.
    pub fn ask(&self, addresses: BTreeSet<IpAddr>, interfaces: BTreeSet<u32>) {
        let asked = Asked { addresses, interfaces };
        self.asked.send_if_modified(|before| {
            let modified = *before != asked;
            *before = asked;
            modified
        });
    }
}
