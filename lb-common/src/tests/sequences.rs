//! Random sequences of frames: what must hold after each of them, whatever happened.

use std::collections::HashMap;

use super::frames::{CLIENT_MAC, judge};
use super::random::{OTHER_IFINDEX, Random, Site, Step};
use crate::abi::{Bucket4, Bucket6, Connection4, Connection6, Hop, NONE, WAYS, connection_flags};
use crate::conn;
use crate::family::{Family, V4, V6};
use crate::flow_table::{Place, Word, gate};
use crate::reason::Reason;
use crate::run::Action;
use crate::testing::{HostTables, direct_bytes};

/// An entry, without its family.
struct Live {
    word: Word,
    place: Place,
    bucket: u32,
    slot: u32,
    key: Vec<u64>,
    protocol: u8,
    destination: u32,
    flags: u16,
    peer: u32,
    peer_generation: u16,
    link: u64,
    mark: u32,
}

macro_rules! live {
    ($name:ident, $family:ty, $bucket:ty, $entry:ty, $key:expr) => {
        fn $name(buckets: &[$bucket], mask: u32, seed: &[u64; 4]) -> (Vec<Live>, Vec<u32>) {
            let mut entries = Vec::new();
            let mut gates = Vec::new();
            for (bucket, content) in (0..).zip(buckets) {
                let [first, ..] = content.ways;
                gates.push(first.gate & !gate::STATELESS);
                for (way, c) in (0..).zip(content.ways) {
                    let word = Word(c.word);
                    if !word.is_live() {
                        assert!(word.is_free(), "nothing stays claimed");
                        continue;
                    }
                    let place = Place::new(<$family>::hash(&c.key, seed), mask);
                    let key: fn(&$entry) -> Vec<u64> = $key;
                    entries.push(Live {
                        word,
                        place,
                        bucket,
                        slot: bucket * WAYS + way,
                        key: key(&c),
                        protocol: <$family>::protocol(&c.key),
                        destination: c.destination,
                        flags: c.flags,
                        peer: c.peer,
                        peer_generation: c.peer_generation,
                        link: c.link,
                        mark: c.mark,
                    });
                }
            }
            (entries, gates)
        }
    };
}
live!(live4, V4, Bucket4, Connection4, |c| vec![c.key.addresses, c.key.rest]);
live!(live6, V6, Bucket6, Connection6, |c| {
    let ([a, b], [d, e]) = (c.key.source, c.key.destination);
    vec![a, b, d, e, c.key.rest]
});

/// Of one table: no key twice, every entry where its key is looked up, gates exact.
fn hold_table(entries: &[Live], gates: &[u32]) {
    let mut keys = HashMap::new();
    let mut away = vec![0; gates.len()];
    for e in entries {
        assert!(keys.insert(e.key.clone(), e.slot).is_none(), "a key twice");
        let Place { home, partner, overflow, .. } = e.place;
        assert_eq!(e.word.has(Word::DISPLACED), e.bucket != home, "displaced");
        assert_eq!(e.word.has(Word::OVERFLOWED), overflow.contains(&e.bucket), "overflowed");
        assert!(e.bucket == home || e.bucket == partner || overflow.contains(&e.bucket));
        if e.bucket != home {
            away[home as usize] += gate::one(e.word);
        }
    }
    assert_eq!(gates, away, "gates");
}

/// Of the connections: pairs point at each other.
fn hold_pairs(entries: &[Live]) {
    let by_slot: HashMap<u32, &Live> = entries.iter().map(|e| (e.slot, e)).collect();
    for e in entries {
        if e.flags & connection_flags::MASQ != 0
            && let Some(reply) = by_slot.get(&e.peer)
            && reply.word.generation() == e.peer_generation
        {
            assert_ne!(reply.flags & connection_flags::REPLY, 0, "the peer is a reply entry");
            assert_eq!((reply.peer, reply.peer_generation), (e.slot, e.word.generation()), "and points back");
            assert_eq!(reply.destination, e.destination);
        }
        if e.flags & connection_flags::REPLY != 0 {
            let forward = by_slot.get(&e.peer).filter(|f| f.word.generation() == e.peer_generation);
            assert!(forward.is_some(), "no reply entry without its connection");
        } else if e.flags & connection_flags::MASQ == 0 {
            assert_eq!(e.peer, NONE);
        }
    }
}

/// The counts are those of the entries there are, and templates know their connections.
fn hold_counts(tables: &HostTables, connections: &[&[Live]; 2], templates: &[&[Live]; 2]) {
    let mut counts: HashMap<u32, [u32; 3]> = HashMap::new();
    for e in connections.iter().copied().flatten().filter(|e| e.flags & connection_flags::REPLY == 0) {
        let active = conn::is_active(e.protocol, e.word.state());
        counts.entry(e.destination).or_default()[usize::from(!active)] += 1;
    }
    for e in templates.iter().copied().flatten() {
        assert_eq!(e.peer, e.slot, "a template names its own slot");
        counts.entry(e.destination).or_default()[2] += 1;
    }
    for id in 0..64 {
        let c = tables.counts(id);
        assert_eq!(
            [c.active, c.inactive, c.persistent],
            counts.get(&id).copied().unwrap_or_default(),
            "{id}"
        );
    }
    for (templates, connections) in templates.iter().zip(connections) {
        for t in *templates {
            let own = |c: &&Live| {
                c.flags & connection_flags::CONTROLLED != 0
                    && c.link as u32 == t.slot
                    && (c.link >> 32) as u16 == t.word.generation()
            };
            assert_eq!(connections.iter().filter(own).count() as u32, t.mark, "children of a template");
        }
    }
}

fn hold(tables: &HostTables) {
    let s = &tables.settings;
    let (c4, g4) = live4(&tables.connections4.all(), s.buckets4, &s.seed);
    let (c6, g6) = live6(&tables.connections6.all(), s.buckets6, &s.seed);
    let (t4, h4) = live4(&tables.templates4.all(), s.templates4, &s.seed);
    let (t6, h6) = live6(&tables.templates6.all(), s.templates6, &s.seed);
    for (entries, gates) in [(&c4, &g4), (&c6, &g6), (&t4, &h4), (&t6, &h6)] {
        hold_table(entries, gates);
    }
    hold_pairs(&c4);
    hold_pairs(&c6);
    hold_counts(tables, &[&c4, &c6], &[&t4, &t6]);
}

/// What must hold of one frame.
fn hold_frame(tables: &HostTables, before: &[u64], frame: &[u8], action: Action, after: &[u8]) {
    let counted: Vec<Reason> = Reason::ALL
        .iter()
        .zip(before.iter().zip(tables.reasons()))
        .flat_map(|(reason, (before, now))| core::iter::repeat_n(*reason, (now - before) as usize))
        .collect();
    let lost = |r: &Reason| matches!(r, Reason::ConnectionTableFull | Reason::Contended);
    match action {
        Action::Pass => {
            assert_eq!(frame, after, "what passes is not touched");
            assert!(counted.iter().any(|r| !r.is_drop()), "{counted:?}");
        }
        Action::Drop => assert!(counted.iter().any(|r| r.is_drop()), "{counted:?}"),
        Action::Transmit | Action::Redirect(_) => {
            let answered =
                |r: &Reason| matches!(r, Reason::NoDestination | Reason::TtlExceeded | Reason::PacketTooBig);
            assert!(counted.iter().all(|r| lost(r) || answered(r)), "{counted:?}");
        }
        Action::Open
        | Action::Other
        | Action::Related
        | Action::Engine
        | Action::Admit
        | Action::Encapsulate(_) => {
            panic!("the last program asks for another one")
        }
    }
}

/// Destination address of a frame.
fn destination(frame: &[u8]) -> [u8; 16] {
    let mut wide = [0; 16];
    let (at, length) = if frame.get(12) == Some(&0x86) { (38, 16) } else { (30, 4) };
    if let (Some(to), Some(from)) = (wide.get_mut(..length), frame.get(at..at + length)) {
        to.copy_from_slice(from);
    }
    wide
}

/// What a sequence reached: packets by reason; steps with an entry in an overflow bucket, and with a bucket that
/// remembers connections without an entry.
type Reached = ([u64; Reason::ALL.len()], [u64; 2]);

fn sequence(seed: u64) -> Reached {
    let mut random = Random(seed);
    let mut site = Site::new(&mut random, 8);
    let mut gates = [0; 2];
    for n in 0..60 {
        let step = site.step(&mut random);
        site.apply(&step);
        let Step::Frame { frame, ifindex } = &step else { continue };
        // Routes to clients come and go.
        if random.once_in(4) {
            let to = destination(frame);
            if site.tables.routes.remove(&to).is_none() {
                site.tables
                    .routes
                    .insert(to, Hop::new(CLIENT_MAC, random.one_of(&[1, OTHER_IFINDEX as u16])));
            }
        }
        let before = site.tables.reasons();
        let (action, after) = direct_bytes(&site.tables, frame, *ifindex);
        let context = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
            hold(&site.tables);
            hold_frame(&site.tables, &before, frame, action, &after);
            if matches!(action, Action::Transmit | Action::Redirect(_)) && judge(frame).is_ok() {
                assert_eq!(judge(&after), Ok(()));
            }
        }));
        assert!(context.is_ok(), "seed {seed}, step {n}: {action:?} of {frame:02x?}");
        for (n, bits) in gates.iter_mut().zip([gate::OVERFLOW, gate::STATELESS]) {
            *n += u64::from(
                site.tables.connections4.all().iter().any(|bucket| bucket.ways[0].gate & bits != 0),
            );
        }
        site.tables.set_now(crate::tables::Tables::now(&site.tables).wrapping_add(random.below(3)));
    }
    (site.tables.reasons().try_into().unwrap(), gates)
}

#[test]
fn whatever_comes_in_counts_pairs_and_checksums_are_right() {
    let mut reached = [0; Reason::ALL.len()];
    let mut gates = [0; 2];
    for seed in 0..3000 {
        let (reasons, steps) = sequence(seed);
        for (sum, n) in reached.iter_mut().chain(&mut gates).zip(reasons.into_iter().chain(steps)) {
            *sum += n;
        }
    }
    println!("steps with entries in overflow buckets, with connections without an entry: {gates:?}");
    assert!(gates.iter().all(|n| *n > 300), "{gates:?}");
    let never: Vec<&str> =
        Reason::ALL.iter().zip(reached).filter(|(_, n)| *n == 0).map(|(r, _)| r.name()).collect();
    // The way a client's first packet came is always known; without another processor nobody is in the way, and a frame
    // whose headers were read can be rewritten.
    assert_eq!(never, ["client-unresolved", "contended", "rewrite-failed"]);
}
