//! The table's protocol on one processor, against a list of what should be in it. Several processors:
//! `loom.rs`.

#[cfg(loom)]
mod loom;

use std::collections::HashMap;

use proptest::prelude::*;

use super::{
    Body, Entry as _, Found, Insertion, Place, Removed, Room, Table, Word, at, elements, find, gate, insert,
    mask, overflowed, remove,
};
use crate::abi::{Bucket4, Entry4, FlowKey4, Memory, NONE, WAYS, connection_flags};
use crate::family::{Family, Ports, V4};

const SEED: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

/// A table in memory.
struct Host {
    buckets: Memory<Bucket4>,
    mask: u32,
}

impl Host {
    fn new(buckets: u32) -> Self {
        Self { buckets: Memory::new(elements(buckets)), mask: buckets - 1 }
    }
}

impl Table for Host {
    type Entry = Entry4;

    fn bucket(&self, index: u32) -> Option<Entry4> {
        self.buckets.entry(index)
    }

    fn place(&self, key: &FlowKey4) -> Place {
        Place::new(V4::hash(key, &SEED), self.mask)
    }

    fn home(&self, key: &FlowKey4) -> u32 {
        self.place(key).home
    }

    fn overflow(&self, key: &FlowKey4) -> u32 {
        overflowed(self, key, self.place(key))
    }
}

fn key(n: u32) -> FlowKey4 {
    V4::key(n.to_be_bytes(), [192, 0, 2, 1], Ports::new(40_000, 80), 6)
}

fn body(n: u32, now: u32, timeout: u32) -> Body<FlowKey4> {
    Body {
        key: key(n),
        address: [n as u8; 16],
        link: u64::from(n) << 8,
        last_seen: now,
        timeout,
        destination: n ^ 0x55,
        peer: NONE,
        mark: 0,
        peer_generation: n as u16,
        flags: 0,
        port: [n as u8, 1],
    }
}

fn room(place: Place) -> Room<FlowKey4> {
    let removed = Removed {
        word: Word(0),
        key: key(0),
        destination: 0,
        flags: 0,
        peer: 0,
        peer_generation: 0,
        link: 0,
    };
    Room { place, removed, replaced: false, best: 0, word: Word(0), slot: 0, cell: 0 }
}

/// What was inserted, with its slot; what was replaced.
type Put = (Option<(Found<Entry4>, u32)>, Option<Removed<FlowKey4>>);

/// Inserts; how it ended, and what was replaced.
fn put(table: &Host, body: &Body<FlowKey4>, state: u8, bits: u32) -> Put {
    let mut room = room(table.place(&body.key));
    let inserted = match insert(table, body, state, bits, &mut room) {
        Insertion::Inserted { word, slot } => {
            let entry = table.bucket(slot / WAYS).unwrap().way(slot % WAYS);
            Some((Found { entry, word }, slot))
        }
        Insertion::Full => None,
        Insertion::Lost => panic!("nobody else is there"),
    };
    (inserted, room.replaced.then_some(room.removed))
}

/// An entry that should be in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    n: u32,
    slot: u32,
    last_seen: u32,
    timeout: u32,
    weak: bool,
}

impl Listed {
    fn is_over(&self, now: u32) -> bool {
        // Half a day ahead is not 31 days ago.
        let age = now.wrapping_sub(self.last_seen);
        age > self.timeout && age < 0xffff_0000
    }

    /// How long it was not seen; not at all where it was seen at a tick ahead of ours.
    fn age(&self, now: u32) -> u32 {
        let age = now.wrapping_sub(self.last_seen);
        if age >= 0xffff_0000 { 0 } else { age }
    }
}

/// Where decision 2 puts a new entry: a free or expired slot of the home bucket, of the partner bucket,
/// or that of the oldest weak entry of both; the same of the overflow buckets where there is none. The entries that
/// could be replaced, `None`: a free slot.
fn choices(listed: &[Listed], place: Place, now: u32) -> Option<Vec<Listed>> {
    let [first, second] = place.overflow;
    match choices_of(listed, place.home, place.partner, now) {
        Some(none) if none.is_empty() => choices_of(listed, first, second, now),
        choices => choices,
    }
}

fn choices_of(listed: &[Listed], first: u32, second: u32, now: u32) -> Option<Vec<Listed>> {
    let of = |bucket: u32| listed.iter().filter(move |e| e.slot / WAYS == bucket).copied();
    for bucket in [first, second] {
        if of(bucket).count() < WAYS as usize {
            return None;
        }
        let over: Vec<Listed> = of(bucket).filter(|e| e.is_over(now)).collect();
        if !over.is_empty() {
            return Some(over);
        }
    }
    let both = of(first).chain(of(second).filter(|_| first != second));
    let weak: Vec<Listed> = both.filter(|e| e.weak).collect();
    let oldest = weak.iter().map(|e| e.age(now)).max();
    Some(weak.into_iter().filter(|e| Some(e.age(now)) == oldest).collect())
}

/// Holds the table to the list.
fn hold(table: &Host, listed: &[Listed]) {
    let mut gates = vec![0; table.buckets.len() as usize];
    for e in listed {
        let place = table.place(&key(e.n));
        let found = find(table, &key(e.n), place).expect("what was inserted is found");
        assert!(found.entry.key() == key(e.n) && found.entry.destination() == e.n ^ 0x55);
        assert_eq!(found.entry.link(), u64::from(e.n) << 8);
        assert_eq!(found.word.has(Word::WEAK), e.weak);
        let by_slot = at(table, e.slot, found.word.generation()).expect("and by its slot");
        assert_eq!(by_slot.word, found.word);
        assert!(at(table, e.slot, found.word.generation().wrapping_add(1)).is_none());
        let bucket = e.slot / WAYS;
        let overflowed = bucket > table.mask;
        assert_eq!(found.word.has(Word::DISPLACED), bucket != place.home);
        assert_eq!(found.word.has(Word::OVERFLOWED), overflowed);
        if overflowed {
            assert!(place.overflow.contains(&bucket));
            gates[place.home as usize] += 1 << gate::OVERFLOW.trailing_zeros();
        } else if bucket != place.home {
            assert_eq!(bucket, place.partner);
            gates[place.home as usize] += 1;
        }
    }
    for (index, bucket) in table.buckets.all().iter().enumerate() {
        assert_eq!(bucket.ways[0].gate, gates[index], "gate of bucket {index}");
        let live = bucket.ways.iter().filter(|w| Word(w.word).is_live()).count();
        assert_eq!(live, listed.iter().filter(|e| e.slot as usize / WAYS as usize == index).count());
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert { n: u32, weak: bool, timeout: u32, ahead: bool },
    Remove(prop::sample::Index),
    Establish(prop::sample::Index),
    Touch(prop::sample::Index),
    Pass(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let timeout = prop_oneof![Just(NONE), Just(0), 1..100_u32];
    prop_oneof![
        6 => (0..60_u32, any::<bool>(), timeout, prop::bool::weighted(0.1))
            .prop_map(|(n, weak, timeout, ahead)| Op::Insert { n, weak, timeout, ahead }),
        1 => any::<prop::sample::Index>().prop_map(Op::Remove),
        1 => any::<prop::sample::Index>().prop_map(Op::Establish),
        1 => any::<prop::sample::Index>().prop_map(Op::Touch),
        2 => prop_oneof![Just(1_u32), 1..60_u32].prop_map(Op::Pass),
    ]
}

fn play(buckets: u32, begin: u32, ops: Vec<Op>) {
    let table = Host::new(buckets);
    let mut listed: Vec<Listed> = Vec::new();
    let mut now = begin;
    for op in ops {
        match op {
            Op::Insert { n, weak, timeout, ahead } => {
                if listed.iter().any(|e| e.n == n) {
                    continue;
                }
                let place = table.place(&key(n));
                assert!(find(&table, &key(n), place).is_none());
                let choices = choices(&listed, place, now);
                let bits = if weak { Word::WEAK } else { 0 };
                let (inserted, replaced) = put(&table, &body(n, now, timeout), 3, bits);
                match (&choices, &inserted, replaced) {
                    (None, Some(_), None) => {}
                    (Some(choices), None, None) => assert!(choices.is_empty(), "full, but for {choices:?}"),
                    (Some(choices), Some((_, slot)), Some(gone)) => {
                        let at = choices.iter().position(|e| key(e.n) == gone.key);
                        let chosen = choices[at.expect("one of those that may be replaced")];
                        assert_eq!(*slot, chosen.slot);
                        assert_eq!(gone.destination, chosen.n ^ 0x55);
                        assert_eq!(gone.peer_generation, chosen.n as u16);
                        listed.retain(|e| e.n != chosen.n);
                    }
                    (choices, inserted, replaced) => {
                        panic!("{choices:?}: {} {replaced:?}", inserted.is_some())
                    }
                }
                if let Some((found, slot)) = inserted {
                    assert_eq!(found.word.state(), 3);
                    // As if another CPU, whose tick is a little ahead, had seen it.
                    let last_seen = if ahead { now.wrapping_add(2) } else { now };
                    found.entry.set_last_seen(last_seen);
                    listed.push(Listed { n, slot, last_seen, timeout, weak });
                }
            }
            Op::Remove(index) if !listed.is_empty() => {
                let e = listed.swap_remove(index.index(listed.len()));
                let found = find(&table, &key(e.n), table.place(&key(e.n))).unwrap();
                let mut room = room(table.place(&key(e.n)));
                assert!(remove(&table, found, &mut room.removed));
                assert_eq!((room.removed.key, room.removed.destination), (key(e.n), e.n ^ 0x55));
                assert!(!found.still());
                assert!(!remove(&table, found, &mut room.removed), "once");
            }
            Op::Establish(index) if !listed.is_empty() => {
                let at = index.index(listed.len());
                let e = &mut listed[at];
                let found = find(&table, &key(e.n), table.place(&key(e.n))).unwrap();
                assert!(found.entry.swap_word(found.word.0, found.word.with_state(1).without(Word::WEAK).0));
                assert!(found.still(), "a state is no other owner");
                e.weak = false;
            }
            Op::Touch(index) if !listed.is_empty() => {
                let at = index.index(listed.len());
                let e = &mut listed[at];
                find(&table, &key(e.n), table.place(&key(e.n))).unwrap().entry.set_last_seen(now);
                e.last_seen = now;
            }
            Op::Pass(ticks) => now = now.wrapping_add(ticks),
            _ => {}
        }
        hold(&table, &listed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_in_the_table_is_what_should_be(
        bits in 0..4_u32,
        begin in prop_oneof![Just(1000_u32), Just(u32::MAX - 50)],
        ops in prop::collection::vec(op(), 1..150),
    ) {
        play(1 << bits, begin, ops);
    }

    #[test]
    fn a_place_is_inside_the_table_and_has_two_buckets_where_there_are_two(hash in any::<u64>(), bits in 0..28_u32) {
        let mask = (1 << bits) - 1;
        let place = Place::new(hash, mask);
        prop_assert!(place.home <= mask && place.partner <= mask && place.start < WAYS);
        prop_assert_eq!(place.home == place.partner, mask == 0);
        let [first, second] = place.overflow;
        prop_assert!(first != second && first > mask && second > mask);
        prop_assert!(first.max(second) < elements(mask + 1));
    }

    #[test]
    fn a_word_keeps_its_parts_apart(generation in any::<u16>(), state in 0..16_u8, other in 0..16_u8) {
        let bits = Word::WEAK | Word::IN_ONLY | Word::OVERFLOWED;
        let word = Word::live(generation, state, bits);
        prop_assert!(word.is_live() && !word.is_free() && word.has(bits) && !word.has(Word::DISPLACED));
        prop_assert_eq!((word.generation(), word.state()), (generation, state));
        let word = word.with_state(other).without(Word::WEAK);
        prop_assert_eq!((word.generation(), word.state()), (generation, other));
        prop_assert!(word.is_live() && word.has(Word::IN_ONLY) && !word.has(Word::WEAK));
    }
}

#[test]
fn a_template_with_connections_outlives_its_time_but_not_a_flood_while_it_is_weak() {
    let table = Host::new(1);
    let template = |n, mark| Body { flags: connection_flags::TEMPLATE, mark, ..body(n, 1000, 10) };
    // All over, all with connections, none weak; until there is no room.
    let last = (0..1000).find(|n| put(&table, &template(*n, 1), 0, 0).0.is_none()).unwrap();
    let first = find(&table, &key(2), table.place(&key(2))).unwrap();
    first.entry.add_mark(u32::MAX);
    let later = Body { last_seen: 1011, ..template(last, 0) };
    let (inserted, replaced) = put(&table, &later, 0, 0);
    assert!(inserted.is_some());
    assert_eq!(replaced.unwrap().key, key(2), "the one whose last connection ended");
    let weak = find(&table, &key(1), table.place(&key(1))).unwrap();
    assert!(weak.entry.swap_word(weak.word.0, weak.word.0 | Word::WEAK));
    let (inserted, replaced) = put(&table, &Body { last_seen: 1011, ..template(last + 1, 0) }, 0, 0);
    assert!(inserted.is_some());
    assert_eq!(replaced.unwrap().key, key(1), "weak, in spite of its connection");
}

#[test]
fn the_layout_has_an_inverse() {
    for bits in 0..=28 {
        let buckets = 1 << bits;
        assert_eq!(mask(elements(buckets)), buckets - 1);
        assert_eq!(elements(buckets) - buckets, (buckets / 16).max(4));
    }
    assert_eq!(mask(256), 0, "a table of an earlier layout");
}

#[test]
fn overflow_takes_what_two_buckets_cannot_and_gives_it_back() {
    let table = Host::new(1);
    let mut there: Vec<u32> = Vec::new();
    let mut refused = Vec::new();
    for n in 0..200 {
        match put(&table, &body(n, 5, NONE), 1, 0) {
            (Some(_), None) => there.push(n),
            (None, None) => refused.push(n),
            other => panic!("{n} replaced {:?}", other.1),
        }
    }
    assert_eq!(there.len(), 5 * WAYS as usize, "every slot of a bucket and four overflow buckets");
    let gate = || table.bucket(0).unwrap().gate();
    assert_eq!(gate(), (4 * WAYS) << 16);
    for n in &refused {
        assert!(find(&table, &key(*n), table.place(&key(*n))).is_none());
    }
    for n in there {
        let found = find(&table, &key(n), table.place(&key(n))).expect("it is found where it is");
        assert!(remove(&table, found, &mut room(table.place(&key(n))).removed));
    }
    assert_eq!(gate(), 0);
}

/// A slot is another connection's each time it changes hands, for 65,536 times.
#[test]
fn generations_go_round() {
    let table = Host::new(1);
    let mut seen = HashMap::new();
    for n in 0..40_000_u32 {
        let (found, slot) = put(&table, &body(n, 5, 100), 1, 0).0.unwrap();
        assert_eq!(seen.insert((slot, found.word.generation()), n), None, "{n}");
        let mut room = room(table.place(&key(n)));
        assert!(remove(&table, found, &mut room.removed));
        if n == 30_000 {
            seen.clear();
        }
    }
}

/// How many established connections find no place, in thousandths, at a load of slots in eighths.
fn refused(eighths: u32) -> u32 {
    const BUCKETS: u32 = 1 << 12;
    let table = Host::new(BUCKETS);
    let mut full = 0;
    let mut n = 0_u32;
    let wanted = BUCKETS * WAYS * eighths / 8;
    for _ in 0..wanted {
        n = n.wrapping_add(0x0101_0307);
        full += u32::from(put(&table, &body(n, 5, NONE), 1, 0).0.is_none());
    }
    full * 1000 / wanted
}

#[test]
fn few_established_connections_find_no_place_at_the_design_load() {
    for eighths in 3..8 {
        println!("{} of 1000 at {eighths}/8", refused(eighths));
    }
    assert_eq!(refused(4), 0, "of 1000 at half");
    assert!(refused(5) <= 5, "{} of 1000 at 5/8", refused(5));
}
