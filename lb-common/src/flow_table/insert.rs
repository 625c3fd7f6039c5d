//! Insertion: which slot of a key's buckets is taken, and what is replaced (architecture decision 2).

use super::{AHEAD, Body, Entry, Found, Place, Removed, Table, Word, below, discard, gate, is_there, take};
use crate::abi::WAYS;
use crate::abi::connection_flags::TEMPLATE;

/// How an insertion ended.
#[derive(Clone, Copy)]
pub enum Insertion<E> {
    /// The entry is in, in `slot`.
    Inserted {
        /// Entry and word.
        found: Found<E>,
        /// Slot index in the table.
        slot: u32,
    },
    /// Another CPU inserted the key first, or took the place.
    Lost,
    /// Home, partner and overflow buckets are full of established connections.
    Full,
}

/// How bad it is to take a slot: the rank first (below), then the youngest, then how late a lookup comes to
/// it, in the low bits. The smallest wins.
pub type Score = u64;

/// Rank of a weak entry. 0 is a free slot, 1 an entry whose time is over.
const WEAK: u64 = 2;
/// Rank of an entry that must stay.
const TAKEN: u64 = 3;
const RANK_SHIFT: u32 = 40;
/// Above every score.
const NOTHING: Score = 1 << 62;
/// Where a score says in which of the buckets the slot is ([`Place::bucket`]), above the two bits of the look.
const BUCKET_SHIFT: u32 = 2;
/// The first overflow bucket.
const OVERFLOW: u32 = 2;

/// Rank and age of a slot. Arithmetic without branches: with branches the verifier would follow a few
/// dozen paths for each of eight slots.
#[inline(always)]
fn rank<E: Entry>(entry: E, word: Word, now: u32) -> (u64, u32) {
    let status = u64::from(word.0 & Word::STATUS);
    let (free, live) = (below(status, 1), status >> 1 & 1);
    let age = now.wrapping_sub(entry.last_seen());
    // A reply entry lives as long as its peer (timeout NONE: never over), a template as long as its
    // connections. A tick taken on another CPU may lie a little ahead of ours.
    let kept =
        (u64::from(entry.flags() & TEMPLATE) / u64::from(TEMPLATE)) & below(0, u64::from(entry.mark()));
    let over =
        below(u64::from(entry.timeout()), u64::from(age)) & below(u64::from(age), AHEAD) & !kept & live;
    let weak = (u64::from(word.0 & Word::WEAK) / u64::from(Word::WEAK)) & live;
    // Such a tick is an age of nothing, not of a month.
    let age = age * (below(u64::from(age), AHEAD) as u32);
    // 3 points for a free slot, 2 for one that is over, 1 for a weak one: the best of what holds.
    let points = free << 1 | free | over << 1 | (weak & !over);
    (TAKEN - (points & 3), age)
}

/// The lesser of two scores, without a branch.
#[inline(always)]
fn lesser(one: Score, other: Score) -> Score {
    one ^ ((one ^ other) & below(other, one).wrapping_neg())
}

/// The best slot of a bucket whose lookups start at way `start`. Of free slots, the first that a lookup comes to: it
/// then reads one cache line, and its branches are foreseen.
#[inline(always)]
fn score<E: Entry>(base: E, start: u32, now: u32) -> Score {
    let mut best = NOTHING;
    let mut i = 0;
    while i < crate::abi::ways() {
        let entry = base.way(start.wrapping_add(i));
        let (rank, age) = rank(entry, Word(entry.word()), now);
        // Nothing tells free slots apart but their place.
        let youth = u64::from(!age) * below(0, rank);
        let score = rank << RANK_SHIFT | youth << 8 | u64::from(i);
        best = lesser(best, score);
        i += 1;
    }
    best
}

/// Inserts a new entry with protocol `state` and word `bits`, replacing an expired or the oldest weak
/// one of its two buckets where no slot is free; the same in its overflow buckets where all of the two must stay. What
/// was replaced goes to `room.removed` (`room.replaced` says so), and the caller takes it off the counts however the
/// insertion ended.
///
/// The caller looked the key up before.
#[inline(always)]
pub fn insert<T: Table>(
    table: &T,
    body: &Body<<T::Entry as Entry>::Key>,
    state: u8,
    bits: u32,
    room: &mut Room<<T::Entry as Entry>::Key>,
) -> Insertion<T::Entry> {
    room.replaced = false;
    let place = room.place;
    let Some(home) = table.bucket(place.home) else { return Insertion::Full };
    let now = body.last_seen;
    // Nearly always the first way is free, which is the best score there is.
    let first_is_free = Word(home.way(place.start).word()).is_free();
    let mut best = if first_is_free { 0 } else { score(home, place.start, now) };
    if best >> RANK_SHIFT >= WEAK && place.partner != place.home {
        let Some(partner) = table.bucket(place.partner) else { return Insertion::Full };
        best = lesser(best, score(partner, place.start, now) | 1 << BUCKET_SHIFT);
    }
    if best >> RANK_SHIFT >= TAKEN {
        best = table.overflow_score(&room.place, now);
    }
    // By way of memory: the verifier then follows one path from here, not one for each way.
    let best = crate::abi::through(&mut room.cell, best);
    if best >> RANK_SHIFT >= TAKEN {
        return Insertion::Full;
    }
    let way = place.start.wrapping_add(best as u32) & (WAYS - 1);
    // 0 home, 1 partner, 2 and 3 overflow buckets; from memory again, so that this is one path as well.
    let which = best >> BUCKET_SHIFT & 3;
    let bucket = crate::abi::through(&mut room.cell, u64::from(place.bucket(which as u32))) as u32;
    let Some(base) = table.bucket(bucket) else { return Insertion::Full };
    let entry = base.way(way);
    let old = Word(entry.word());
    if old.is_free() {
        if !entry.swap_word(old.0, old.next(Word::CLAIMED)) {
            // Another CPU was faster; the client's next packet finds its own slot.
            return Insertion::Lost;
        }
    } else {
        // Judged once more under the word that is swapped: it may have been established meanwhile.
        if rank(entry, old, now).0 == TAKEN || !take(table, entry, old, Word::CLAIMED, &mut room.removed) {
            return Insertion::Lost;
        }
        room.replaced = true;
    }
    let displaced = below(0, which);
    let bits = bits | Word::DISPLACED * displaced as u32 | Word::OVERFLOWED * (which >> 1) as u32;
    let word = Word::live(old.generation().wrapping_add(1), state, bits);
    entry.write(body);
    if displaced != 0 {
        home.add_gate(gate::one(word));
    }
    // By a swap, though nobody else writes a claimed slot: it is a full barrier between the publishing and the
    // look for a twin, which a store is not. Of two that publish one key at once, one at least sees the other.
    entry.swap_word(old.next(Word::CLAIMED), word.0);
    let found = Found { entry, word };
    let slot = bucket * WAYS + way;
    let count = table.twins(&room.place, &body.key, slot);
    // Where someone took our entry meanwhile, it is off the counts already, and so must come onto them.
    if crate::abi::through(&mut room.cell, count) != 0 && discard(table, found) {
        return Insertion::Lost;
    }
    Insertion::Inserted { found, slot }
}

/// Memory for [`insert`], which is not to be BPF stack.
#[derive(Debug, Clone, Copy)]
pub struct Room<K> {
    /// Where the key lives; filled in by the caller.
    pub place: Place,
    /// What was replaced.
    pub removed: Removed<K>,
    /// Whether something was.
    pub replaced: bool,
    /// For [`crate::abi::through`].
    pub cell: u64,
}

/// The best slot of a place's overflow buckets; the first of them is enough where it has one that is free or over.
#[inline(always)]
pub fn overflow_score<T: Table>(table: &T, place: &Place, now: u32) -> Score {
    let mut best = NOTHING;
    let mut n = OVERFLOW;
    while n < crate::abi::ways() && best >> RANK_SHIFT >= WEAK {
        let Some(base) = table.bucket(place.bucket(n)) else { return NOTHING };
        best = lesser(best, score(base, place.start, now) | u64::from(n) << BUCKET_SHIFT);
        n += 1;
    }
    best
}

/// In how many slots of its place but `ours` the key is live.
#[inline(always)]
pub fn twins<T: Table>(table: &T, place: &Place, key: &<T::Entry as Entry>::Key, ours: u32) -> u64 {
    let Some(home) = table.bucket(place.home) else { return 0 };
    let mut count = twins_in(home, place.home, key, ours);
    let gate = home.gate();
    if gate & gate::PARTNER != 0
        && let Some(partner) = table.bucket(place.partner)
    {
        count += twins_in(partner, place.partner, key, ours);
    }
    if gate & gate::OVERFLOW != 0 {
        let mut n = OVERFLOW;
        while n < crate::abi::ways() {
            let bucket = place.bucket(n);
            if let Some(base) = table.bucket(bucket) {
                count += twins_in(base, bucket, key, ours);
            }
            n += 1;
        }
    }
    count
}

/// The same in one bucket; without branches, as in [`rank`].
#[inline(always)]
fn twins_in<E: Entry>(base: E, bucket: u32, key: &E::Key, ours: u32) -> u64 {
    let mut count = 0;
    let mut i = 0;
    while i < crate::abi::ways() {
        let entry = base.way(i);
        let other = below(0, u64::from((bucket * WAYS + i) ^ ours));
        count += is_there(entry, key) & other;
        i += 1;
    }
    count
}
