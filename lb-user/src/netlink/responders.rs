//! Who else answers ARP and neighbour solicitations for an address: asked through the kernel, by its own
//! neighbour table, so that its source addresses, its limits and its patience hold.
//!
//! Rarely and few at a time: addresses that are new at once, all of them every half a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::neighbour::NeighbourState;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::neigh::Target;
use super::request::{Neighbour, Requests, Subnet};
use super::{Link, LinkState, NetEvent, NetlinkError};
use crate::model::Responder;

/// Between two rounds over all addresses, and how much later than that by chance.
const PERIOD: Duration = Duration::from_secs(30);
/// See [`PERIOD`].
const JITTER_MS: u64 = 10_000;
/// Addresses that are asked about together.
const AT_ONCE: usize = 64;
/// Between two looks at what the kernel heard.
const LOOK: Duration = Duration::from_millis(200);
/// After that nothing more is waited for: the kernel gives up after three seconds, and may ask twice.
const PATIENCE: Duration = Duration::from_secs(9);

/// What is to be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Addresses that this host does not have.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Kernel indices of the interfaces by which is asked for an address that lies in no subnet.
    pub(super) interfaces: BTreeSet<u32>,
}

/// Where a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Whoever answered before is asked by unicast.
    Probed,
    /// Everyone on the link is asked.
    Called,
    /// Somebody answered.
    Answered([u8; 6]),
    /// Nobody did.
    Silent,
    /// It cannot be found out: somebody else keeps the entry, or the interface cannot ask.
    Unknown,
}

impl Stage {
    /// The stage after a look at the kernel's entry.
    fn next(self, known: Option<Neighbour>) -> Self {
        match (self, known) {
            (Self::Answered(_) | Self::Silent | Self::Unknown, _) => self,
            (_, Some(Neighbour { managed: true, .. })) => Self::Unknown,
            (Self::Probed, Some(Neighbour { state: NeighbourState::Probe, .. }))
            | (Self::Called, Some(Neighbour { state: NeighbourState::Incomplete, .. })) => self,
            (_, Some(Neighbour { mac: Some(mac), .. })) => Self::Answered(mac),
            // Who answered before has gone; another may have the address now.
            (Self::Probed, _) => Self::Called,
            (Self::Called, _) => Self::Silent,
        }
    }

    const fn is_decided(self) -> bool {
        !matches!(self, Self::Probed | Self::Called)
    }
}

/// A question about an address on an interface.
#[derive(Debug)]
struct Question {
    target: Target,
    on_link: bool,
    stage: Stage,
}

/// The task that asks.
pub(super) struct Asker {
    requests: Requests,
    events: mpsc::Sender<NetEvent>,
    asked: watch::Receiver<Asked>,
    /// Addresses of which it was found out at least once.
    known: BTreeSet<IpAddr>,
}

impl Asker {
    pub(super) fn new(
        requests: Requests,
        events: mpsc::Sender<NetEvent>,
        asked: watch::Receiver<Asked>,
    ) -> Self {
        Self { requests, events, asked, known: BTreeSet::new() }
    }

    /// Runs until nobody wants to know any more.
    pub(super) async fn run(mut self) {
        let mut round_at = Instant::now();
        loop {
            let asked = self.asked.borrow_and_update().clone();
            self.known.retain(|address| asked.addresses.contains(address));
            let all = Instant::now() >= round_at;
            if all {
                round_at = Instant::now() + pause();
            }
            let due: Vec<IpAddr> =
                asked.addresses.iter().copied().filter(|a| all || !self.known.contains(a)).collect();
            if !self.round(&asked, &due).await {
                return;
            }
            let changed = tokio::select! {
                changed = self.asked.changed() => changed,
                () = sleep_until(round_at) => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Asks about addresses and reports what is found, also where it is what it was: whoever asks may have dropped an
    /// address meanwhile and taken it up again. Whether anybody still listens.
    async fn round(&mut self, asked: &Asked, addresses: &[IpAddr]) -> bool {
        for some in addresses.chunks(AT_ONCE) {
            let found = match self.ask(asked, some).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, "cannot ask who answers for virtual addresses");
                    return true;
                }
            };
            for (address, responder) in found {
                self.known.insert(address);
                if self.events.send(NetEvent::Responder { address, responder }).await.is_err() {
                    return false;
                }
            }
        }
        true
    }

    /// Who answers for some addresses, of which that can be said.
    async fn ask(&self, asked: &Asked, some: &[IpAddr]) -> Result<BTreeMap<IpAddr, Responder>, NetlinkError> {
        let links = self.requests.links().await?;
        let subnets = self.requests.subnets().await?;
        let mut questions = questions(some, asked, &links, &subnets);
        for question in &mut questions {
            question.stage = self.begin(question.target).await;
        }
        let end = Instant::now() + PATIENCE;
        while questions.iter().any(|q| !q.stage.is_decided()) && Instant::now() < end {
            sleep(LOOK).await;
            for question in questions.iter_mut().filter(|q| !q.stage.is_decided()) {
                question.stage = self.look(question.target, question.stage).await;
            }
        }
        Ok(answers(&questions))
    }

    /// Puts a question.
    async fn begin(&self, (ifindex, address): Target) -> Stage {
        let asked = match self.requests.neighbour(ifindex, address).await {
            Err(error) => Err(error),
            Ok(Some(Neighbour { managed: true, .. })) => return Stage::Unknown,
            // Confirmed within the kernel's reachable time.
            Ok(Some(Neighbour { state: NeighbourState::Reachable, mac: Some(mac), .. })) => {
                return Stage::Answered(mac);
            }
            Ok(Some(Neighbour { mac: Some(_), .. })) => {
                self.requests.probe(ifindex, address).await.map(|()| Stage::Probed)
            }
            Ok(_) => self.requests.resolve(ifindex, address).await.map(|()| Stage::Called),
        };
        asked.unwrap_or(Stage::Unknown)
    }

    /// Looks for the answer.
    async fn look(&self, (ifindex, address): Target, stage: Stage) -> Stage {
        let Ok(known) = self.requests.neighbour(ifindex, address).await else { return Stage::Unknown };
        let next = stage.next(known);
        if (stage, next) == (Stage::Probed, Stage::Called)
            && self.requests.resolve(ifindex, address).await.is_err()
        {
            return Stage::Unknown;
        }
        next
    }
}

/// The questions about some addresses: by the interfaces in whose subnets they lie, or else by those of `asked`.
fn questions(some: &[IpAddr], asked: &Asked, links: &[Link], subnets: &[Subnet]) -> Vec<Question> {
    let can_ask = |ifindex: u32| {
        links.iter().any(|l| l.ifindex == ifindex && l.mac.is_some() && l.state == LinkState::Up)
    };
    let mut questions = Vec::new();
    for &address in some {
        let near: BTreeSet<u32> =
            subnets.iter().filter(|s| s.contains(address)).map(|subnet| subnet.ifindex).collect();
        let on_link = !near.is_empty();
        let by = if on_link { &near } else { &asked.interfaces };
        questions.extend(by.iter().filter(|ifindex| can_ask(**ifindex)).map(|ifindex| Question {
            target: (*ifindex, address),
            on_link,
            stage: Stage::Unknown,
        }));
    }
    questions
}

/// What decided questions tell: one answer is enough, silence has to be heard on every interface that could ask.
fn answers(questions: &[Question]) -> BTreeMap<IpAddr, Responder> {
    let mut found = BTreeMap::new();
    let mut undecided = BTreeSet::new();
    for Question { target: (ifindex, address), on_link, stage } in questions {
        match *stage {
            Stage::Answered(mac) => {
                found.insert(*address, Responder::Host { mac, ifindex: *ifindex });
            }
            Stage::Silent => {
                found.entry(*address).or_insert(Responder::Nobody { on_link: *on_link });
            }
            Stage::Probed | Stage::Called | Stage::Unknown => {
                undecided.insert(*address);
            }
        }
    }
    found.retain(|address, responder| {
        matches!(responder, Responder::Host { .. }) || !undecided.contains(address)
    });
    found
}

/// Until the next round: not in step with those of other hosts.
fn pause() -> Duration {
    PERIOD + Duration::from_millis(RandomState::new().hash_one(0) % JITTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn known(state: NeighbourState, mac: Option<[u8; 6]>) -> Option<Neighbour> {
        Some(Neighbour { state, mac, managed: false })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn silence_to_a_unicast_question_has_everyone_asked_before_nobody_is_said() {
        let probed = Stage::Probed;
        assert_eq!(probed.next(known(NeighbourState::Probe, Some(MAC))), Stage::Probed);
        assert_eq!(probed.next(known(NeighbourState::Reachable, Some(MAC))), Stage::Answered(MAC));
        let called = probed.next(known(NeighbourState::Failed, None));
        assert_eq!(called, Stage::Called);
        assert_eq!(called.next(known(NeighbourState::Incomplete, None)), Stage::Called);
        assert_eq!(called.next(known(NeighbourState::Reachable, Some(MAC))), Stage::Answered(MAC));
        assert_eq!(called.next(known(NeighbourState::Failed, None)), Stage::Silent);
        assert_eq!(called.next(None), Stage::Silent, "a failed entry may be collected");
        let fixed = Neighbour { state: NeighbourState::Permanent, mac: Some(MAC), managed: true };
        assert_eq!(called.next(Some(fixed)), Stage::Unknown);
        assert_eq!(Stage::Silent.next(known(NeighbourState::Reachable, Some(MAC))), Stage::Silent);
    }

    #[test]
    fn a_subnet_decides_where_is_asked_and_what_lies_in_none_is_asked_for_by_the_given_interfaces() {
        let link =
            |ifindex, mac, state| Link { ifindex, name: format!("eth{ifindex}"), mac, mtu: 1500, state };
        let links = [
            link(1, None, LinkState::Up),
            link(2, Some(MAC), LinkState::Up),
            link(3, Some(MAC), LinkState::Up),
            link(4, Some(MAC), LinkState::Down),
        ];
        let subnet = |ifindex, address: &str, prefix| Subnet { ifindex, address: ip(address), prefix };
        let subnets = [
            subnet(1, "127.0.0.1", 8),
            subnet(2, "192.0.2.7", 24),
            subnet(4, "203.0.113.1", 24),
            subnet(3, "2001:db8::7", 64),
            subnet(3, "198.51.100.1", 32),
        ];
        let asked = Asked { addresses: BTreeSet::new(), interfaces: [2, 3].into() };
        for (address, expected) in [
            ("192.0.2.1", vec![(2, true)]),
            ("192.0.3.1", vec![(2, false), (3, false)]),
            ("2001:db8::1", vec![(3, true)]),
            ("2001:db8:1::1", vec![(2, false), (3, false)]),
            ("203.0.113.5", vec![]),
        ] {
            let found = questions(&[ip(address)], &asked, &links, &subnets);
            let found: Vec<_> = found.iter().map(|q| (q.target.0, q.on_link)).collect();
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn one_answer_is_enough_and_silence_must_be_everywhere() {
        let question = |ifindex, stage| Question { target: (ifindex, ip("192.0.2.1")), on_link: true, stage };
        let told = |stages: [Stage; 2]| {
            let [a, b] = stages;
            answers(&[question(2, a), question(3, b)]).get(&ip("192.0.2.1")).copied()
        };
        let host = Responder::Host { mac: MAC, ifindex: 3 };
        assert_eq!(told([Stage::Silent, Stage::Answered(MAC)]), Some(host));
        assert_eq!(told([Stage::Unknown, Stage::Answered(MAC)]), Some(host));
        assert_eq!(told([Stage::Silent, Stage::Silent]), Some(Responder::Nobody { on_link: true }));
        assert_eq!(told([Stage::Silent, Stage::Called]), None, "not answered in time is not known");
        assert_eq!(told([Stage::Unknown, Stage::Unknown]), None);
    }

    #[test]
    fn rounds_are_rare_and_not_in_step() {
        let pauses: BTreeSet<Duration> = (0..32).map(|_| pause()).collect();
        assert!(pauses.len() > 1);
        assert!(pauses.iter().all(|pause| *pause >= PERIOD && *pause < PERIOD + Duration::from_secs(10)));
    }
}
