//! Scheduler tables: which destination ids lie in a service's slots, and where its scheduler goes on
//! after a change (ipvs-semantics §3).

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::Schedule;
use lb_common::family::{Family as _, V4, V6};
use lb_common::sched::{HASH_SLOTS, Scheduler};

use super::convert::wide;
use super::maglev;

/// A destination as the tables see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Destination id.
    pub id: u32,
    /// Its weight.
    pub weight: u32,
    /// Its last weight above 0; 0 where it never had one.
    pub last_weight: u32,
    /// Its address and port.
    pub address: SocketAddr,
}

impl Member {
    /// What the hashes of mh take of it: address folded to 32 bits in host order, plus port.
    pub(super) fn name(&self) -> u32 {
        let wide = wide(self.address.ip());
        let folded = match self.address.ip() {
            IpAddr::V4(_) => V4::fold(V4::narrow(&wide)),
            IpAddr::V6(_) => V6::fold(V6::narrow(&wide)),
        };
        u32::from_be(folded).wrapping_add(u32::from(self.address.port()))
    }
}

/// Slots that a service of so many destinations has; `mh_size` is that of a table of mh.
#[must_use]
pub fn length(scheduler: Scheduler, destinations: usize, mh_size: u32) -> u32 {
    match scheduler {
        _ if destinations == 0 => 0,
        Scheduler::Mh => mh_size,
        _ if scheduler.is_hash() => HASH_SLOTS,
        _ => u32::try_from(destinations).unwrap_or(u32::MAX),
    }
}

/// The slots of a service whose destinations are `members` in walk order (newest first), at most as many as [`length()`]
/// says.
#[must_use]
pub fn table(scheduler: Scheduler, members: &[Member], mh_size: u32) -> Vec<u32> {
    if members.is_empty() {
        return Vec::new();
    }
    match scheduler {
        Scheduler::Sh => source_hash(members),
        Scheduler::Mh => maglev::table(members, mh_size),
        Scheduler::Dh => members.iter().map(|m| m.id).cycle().take(HASH_SLOTS as usize).collect(),
        Scheduler::Rr
        | Scheduler::Wrr
        | Scheduler::Lc
        | Scheduler::Wlc
        | Scheduler::Fo
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Ovf
        | Scheduler::Lblc
        | Scheduler::Lblcr
        | Scheduler::Twos => members.iter().map(|m| m.id).collect(),
    }
}

/// Each destination gets as many consecutive buckets as its weight, at least one, over and over
/// (ip_vs_sh.c: ip_vs_sh_reassign).
fn source_hash(members: &[Member]) -> Vec<u32> {
    members
        .iter()
        .cycle()
        .flat_map(|m| std::iter::repeat_n(m.id, m.weight.clamp(1, HASH_SLOTS) as usize))
        .take(HASH_SLOTS as usize)
        .collect()
}

/// What wrr knows of all weights together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Greatest common divisor of all weights above 0, 1 where there is none.
    pub step: u32,
    /// Greatest weight.
    pub max: u32,
}

/// Step and greatest of the weights (ip_vs_wrr.c: ip_vs_wrr_gcd_weight, ip_vs_wrr_max_weight).
#[must_use]
pub fn weights(members: &[Member]) -> Weights {
    let step = members.iter().fold(0, |a, m| gcd(a, m.weight));
    Weights { step: step.max(1), max: members.iter().map(|m| m.weight).max().unwrap_or(0) }
}

pub(super) fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Where `scheduler` goes on with new slots `walk`, when it stood at `current` in the slots `before`.
///
/// rr stays at the destination used last, or at its predecessor where that one is gone (ip_vs_rr.c:
/// ip_vs_rr_del_dest). wrr starts the walk anew with its weight cut to the new greatest one
/// (ip_vs_wrr.c: ip_vs_wrr_dest_changed). The others keep nothing.
#[must_use]
pub fn resume(
    scheduler: Scheduler,
    current: Schedule,
    before: &[u32],
    walk: &[u32],
    weights: Weights,
    generation: u16,
) -> Schedule {
    match scheduler {
        Scheduler::Rr => {
            let used = before.get(..=current.position() as usize).unwrap_or_default();
            let place = used.iter().rev().find_map(|id| walk.iter().position(|w| w == id));
            let place = place.and_then(|p| u32::try_from(p).ok()).unwrap_or(Schedule::HEAD);
            Schedule::new(generation, place, 0)
        }
        Scheduler::Wrr => {
            let most = weights.max.saturating_sub(weights.step - 1);
            let weight = match current.weight() {
                // 0 is how a new state says "from the top".
                0 => most,
                w if w > most => most,
                w if weights.step > 1 => (w / weights.step) * weights.step + 1,
                w => w,
            };
            Schedule::new(generation, Schedule::HEAD, weight)
        }
        Scheduler::Lc
        | Scheduler::Wlc
        | Scheduler::Sh
        | Scheduler::Dh
        | Scheduler::Fo
        | Scheduler::Sed
        | Scheduler::Nq
        | Scheduler::Ovf
        | Scheduler::Mh
        | Scheduler::Lblc
        | Scheduler::Lblcr
        | Scheduler::Twos => Schedule::new(generation, Schedule::HEAD, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u32]) -> Vec<Member> {
        let address = "192.0.2.1:80".parse().unwrap();
        let member = |(&weight, id)| Member { id, weight, last_weight: weight, address };
        weights.iter().zip(0..).map(member).collect()
    }

    #[test]
    fn a_list_holds_every_destination_in_walk_order() {
        for scheduler in Scheduler::ALL.into_iter().filter(|s| !s.is_hash()) {
            assert_eq!(table(scheduler, &members(&[3, 0, 1]), 251), [0, 1, 2]);
        }
        for scheduler in Scheduler::ALL {
            assert!(table(scheduler, &[], 251).is_empty());
        }
    }

    #[test]
    fn a_table_has_the_length_that_was_said_and_4096_destinations_are_few() {
        for n in [0, 1, 3, 4096] {
            let members = members(&vec![2; n]);
            for scheduler in Scheduler::ALL {
                let slots = table(scheduler, &members, 8191);
                assert_eq!(slots.len(), length(scheduler, n, 8191) as usize, "{scheduler:?} {n}");
            }
        }
    }

    #[test]
    fn sh_gives_weight_many_buckets_in_a_row() {
        let t = table(Scheduler::Sh, &members(&[2, 0, 3]), 251);
        assert_eq!(t.len(), 256);
        assert_eq!(&t[..12], [0, 0, 1, 2, 2, 2, 0, 0, 1, 2, 2, 2]);
    }

    #[test]
    fn sh_starves_destinations_beyond_256_buckets() {
        let t = table(Scheduler::Sh, &members(&[u32::MAX, 1]), 251);
        assert!(t.iter().all(|&id| id == 0));
    }

    #[test]
    fn dh_takes_turns_whatever_the_weights() {
        let t = table(Scheduler::Dh, &members(&[9, 0, 1]), 251);
        assert_eq!(t.len(), 256);
        assert_eq!(&t[..4], [0, 1, 2, 0]);
    }

    #[test]
    fn the_step_is_the_divisor_of_weights_above_0() {
        assert_eq!(weights(&members(&[10, 0, 25])), Weights { step: 5, max: 25 });
        assert_eq!(weights(&members(&[0, 0])), Weights { step: 1, max: 0 });
        assert_eq!(weights(&[]), Weights { step: 1, max: 0 });
    }

    #[test]
    fn rr_goes_on_behind_the_destination_used_last() {
        let at = |position| Schedule::new(1, position, 0);
        let w = Weights { step: 1, max: 1 };
        let rr = |position, before: &[u32], walk: &[u32]| {
            resume(Scheduler::Rr, at(position), before, walk, w, 2).position()
        };
        assert_eq!(rr(0, &[2, 1], &[3, 2, 1]), 1);
        // Removed: its predecessor, or the head of the list.
        assert_eq!(rr(1, &[3, 2, 1], &[3, 1]), 0);
        assert_eq!(rr(0, &[3, 2, 1], &[2, 1]), Schedule::HEAD);
        assert_eq!(rr(Schedule::HEAD, &[3, 2], &[3, 2]), Schedule::HEAD);
    }

    #[test]
    fn wrr_starts_the_walk_anew_with_its_weight_cut() {
        let wrr = |weight, step, max| {
            let s = resume(Scheduler::Wrr, Schedule::new(1, 2, weight), &[0], &[0], Weights { step, max }, 2);
            assert_eq!(s.position(), Schedule::HEAD);
            s.weight()
        };
        assert_eq!(wrr(0, 1, 4), 4);
        assert_eq!(wrr(9, 1, 4), 4);
        assert_eq!(wrr(3, 1, 4), 3);
        // Greatest 30, step 10: the top is 21.
        assert_eq!(wrr(30, 10, 30), 21);
        assert_eq!(wrr(17, 10, 30), 11);
        assert_eq!(wrr(5, 1, 0), 0);
    }
}
