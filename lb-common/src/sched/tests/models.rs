//! The models: what each scheduler chooses, said plainly.

use std::collections::BTreeMap;

use super::EXPIRATION;
use crate::sched::{Scheduler, Subject};
use crate::testing::{fill, random_number, weights};

/// A destination as a model sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) weight: u32,
    /// The last weight above 0.
    pub(super) last_weight: u32,
    pub(super) active: u32,
    pub(super) inactive: u32,
    pub(super) overloaded: bool,
    pub(super) resolved: bool,
}

impl Server {
    const fn is_usable(&self) -> bool {
        self.weight > 0 && !self.overloaded && self.resolved
    }
}

/// What a model remembers between two choices.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// Index of the server used last; before the first one without.
    pub(super) last: Option<usize>,
    /// Current weight of wrr.
    pub(super) current: i64,
    /// From where random numbers go on.
    pub(super) random: u64,
    /// The table of mh, and of which last weights it is.
    pub(super) table: (Vec<(u32, u32)>, Vec<u32>),
    /// What lblc and lblcr remember: servers of an address, the one added last first, and when they changed.
    pub(super) sets: BTreeMap<u32, (Vec<usize>, u32)>,
}

/// rr: the list goes round; weights only say whether a server takes part.
fn rr(servers: &[Server], memory: &mut Memory) -> Option<usize> {
    let n = servers.len();
    let start = memory.last.map_or(0, |last| last + 1);
    let chosen = (0..n).map(|i| (start + i) % n).find(|&i| servers[i].is_usable())?;
    memory.last = Some(chosen);
    Some(chosen)
}

/// wrr, literally: `di`, `mw`, and a walk that lowers `cw` at the end of the list.
fn wrr(servers: &[Server], memory: &mut Memory) -> Option<usize> {
    let all: Vec<(u32, u32)> = (0..).zip(servers.iter().map(|s| s.weight)).collect();
    let (di, max) = weights(&all);
    let (di, mw) = (i64::from(di), i64::from(max) - (i64::from(di) - 1));
    if max == 0 || !servers.iter().any(Server::is_usable) {
        return None;
    }
    let mut cw = if memory.current == 0 { mw } else { memory.current };
    let mut at = memory.last.map_or(0, |last| last + 1);
    loop {
        while at < servers.len() {
            if servers[at].is_usable() && i64::from(servers[at].weight) >= cw {
                (memory.last, memory.current) = (Some(at), cw);
                return Some(at);
            }
            at += 1;
        }
        at = 0;
        cw -= di;
        if cw <= 0 {
            cw = mw;
        }
    }
}

/// The first of the usable servers of which none is smaller by `load` over `weight`.
fn least(servers: &[Server], load: impl Fn(&Server) -> (u128, u128)) -> Option<usize> {
    let usable: Vec<usize> = (0..servers.len()).filter(|&i| servers[i].is_usable()).collect();
    let smaller = |a: usize, b: usize| {
        let ((p, q), (r, s)) = (load(&servers[a]), load(&servers[b]));
        p * s < r * q
    };
    usable.iter().copied().find(|&i| !usable.iter().any(|&other| smaller(other, i)))
}

fn overhead(s: &Server) -> u128 {
    u128::from(s.active) * 256 + u128::from(s.inactive)
}

fn wlc(servers: &[Server]) -> Option<usize> {
    least(servers, |s| (overhead(s), u128::from(s.weight)))
}

/// mh: the bucket of the client; with the fallback, the hash of what comes after it.
fn mh(flags: u8, servers: &[Server], memory: &mut Memory, subject: &Subject) -> Option<usize> {
    let last: Vec<(u32, u32)> = (3..).zip(servers.iter().map(|s| s.last_weight)).collect();
    if memory.table.0 != last {
        memory.table = (last.clone(), fill(Scheduler::Mh, &last));
    }
    let table = &memory.table.1;
    if table.is_empty() {
        return None;
    }
    let size = table.len() as u32;
    let port = if flags & 2 != 0 { u32::from(subject.client_port) } else { 0 };
    let bucket =
        |offset: u32| crate::hash::mh_first(offset.wrapping_add(port).wrapping_add(subject.client)) % size;
    let at = |bucket: u32| table[bucket as usize] as usize - 3;
    let first = bucket(0);
    if servers[at(first)].is_usable() {
        return Some(at(first));
    }
    if flags & 1 == 0 {
        return None;
    }
    (0..size).map(|i| at(bucket((first + i) % size))).find(|&i| servers[i].is_usable())
}

/// twos: two numbers from 0 to the sum of the weights; each falls into a server's share of it.
fn twos(servers: &[Server], mut random: u64) -> Option<usize> {
    let mut number = || {
        let (state, high) = random_number(random);
        let (state, low) = random_number(state);
        random = state;
        u64::from(high) << 32 | u64::from(low)
    };
    let usable: Vec<usize> = (0..servers.len()).filter(|&i| servers[i].is_usable()).collect();
    let total: u64 = usable.iter().map(|&i| u64::from(servers[i].weight)).sum();
    let mut choice = || {
        let number = number() % (total + 1);
        let mut end = 0;
        usable.iter().copied().find(|&i| {
            end += u64::from(servers[i].weight);
            number <= end
        })
    };
    let (one, two) = (choice()?, choice()?);
    let ratio = |a: usize, b: usize| overhead(&servers[a]) * u128::from(servers[b].weight);
    Some(if ratio(one, two) > ratio(two, one) { two } else { one })
}

/// Whether a server has more active connections than its weight, and another less than half.
fn is_crowded(servers: &[Server], i: usize) -> bool {
    servers[i].active > servers[i].weight
        && servers.iter().any(|s| u64::from(s.active) * 2 < u64::from(s.weight))
}

fn lblc(servers: &[Server], memory: &mut Memory, subject: &Subject) -> Option<usize> {
    if let Some((set, _)) = memory.sets.get(&subject.address)
        && servers[set[0]].is_usable()
        && !is_crowded(servers, set[0])
    {
        return Some(set[0]);
    }
    let chosen = wlc(servers)?;
    memory.sets.insert(subject.address, (vec![chosen], subject.now));
    Some(chosen)
}

fn lblcr(servers: &[Server], memory: &mut Memory, subject: &Subject) -> Option<usize> {
    let Some((set, modified)) = memory.sets.get_mut(&subject.address) else {
        let chosen = wlc(servers)?;
        memory.sets.insert(subject.address, (vec![chosen], subject.now));
        return Some(chosen);
    };
    let of_set: Vec<Server> = set.iter().map(|&i| servers[i]).collect();
    let known = wlc(&of_set).map(|n| set[n]);
    if set.len() > 1 && subject.now > *modified + EXPIRATION {
        // The first of the members with a weight of which none is more loaded.
        let more =
            |a: &Server, b: &Server| overhead(a) * u128::from(b.weight) > overhead(b) * u128::from(a.weight);
        let weighted: Vec<usize> = (0..set.len()).filter(|&n| of_set[n].weight > 0).collect();
        let most = weighted.iter().find(|&&n| !weighted.iter().any(|&m| more(&of_set[m], &of_set[n])));
        if let Some(&n) = most {
            set.remove(n);
            *modified = subject.now;
        }
    }
    if let Some(known) = known.filter(|&i| !is_crowded(servers, i)) {
        return Some(known);
    }
    let chosen = wlc(servers)?;
    if !set.contains(&chosen) {
        set.insert(0, chosen);
        *modified = subject.now;
    }
    Some(chosen)
}

/// `hash_32(v, 8)`.
fn hash(v: u32) -> usize {
    ((u64::from(v) * 0x61C8_8647) as u32 >> 24) as usize
}

pub(super) fn model(
    scheduler: Scheduler,
    flags: u8,
    servers: &[Server],
    memory: &mut Memory,
    subject: &Subject,
) -> Option<usize> {
    let weight = |s: &Server| u128::from(s.weight);
    match scheduler {
        Scheduler::Rr => rr(servers, memory),
        Scheduler::Wrr => wrr(servers, memory),
        Scheduler::Lc => least(servers, |s| (overhead(s), 1)),
        Scheduler::Wlc => least(servers, |s| (overhead(s), weight(s))),
        Scheduler::Sed => least(servers, |s| (u128::from(s.active) + 1, weight(s))),
        Scheduler::Nq => servers
            .iter()
            .position(|s| s.is_usable() && s.active == 0)
            .or_else(|| least(servers, |s| (u128::from(s.active) + 1, weight(s)))),
        Scheduler::Fo => least(servers, |s| (1, weight(s))),
        Scheduler::Ovf => {
            let free: Vec<Server> = servers
                .iter()
                .map(|s| if s.active > s.weight { Server { weight: 0, ..*s } } else { *s })
                .collect();
            least(&free, |s| (1, weight(s)))
        }
        Scheduler::Sh => {
            let mut table = Vec::new();
            while table.len() < 256 {
                for (i, s) in servers.iter().enumerate() {
                    table.extend(std::iter::repeat_n(i, (s.weight as usize).clamp(1, 256)));
                }
            }
            let port = if flags & 2 != 0 { u32::from(subject.client_port) } else { 0 };
            let bucket = |offset: usize| (offset + hash(port.wrapping_add(subject.client))) & 255;
            let first = table[bucket(0)];
            if servers[first].is_usable() {
                return Some(first);
            }
            if flags & 1 == 0 {
                return None;
            }
            (0..256).map(|i| table[bucket((i + bucket(0)) % 256)]).find(|&i| servers[i].is_usable())
        }
        Scheduler::Dh => {
            let chosen = hash(subject.address) % 256 % servers.len();
            servers[chosen].is_usable().then_some(chosen)
        }
        Scheduler::Mh => mh(flags, servers, memory, subject),
        Scheduler::Twos => twos(servers, memory.random),
        Scheduler::Lblc => lblc(servers, memory, subject),
        Scheduler::Lblcr => lblcr(servers, memory, subject),
    }
}

/// Where a scheduler goes on when weights change (ip_vs_wrr.c: the walk starts from the head and its
/// weight is cut; rr keeps its place).
pub(super) fn after_edit(scheduler: Scheduler, memory: &Memory, servers: &[Server]) -> Memory {
    if scheduler != Scheduler::Wrr {
        return memory.clone();
    }
    let all: Vec<(u32, u32)> = (0..).zip(servers.iter().map(|s| s.weight)).collect();
    let (di, max) = weights(&all);
    let mw = i64::from(max) - (i64::from(di) - 1);
    let current = if memory.current > mw || memory.current == 0 {
        mw
    } else if di > 1 {
        memory.current / i64::from(di) * i64::from(di) + 1
    } else {
        memory.current
    };
    Memory { last: None, current, ..memory.clone() }
}
