//! Changes: what the kernel reports, and what it means for the addresses that are watched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Link;
use super::fresh::Freshness;
use super::inbox::{Inbox, Incoming};
use super::neigh::{Lookup, Target, look_up};
use super::request::{Neighbour, Requests};
use crate::model::{NextHop, Responder};

/// Between two looks at the neighbours of watched addresses.
const TICK: Duration = Duration::from_millis(200);
/// After a change of routes: more of them come in one go.
const SETTLE: Duration = Duration::from_millis(20);

/// A change in the kernel's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// An interface is new or changed (state, MAC, MTU, name).
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its kernel index.
        ifindex: u32,
    },
    /// The host's addresses changed.
    Addresses,
    /// A route or rule changed: every next hop may have.
    Routes,
    /// A neighbour's MAC became known, changed, or was lost (`None`). Not sent for mere re-checks.
    Neighbour {
        /// Interface.
        ifindex: u32,
        /// Address.
        address: IpAddr,
        /// MAC.
        mac: Option<[u8; 6]>,
    },
    /// The next hop of a watched address ([`super::Netlink::watch`]) is known now, or changed.
    NextHop {
        /// The address.
        address: IpAddr,
        /// Its next hop.
        next_hop: NextHop,
    },
    /// Who answers for an address ([`super::Netlink::ask`]), each time that was found out.
    Responder {
        /// The address.
        address: IpAddr,
        /// Who.
        responder: Responder,
    },
    /// Events were lost (more came than the socket's buffer or ours holds): read everything anew.
    Lost,
}

/// A watched address.
#[derive(Debug, Default)]
struct Watched {
    /// What was reported last.
    reported: Option<NextHop>,
    /// The neighbour it rests on.
    target: Option<Target>,
}

/// The task that listens to the kernel, keeps neighbours fresh and reports.
pub(super) struct Watcher {
    requests: Requests,
    events: mpsc::Sender<NetEvent>,
    addresses: watch::Receiver<BTreeSet<IpAddr>>,
    /// Told when what was there at the start is known.
    learned: watch::Sender<bool>,
    watched: BTreeMap<IpAddr, Watched>,
    /// MACs as reported.
    macs: HashMap<Target, [u8; 6]>,
    links: HashMap<u32, Link>,
    freshness: Freshness,
    /// When all watched addresses are to be looked up again.
    due: Option<Instant>,
    /// Whether addresses, and routes, changed since that was reported.
    changed: (bool, bool),
}

impl Watcher {
    pub(super) fn new(
        requests: Requests,
        events: mpsc::Sender<NetEvent>,
        addresses: watch::Receiver<BTreeSet<IpAddr>>,
        learned: watch::Sender<bool>,
    ) -> Self {
        Self {
            requests,
            events,
            addresses,
            learned,
            watched: BTreeMap::new(),
            macs: HashMap::new(),
            links: HashMap::new(),
            freshness: Freshness::default(),
            due: None,
            changed: (false, false),
        }
    }

    /// Runs until nobody wants the events any more, or the kernel's socket ends.
    pub(super) async fn run(mut self, inbox: Inbox) {
        self.learn().await;
        self.learned.send_replace(true);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due;
            let settled = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let open = tokio::select! {
                incoming = inbox.next() => match incoming {
                    Incoming::Message(message) => self.message(message).await,
                    Incoming::Lost => self.lost().await,
                    Incoming::Ended => false,
                },
                changed = self.addresses.changed() => match changed {
                    Ok(()) => self.replace_addresses().await,
                    Err(_) => false,
                },
                () = settled => {
                    self.due = None;
                    self.report_changed().await && self.look_all_up().await
                }
                _ = tick.tick() => {
                    self.freshness.tick(&self.requests).await;
                    true
                }
            };
            if !open {
                return;
            }
        }
    }

    /// Learns what is there, so that only what changes afterwards is reported.
    async fn learn(&mut self) {
        if let Ok(links) = self.requests.links().await {
            self.links = links.into_iter().map(|link| (link.ifindex, link)).collect();
        }
        if let Ok(neighbours) = self.requests.neighbours().await {
            let known = neighbours.into_iter().filter_map(|(ifindex, a, n)| Some(((ifindex, a), n.mac?)));
            self.macs = known.collect();
        }
    }

    /// Reports; whether anybody still listens.
    async fn report(&self, event: NetEvent) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Reads anew what messages would have told, and has the daemon do the same.
    async fn lost(&mut self) -> bool {
        tracing::debug!(
            "changes of the kernel's tables came faster than they are looked at: reading them anew"
        );
        self.learn().await;
        self.settle();
        self.report(NetEvent::Lost).await
    }

    async fn message(&mut self, message: RouteNetlinkMessage) -> bool {
        use RouteNetlinkMessage as M;
        match message {
            // A bridge reports its ports by messages of its own family: one that leaves it is not gone.
            M::NewLink(message) | M::DelLink(message)
                if message.header.interface_family != AddressFamily::Unspec =>
            {
                true
            }
            M::NewLink(message) => match Link::from_message(&message) {
                Some(link) => self.link(link).await,
                None => true,
            },
            M::DelLink(message) => {
                let ifindex = message.header.index;
                if self.links.remove(&ifindex).is_none() {
                    return true;
                }
                self.macs.retain(|(of, _), _| *of != ifindex);
                self.settle();
                self.report(NetEvent::LinkGone { ifindex }).await
            }
            M::NewAddress(_) | M::DelAddress(_) => {
                self.changed.0 = true;
                self.settle();
                true
            }
            M::NewRoute(_) | M::DelRoute(_) | M::NewRule(_) | M::DelRule(_) => {
                self.changed.1 = true;
                self.settle();
                true
            }
            M::NewNeighbour(message) => match Neighbour::from_message(&message) {
                Some((ifindex, address, known)) => self.neighbour((ifindex, address), known).await,
                None => true,
            },
            M::DelNeighbour(message) => match Neighbour::from_message(&message) {
                Some((ifindex, address, _)) => self.neighbour_gone((ifindex, address)).await,
                None => true,
            },
            _ => true,
        }
    }

    async fn link(&mut self, link: Link) -> bool {
        if self.links.get(&link.ifindex) == Some(&link) {
            return true;
        }
        self.links.insert(link.ifindex, link.clone());
        self.settle();
        self.report(NetEvent::Link(link)).await
    }

    async fn neighbour(&mut self, target: Target, known: Neighbour) -> bool {
        if let Some(mac) = known.mac {
            if self.macs.insert(target, mac) == Some(mac) {
                return true;
            }
            return self.report_neighbour(target, Some(mac)).await && self.look_up_through(target).await;
        }
        // Being asked again, or forgotten on our own behalf (`Requests::call`), is not lost yet.
        if known.state != NeighbourState::Failed {
            return true;
        }
        let lost = self.macs.remove(&target).is_some();
        (!lost || self.report_neighbour(target, None).await) && self.look_up_through(target).await
    }

    async fn neighbour_gone(&mut self, target: Target) -> bool {
        let lost = self.macs.remove(&target).is_some();
        (!lost || self.report_neighbour(target, None).await) && self.look_up_through(target).await
    }

    async fn report_neighbour(&self, (ifindex, address): Target, mac: Option<[u8; 6]>) -> bool {
        self.report(NetEvent::Neighbour { ifindex, address, mac }).await
    }

    /// Reports changes that mostly come many at a time, once for all.
    async fn report_changed(&mut self) -> bool {
        let (addresses, routes) = std::mem::take(&mut self.changed);
        (!addresses || self.report(NetEvent::Addresses).await)
            && (!routes || self.report(NetEvent::Routes).await)
    }

    /// Has everything looked up again, shortly.
    fn settle(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + SETTLE);
    }

    async fn replace_addresses(&mut self) -> bool {
        let wanted = self.addresses.borrow_and_update().clone();
        self.watched.retain(|address, _| wanted.contains(address));
        let new: Vec<IpAddr> =
            wanted.into_iter().filter(|address| !self.watched.contains_key(address)).collect();
        for address in &new {
            self.watched.insert(*address, Watched::default());
        }
        self.look_up_again(new).await
    }

    async fn look_all_up(&mut self) -> bool {
        let all = self.watched.keys().copied().collect();
        self.look_up_again(all).await
    }

    /// Looks up what rests on a neighbour.
    async fn look_up_through(&mut self, target: Target) -> bool {
        let through = self.watched.iter().filter(|(_, watched)| watched.target == Some(target));
        let addresses: Vec<IpAddr> = through.map(|(address, _)| *address).collect();
        addresses.is_empty() || self.look_up_again(addresses).await
    }

    /// Looks addresses up and reports what changed.
    async fn look_up_again(&mut self, addresses: Vec<IpAddr>) -> bool {
        for address in addresses {
            let lookup = look_up(&self.requests, address).await;
            if let Some(next_hop) = self.note(address, lookup)
                && !self.report(NetEvent::NextHop { address, next_hop }).await
            {
                return false;
            }
        }
        let targets = self.watched.values().filter_map(|watched| watched.target);
        self.freshness.set_targets(targets.collect());
        true
    }

    /// Takes a result in; what is to be reported of it.
    fn note(&mut self, address: IpAddr, lookup: Lookup) -> Option<NextHop> {
        let watched = self.watched.get_mut(&address)?;
        // While a known neighbour is asked anew its last answer stands; silence ends in NUD_FAILED.
        let stands = lookup.pending
            && lookup.target == watched.target
            && matches!(watched.reported, Some(NextHop::Resolved { .. }));
        watched.target = lookup.target;
        if stands || watched.reported.as_ref() == Some(&lookup.next_hop) {
            return None;
        }
        watched.reported = Some(lookup.next_hop.clone());
        Some(lookup.next_hop)
    }
}
