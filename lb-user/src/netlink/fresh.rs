//! Keeps the neighbours that matter fresh.
//!
//! XDP's traffic tells the kernel nothing about its neighbours: an entry stays STALE with a MAC that may
//! have changed long ago. So each is asked by unicast every 400 ms; where no answer comes within 200 ms
//! everyone on the link is asked, and a changed MAC is known after at most 600 ms. Gratuitous ARP and
//! unsolicited advertisements need none of this: the kernel takes them and reports.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::neighbour::NeighbourState;

use super::neigh::Target;
use super::request::{Neighbour, Requests};

/// Ticks between two questions to a neighbour that answers.
const PERIOD: u32 = 2;
/// The same, at most, to one that answers only when everyone is asked: each such question takes the entry
/// away from the kernel for a moment.
const PERIOD_MAX: u32 = 64;
/// Ticks between two looks at an entry that someone else keeps.
const MANAGED_PERIOD: u32 = 25;
/// Neighbours looked at in one tick, at most: with more of them the period grows.
const AT_ONCE: usize = 256;

/// Where the questions to a neighbour are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing is asked.
    Idle,
    /// It was asked by unicast.
    Probed,
    /// Everyone was asked; it had this MAC before.
    Called([u8; 6]),
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    None,
    /// [`Requests::probe`].
    Probe,
    /// [`Requests::call`].
    Call,
    /// [`Requests::resolve`].
    Resolve,
}

/// A neighbour that is kept fresh.
#[derive(Debug, Clone, Copy)]
struct Kept {
    phase: Phase,
    /// Ticks until it is looked at.
    wait: u32,
    /// Ticks between two questions.
    period: u32,
}

impl Kept {
    const NEW: Self = Self { phase: Phase::Idle, wait: 0, period: PERIOD };

    /// Looks at the kernel's entry; what is to be asked.
    fn look(&mut self, known: Option<Neighbour>) -> Question {
        self.wait = 1;
        let Some(Neighbour { state, mac: Some(mac), managed }) = known else {
            // Not known. While the kernel asks (INCOMPLETE) it needs no help.
            self.phase = Phase::Idle;
            return match known.map(|known| known.state) {
                Some(NeighbourState::Incomplete) => Question::None,
                _ => Question::Resolve,
            };
        };
        if managed {
            self.phase = Phase::Idle;
            self.wait = MANAGED_PERIOD;
            return Question::None;
        }
        match self.phase {
            Phase::Probed if state == NeighbourState::Probe => {
                self.phase = Phase::Called(mac);
                return Question::Call;
            }
            Phase::Probed => {
                self.phase = Phase::Idle;
                self.period = PERIOD;
            }
            Phase::Called(before) => {
                self.phase = Phase::Idle;
                self.period = if mac == before { (self.period * 2).min(PERIOD_MAX) } else { PERIOD };
            }
            Phase::Idle => {
                self.phase = Phase::Probed;
                return Question::Probe;
            }
        }
        self.wait = self.period - 1;
        Question::None
    }
}

/// The neighbours that are kept fresh.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    kept: BTreeMap<Target, Kept>,
    /// The last one looked at.
    at: Option<Target>,
}

impl Freshness {
    /// Replaces the neighbours; those that stay keep their place in the row.
    pub(super) fn set_targets(&mut self, targets: BTreeSet<Target>) {
        self.kept.retain(|target, _| targets.contains(target));
        for target in targets {
            self.kept.entry(target).or_insert(Kept::NEW);
        }
    }

    /// Those whose turn it is.
    fn due(&mut self) -> Vec<Target> {
        for kept in self.kept.values_mut() {
            kept.wait = kept.wait.saturating_sub(1);
        }
        let after = |target: &Target| self.at.is_none_or(|at| *target > at);
        let (mut first, second): (Vec<Target>, Vec<Target>) =
            self.kept.iter().filter(|(_, kept)| kept.wait == 0).map(|(target, _)| *target).partition(after);
        first.extend(second);
        first.truncate(AT_ONCE);
        self.at = first.last().copied();
        first
    }

    /// One round, every 200 ms.
    pub(super) async fn tick(&mut self, requests: &Requests) {
        for (ifindex, address) in self.due() {
            // A failure means that the interface is gone; that comes as an event, with a new set of targets.
            let Ok(known) = requests.neighbour(ifindex, address).await else { continue };
            let Some(kept) = self.kept.get_mut(&(ifindex, address)) else { continue };
            let asked = match kept.look(known) {
                Question::None => Ok(()),
                Question::Probe => requests.probe(ifindex, address).await,
                Question::Call => requests.call(ifindex, address).await,
                Question::Resolve => requests.resolve(ifindex, address).await,
            };
            if let Err(error) = asked {
                tracing::debug!(%address, ifindex, %error, "cannot keep a neighbour fresh");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn known(state: NeighbourState, mac: Option<[u8; 6]>) -> Option<Neighbour> {
        Some(Neighbour { state, mac, managed: false })
    }

    #[test]
    fn one_that_answers_is_asked_every_second_tick() {
        let mut kept = Kept::NEW;
        for _ in 0..3 {
            assert_eq!(kept.look(known(NeighbourState::Stale, Some(MAC))), Question::Probe);
            assert_eq!(kept.wait, 1);
            assert_eq!(kept.look(known(NeighbourState::Reachable, Some(MAC))), Question::None);
            assert_eq!(kept.wait, 1);
        }
    }

    #[test]
    fn silence_to_a_unicast_question_has_everyone_asked() {
        let mut kept = Kept::NEW;
        assert_eq!(kept.look(known(NeighbourState::Reachable, Some(MAC))), Question::Probe);
        assert_eq!(kept.look(known(NeighbourState::Probe, Some(MAC))), Question::Call);
        let other = [2, 0, 0, 0, 0, 2];
        assert_eq!(kept.look(known(NeighbourState::Reachable, Some(other))), Question::None);
        assert_eq!(kept.period, PERIOD, "it moved: asked as often as before");
    }

    #[test]
    fn one_that_hears_broadcasts_only_is_asked_less_and_less() {
        let mut kept = Kept::NEW;
        for _ in 0..10 {
            assert_eq!(kept.look(known(NeighbourState::Reachable, Some(MAC))), Question::Probe);
            assert_eq!(kept.look(known(NeighbourState::Probe, Some(MAC))), Question::Call);
            assert_eq!(kept.look(known(NeighbourState::Reachable, Some(MAC))), Question::None);
        }
        assert_eq!(kept.period, PERIOD_MAX);
        kept.look(known(NeighbourState::Reachable, Some(MAC)));
        kept.look(known(NeighbourState::Reachable, Some(MAC)));
        assert_eq!(kept.period, PERIOD, "a unicast answer ends that");
    }

    #[test]
    fn the_unknown_is_resolved_and_what_others_keep_is_left_alone() {
        let mut kept = Kept::NEW;
        assert_eq!(kept.look(None), Question::Resolve);
        assert_eq!(kept.look(known(NeighbourState::Failed, None)), Question::Resolve);
        assert_eq!(kept.look(known(NeighbourState::Incomplete, None)), Question::None);
        let fixed = Neighbour { state: NeighbourState::Permanent, mac: Some(MAC), managed: true };
        assert_eq!(kept.look(Some(fixed)), Question::None);
        assert_eq!(kept.wait, MANAGED_PERIOD);
    }

    #[test]
    fn with_many_neighbours_everyone_has_a_turn() {
        let mut freshness = Freshness::default();
        let targets: BTreeSet<Target> =
            (0..600u32).map(|i| (1, std::net::Ipv4Addr::from(0xc000_0200 + i).into())).collect();
        freshness.set_targets(targets.clone());
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let due = freshness.due();
            assert!(due.len() <= AT_ONCE);
            seen.extend(due);
        }
        assert_eq!(seen, targets);
    }
}
