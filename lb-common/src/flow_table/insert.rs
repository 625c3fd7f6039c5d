//! Insertion: which slot of a key's buckets is taken, and what is replaced (architecture decision 2).

use super::{AHEAD, Body, Entry, Found, Place, Removed, Table, Word, below, discard, gate, is_there, take};
use crate::abi::WAYS;
use crate::abi::connection_flags::TEMPLATE;

/// How an insertion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// The entry is in.
    Inserted {
        /// Its word.
        word: Word,
        /// Its slot index in the table.
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
/// The caller looked the key up before. Three steps, each by way of the [`Table`], because all in one would not fit
/// BPF's stack.
#[inline(always)]
pub fn insert<T: Table>(
    table: &T,
    body: &Body<<T::Entry as Entry>::Key>,
    state: u8,
    bits: u32,
    room: &mut Room<<T::Entry as Entry>::Key>,
) -> Insertion {
    room.replaced = false;
    room.word = Word::live(0, state, bits);
    room.best = table.pick(&room.place, body.last_seen);
    if room.best >> RANK_SHIFT >= TAKEN {
        return Insertion::Full;
    }
    if table.settle(body, room) == 0 {
        return Insertion::Lost;
    }
    // Where someone took our entry meanwhile, it is off the counts already, and so must come onto them.
    if table.twins(room, &body.key) != 0 && withdraw(table, room) {
        return Insertion::Lost;
    }
    Insertion::Inserted { word: room.word, slot: room.slot }
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
    /// The slot that is best taken.
    pub best: Score,
    /// The word of the entry; whole once it is in.
    pub word: Word,
    /// Its slot, once it is in.
    pub slot: u32,
    /// For [`crate::abi::through`].
    pub cell: u64,
}

/// The slot of a place that is best taken: [`insert`]'s first step.
#[inline(always)]
pub fn pick<T: Table>(table: &T, place: &Place, now: u32) -> Score {
    // Nearly always the first way is free, which is the best score there is.
    if table.bucket(place.home).is_some_and(|home| Word(home.way(place.start).word()).is_free()) {
        return 0;
    }
    let mut best = NOTHING;
    let mut n = 0;
    while n < crate::abi::ways() {
        // One that is free or over is good enough; and for the overflow buckets to be looked at, all must stay.
        if best >> RANK_SHIFT < (if n == OVERFLOW { TAKEN } else { WEAK }) {
            break;
        }
        let Some(base) = table.bucket(place.bucket(n)) else { return NOTHING };
        best = lesser(best, score(base, place.start, now) | u64::from(n) << BUCKET_SHIFT);
        n += 1;
    }
    best
}

/// Claims the slot that was picked, writes the entry and publishes it: [`insert`]'s second step; 0 where another CPU
/// was faster, and the client's next packet finds its own slot.
#[inline(always)]
pub fn settle<T: Table>(
    table: &T,
    body: &Body<<T::Entry as Entry>::Key>,
    room: &mut Room<<T::Entry as Entry>::Key>,
) -> u32 {
    // By way of memory: the verifier then follows one path from here, not one for each way.
    let best = crate::abi::through(&mut room.cell, room.best);
    // 0 home, 1 partner, 2 and 3 overflow buckets.
    let which = best >> BUCKET_SHIFT & 3;
    let bucket = crate::abi::through(&mut room.cell, u64::from(room.place.bucket(which as u32))) as u32;
    let way = room.place.start.wrapping_add(best as u32) & (WAYS - 1);
    let Some(base) = table.bucket(bucket) else { return 0 };
    let entry = base.way(way);
    let old = Word(entry.word());
    if old.is_free() {
        if !entry.swap_word(old.0, old.next(Word::CLAIMED)) {
            return 0;
        }
    } else {
        // Judged once more under the word that is swapped: it may have been established meanwhile.
        if rank(entry, old, body.last_seen).0 == TAKEN
            || !take(table, entry, old, Word::CLAIMED, &mut room.removed)
        {
            return 0;
        }
        room.replaced = true;
    }
    let displaced = below(0, which);
    let bits = room.word.0 | (Word::DISPLACED * displaced as u32) | (Word::OVERFLOWED * (which >> 1) as u32);
    let word = Word(bits | u32::from(old.generation().wrapping_add(1)) << 16);
    entry.write(body);
    if displaced != 0
        && let Some(home) = table.bucket(room.place.home)
    {
        home.add_gate(gate::one(word));
    }
    // By a swap, though nobody else writes a claimed slot: it is a full barrier between the publishing and the
    // look for a twin, which a store is not. Of two that publish one key at once, one at least sees the other.
    entry.swap_word(old.next(Word::CLAIMED), word.0);
    room.word = word;
    room.slot = bucket * WAYS + way;
    1
}

/// In how many slots of its place but `room.slot` the key is live: [`insert`]'s third step.
#[inline(always)]
pub fn twins<T: Table>(
    table: &T,
    room: &Room<<T::Entry as Entry>::Key>,
    key: &<T::Entry as Entry>::Key,
) -> u64 {
    let Some(home) = table.bucket(room.place.home) else { return 0 };
    let gate = home.gate();
    let mut count = twins_in(home, room.place.home, key, room.slot);
    if gate & (gate::PARTNER | gate::OVERFLOW) == 0 {
        return count;
    }
    let mut n = 1;
    while n < crate::abi::ways() {
        let bucket = room.place.bucket(n);
        if gate & elsewhere(n) != 0
            && let Some(base) = table.bucket(bucket)
        {
            count += twins_in(base, bucket, key, room.slot);
        }
        n += 1;
    }
    count
}

/// The part of the gate that says whether the `n`-th bucket of a place is to be looked at.
#[inline(always)]
const fn elsewhere(n: u32) -> u32 {
    if n == 1 { gate::PARTNER } else { gate::OVERFLOW }
}

/// The same in one bucket; without branches, as in [`rank`].
#[inline(always)]
fn twins_in<E: Entry>(base: E, bucket: u32, key: &E::Key, ours: u32) -> u64 {
    let mut count = 0;
    let mut i = 0;
    while i < crate::abi::ways() {
        let other = below(0, u64::from((bucket * WAYS + i) ^ ours));
        count += is_there(base.way(i), key) & other;
        i += 1;
    }
    count
}

/// Takes the entry just made away again; `false` where someone else did, or stepped its state: under no other word than
/// its first, because counts speak of that one.
#[inline(always)]
fn withdraw<T: Table>(table: &T, room: &Room<<T::Entry as Entry>::Key>) -> bool {
    let Some(base) = table.bucket(room.slot / WAYS) else { return false };
    discard(table, Found { entry: base.way(room.slot & (WAYS - 1)), word: room.word })
}
