//! The table's protocol under every order in which few processors can take their steps (loom), with memory
//! as x86 has it: loads acquire, stores release, atomic operations are full barriers.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test -p lb-common --release --lib loom`. What only its owner writes in a
//! claimed slot, and nobody decides by, is not modelled.

mod overflow;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Unseen, Ordering as Plain};

use ::loom::model::Builder;
use ::loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use ::loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use ::loom::thread;

use crate::abi::{FlowKey4, NONE, WAYS};
use crate::flow_table::{
    Body, Entry, Found, Insertion, Place, Removed, Room, Table, Word, discard, find, gate, insert,
    overflowed, remove,
};

/// One slot. The key is two words, so that it can be torn.
#[derive(Default)]
struct Slot {
    word: AtomicU32,
    key: [AtomicU64; 2],
    destination: AtomicU32,
    gate: AtomicU32,
    last_seen: Unseen,
    timeout: Unseen,
    flags: Unseen,
    mark: Unseen,
}

/// An entry: its bucket's slots, and its way.
#[derive(Clone, Copy)]
struct ModelEntry {
    slots: &'static [Slot; WAYS as usize],
    way: usize,
}

impl ModelEntry {
    fn slot(&self) -> &'static Slot {
        &self.slots[self.way]
    }
}

impl Entry for ModelEntry {
    type Key = FlowKey4;

    fn way(&self, n: u32) -> Self {
        Self { slots: self.slots, way: (n & (WAYS - 1)) as usize }
    }
    fn word(&self) -> u32 {
        self.slot().word.load(Acquire)
    }
    fn swap_word(&self, old: u32, new: u32) -> bool {
        fence(::loom::sync::atomic::Ordering::SeqCst);
        let swapped = self.slot().word.compare_exchange(old, new, Acquire, Relaxed).is_ok();
        fence(::loom::sync::atomic::Ordering::SeqCst);
        swapped
    }
    fn key(&self) -> FlowKey4 {
        let [addresses, rest] = &self.slot().key;
        FlowKey4 { addresses: addresses.load(Acquire), rest: rest.load(Acquire) }
    }
    fn differs(&self, key: &FlowKey4) -> u64 {
        let ours = self.key();
        (ours.addresses ^ key.addresses) | (ours.rest ^ key.rest)
    }
    fn last_seen(&self) -> u32 {
        self.slot().last_seen.load(Plain::SeqCst)
    }
    fn set_last_seen(&self, tick: u32) {
        self.slot().last_seen.store(tick, Plain::SeqCst);
    }
    fn timeout(&self) -> u32 {
        self.slot().timeout.load(Plain::SeqCst)
    }
    fn set_timeout(&self, ticks: u32) {
        self.slot().timeout.store(ticks, Plain::SeqCst);
    }
    fn destination(&self) -> u32 {
        self.slot().destination.load(Acquire)
    }
    fn peer(&self) -> u32 {
        NONE
    }
    fn peer_generation(&self) -> u16 {
        0
    }
    fn set_peer(&self, _: u32, _: u16) {}
    fn flags(&self) -> u16 {
        self.slot().flags.load(Plain::SeqCst) as u16
    }
    fn set_flags(&self, flags: u16) {
        self.slot().flags.store(flags.into(), Plain::SeqCst);
    }
    fn address(&self) -> [u8; 16] {
        [0; 16]
    }
    fn port(&self) -> [u8; 2] {
        [0; 2]
    }
    fn route_generation(&self) -> u16 {
        0
    }
    fn link(&self) -> u64 {
        0
    }
    fn set_link(&self, _: u64, _: u16) {}
    fn gate(&self) -> u32 {
        self.slot().gate.load(Acquire)
    }
    fn add_gate(&self, delta: u32) {
        fence(::loom::sync::atomic::Ordering::SeqCst);
        self.slot().gate.fetch_add(delta, Acquire);
        fence(::loom::sync::atomic::Ordering::SeqCst);
    }
    fn mark_gate(&self, bits: u32) {
        fence(::loom::sync::atomic::Ordering::SeqCst);
        self.slot().gate.fetch_or(bits, Acquire);
        fence(::loom::sync::atomic::Ordering::SeqCst);
    }
    fn unmark_gate(&self, bits: u32) {
        fence(::loom::sync::atomic::Ordering::SeqCst);
        self.slot().gate.fetch_and(!bits, Acquire);
        fence(::loom::sync::atomic::Ordering::SeqCst);
    }
    fn mark(&self) -> u32 {
        self.slot().mark.load(Plain::SeqCst)
    }
    fn add_mark(&self, delta: u32) -> u32 {
        self.slot().mark.fetch_add(delta, Plain::SeqCst)
    }
    fn write(&self, body: &Body<FlowKey4>) {
        let slot = self.slot();
        slot.last_seen.store(body.last_seen, Plain::SeqCst);
        slot.timeout.store(body.timeout, Plain::SeqCst);
        slot.flags.store(body.flags.into(), Plain::SeqCst);
        slot.mark.store(body.mark, Plain::SeqCst);
        let [addresses, rest] = &slot.key;
        addresses.store(body.key.addresses, Release);
        rest.store(body.key.rest, Release);
        slot.destination.store(body.destination, Release);
    }
}

/// Two buckets and two overflow buckets; every key lives in the first, with the second as its partner.
#[derive(Clone)]
struct Model(Arc<[&'static [Slot; WAYS as usize]; 4]>);

const PLACE: Place = Place { home: 0, partner: 1, start: 0, overflow: [2, 3] };
/// The word's bits of an entry in each bucket.
const BITS: [u32; 4] =
    [0, Word::DISPLACED, Word::DISPLACED | Word::OVERFLOWED, Word::DISPLACED | Word::OVERFLOWED];
const NOW: u32 = 1000;

impl Model {
    fn new() -> Self {
        // Kept until the process ends: an entry is a copy that cannot hold it.
        Self(Arc::new(std::array::from_fn(|_| &*Box::leak(Box::default()))))
    }

    /// Fills a slot before the processors begin.
    fn put(&self, bucket: u32, way: u32, n: u64, bits: u32) -> Found<ModelEntry> {
        let entry = self.bucket(bucket).unwrap().way(way);
        entry.write(&body(n));
        let word = Word::live(1, 3, bits | BITS[bucket as usize]);
        if bucket != 0 {
            self.bucket(0).unwrap().add_gate(gate::one(word));
        }
        entry.slot().word.store(word.0, Release);
        Found { entry, word }
    }

    /// Live entries of a key; and whether the gate is that of the displaced ones.
    fn count(&self, n: u64) -> usize {
        let mut live = 0;
        let mut displaced = 0;
        for (bucket, slots) in self.0.iter().enumerate() {
            for way in 0..WAYS {
                let entry = ModelEntry { slots, way: way as usize };
                let word = Word(entry.word());
                assert!(word.is_live() || word.is_free(), "nothing stays claimed");
                if !word.is_live() {
                    continue;
                }
                assert_eq!(word.0 & (Word::DISPLACED | Word::OVERFLOWED), BITS[bucket]);
                displaced += if bucket == 0 { 0 } else { gate::one(word) };
                live += usize::from(entry.key() == key(n));
            }
        }
        let gate = self.bucket(0).unwrap().gate();
        assert_eq!(gate & (gate::PARTNER | gate::OVERFLOW), displaced, "the gate is exact");
        live
    }
}

impl Table for Model {
    type Entry = ModelEntry;

    fn bucket(&self, index: u32) -> Option<ModelEntry> {
        self.0.get(index as usize).map(|slots| ModelEntry { slots, way: 0 })
    }
    fn place(&self, _: &FlowKey4) -> Place {
        PLACE
    }
    fn home(&self, _: &FlowKey4) -> u32 {
        PLACE.home
    }
    fn overflow(&self, key: &FlowKey4) -> u32 {
        overflowed(self, key, PLACE)
    }
}

/// Both words of a key differ from those of every other.
fn key(n: u64) -> FlowKey4 {
    FlowKey4 { addresses: n, rest: n << 32 }
}

fn body(n: u64) -> Body<FlowKey4> {
    Body {
        key: key(n),
        address: [0; 16],
        link: 0,
        last_seen: NOW,
        timeout: 60,
        destination: destination(n),
        peer: NONE,
        mark: 0,
        peer_generation: 0,
        flags: 0,
        port: [0; 2],
    }
}

/// The destination of a key's entry: what a reader must not get of another's.
fn destination(n: u64) -> u32 {
    n as u32 * 7
}

fn room() -> Room<FlowKey4> {
    Room { place: PLACE, removed: removed(), replaced: false, best: 0, word: Word(0), slot: 0, cell: 0 }
}

fn removed() -> Removed<FlowKey4> {
    let (key, word) = (key(0), Word(0));
    Removed { word, key, destination: 0, flags: 0, peer: 0, peer_generation: 0, link: 0 }
}

/// What an insertion adds to the number of counted entries of its key, and whose entry it replaced.
fn put(model: &Model, n: u64) -> (usize, Option<FlowKey4>) {
    let mut room = room();
    let inserted = matches!(insert(model, &body(n), 3, Word::WEAK, &mut room), Insertion::Inserted { .. });
    (usize::from(inserted), room.replaced.then_some(room.removed.key))
}

/// How many more entries of the key are counted after an insertion: one that the other processor made may be
/// replaced, as the weak one that it is, and is taken off.
fn counted(model: &Model, n: u64) -> usize {
    let (inserted, replaced) = put(model, n);
    inserted.wrapping_sub(usize::from(replaced == Some(key(n))))
}

/// Looks a key up; the destination, if what was read is the key's.
fn look(model: &Model, n: u64) -> Option<u32> {
    let found = find(model, &key(n), PLACE)?;
    let destination = found.entry.destination();
    found.still().then_some(destination)
}

/// Every order that can make a difference. A processor that only reads is to be a spawned thread: loom remembers
/// no more than the last access to each word, and would take one that the writer itself reads after for settled.
fn explore(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.max_branches = 100_000;
    let orders = Arc::new(Unseen::new(0));
    let count = Arc::clone(&orders);
    builder.check(move || {
        count.fetch_add(1, Plain::SeqCst);
        test();
    });
    println!("{} orders", orders.load(Plain::SeqCst));
}

/// Fills all of the first bucket but one way, and so much of the second, with what must stay.
fn crowd(model: &Model, free: u32, second: u32) {
    for way in (0..WAYS).filter(|way| *way != free) {
        model.put(0, way, 100 + u64::from(way), 0);
    }
    for way in 0..second {
        model.put(1, way, 200 + u64::from(way), 0);
    }
}

#[test]
fn two_insertions_of_one_key_leave_at_most_one() {
    explore(|| {
        let model = Model::new();
        model.put(0, 0, 100, 0);
        model.put(0, 1, 101, 0);
        let other = model.clone();
        let first = thread::spawn(move || counted(&other, 1));
        let second = counted(&model, 1);
        let inserted = first.join().unwrap().wrapping_add(second);
        assert_eq!(model.count(1), inserted, "every entry there is is counted");
        assert!(inserted <= 1, "and one at most is there");
    });
}

#[test]
fn two_insertions_of_one_key_in_two_buckets_leave_at_most_one() {
    explore(|| {
        let model = Model::new();
        // One way left in each bucket: one of the two is displaced.
        crowd(&model, 2, 3);
        let other = model.clone();
        let first = thread::spawn(move || counted(&other, 1));
        let second = counted(&model, 1);
        let inserted = first.join().unwrap().wrapping_add(second);
        assert_eq!(model.count(1), inserted);
        assert!(inserted <= 1);
    });
}

#[test]
fn a_reader_never_takes_what_is_anothers() {
    explore(|| {
        let model = Model::new();
        crowd(&model, 2, 4);
        // The one weak entry gives way to key 2, while key 1 and key 2 are looked up.
        model.put(0, 2, 1, Word::WEAK);
        let other = model.clone();
        let reader = thread::spawn(move || [1, 2].map(|n| look(&other, n)));
        assert_eq!(put(&model, 2), (1, Some(key(1))));
        let [first, second] = reader.join().unwrap();
        assert!(first.is_none_or(|found| found == destination(1)));
        assert!(second.is_none_or(|found| found == destination(2)));
        assert_eq!((model.count(1), model.count(2)), (0, 1));
        assert_eq!(look(&model, 2), Some(destination(2)));
    });
}

#[test]
fn a_reader_finds_an_entry_that_is_there_all_the_time() {
    explore(|| {
        let model = Model::new();
        model.put(1, 0, 1, 0);
        model.put(0, 0, 2, 0);
        let other = model.clone();
        // Others come and go beside it, one of them displaced.
        let reader = thread::spawn(move || look(&other, 1));
        let found = find(&model, &key(2), PLACE).unwrap();
        assert!(remove(&model, found, &mut removed()));
        assert_eq!(put(&model, 3).0, 1);
        assert_eq!(reader.join().unwrap(), Some(destination(1)));
        assert_eq!(model.count(1), 1);
    });
}

#[test]
fn an_entry_is_removed_once() {
    explore(|| {
        let model = Model::new();
        model.put(1, 0, 1, 0);
        let other = model.clone();
        let take = |model: &Model| {
            find(model, &key(1), PLACE).is_some_and(|found| remove(model, found, &mut removed()))
        };
        let first = thread::spawn(move || take(&other));
        let second = find(&model, &key(1), PLACE).is_some_and(|found| discard(&model, found));
        assert!(first.join().unwrap() ^ second);
        assert_eq!(model.count(1), 0);
    });
}

#[test]
fn a_connection_is_established_or_replaced_never_both() {
    explore(|| {
        let model = Model::new();
        crowd(&model, 2, 4);
        let weak = model.put(0, 2, 1, Word::WEAK);
        let other = model.clone();
        let writer = thread::spawn(move || put(&other, 2));
        let established = weak.word.with_state(1).without(Word::WEAK);
        let stepped = weak.entry.swap_word(weak.word.0, established.0);
        let (inserted, replaced) = writer.join().unwrap();
        // Established in time, it stays, and the other finds a place in the overflow buckets.
        assert!(inserted == 1 || stepped);
        assert_eq!(replaced, (!stepped).then_some(key(1)));
        assert_eq!((model.count(1), model.count(2)), (usize::from(stepped), inserted));
        if stepped {
            assert_eq!(weak.entry.word(), established.0, "the step is not lost");
        }
    });
}
