//! Insertion: which slot of a key's buckets is taken, and what is replaced (architecture decision 2).

use super::{AHEAD, Body, Entry, Found, Place, Removed, Table, Word, discard, gate, mismatch, take};
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
type Score = u64;

/// Rank of a weak entry. 0 is a free slot, 1 an entry whose time is over.
const WEAK: u64 = 2;
/// Rank of an entry that must stay.
const TAKEN: u64 = 3;
const RANK_SHIFT: u32 = 40;
/// Where a score says in which of the buckets the slot is ([`Place::bucket`]), above the two bits of the look.
const BUCKET_SHIFT: u32 = 2;
/// The first overflow bucket.
const OVERFLOW: u32 = 2;

/// 1 where `a < b`, both below 2^63, without a branch.
#[inline(always)]
const fn below(a: u64, b: u64) -> u64 {
    a.wrapping_sub(b) >> 63
}

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

/// The best slot of a bucket whose lookups start at way `start`. Of free slots, the first that a lookup comes to: it
/// then reads one cache line, and its branches are foreseen.
#[inline(always)]
fn score<E: Entry>(base: E, start: u32, now: u32) -> Score {
    let mut best = Score::MAX;
    let mut i = 0;
    while i < crate::abi::ways() {
        let entry = base.way(start.wrapping_add(i));
        let (rank, age) = rank(entry, Word(entry.word()), now);
        // Nothing tells free slots apart but their place.
        let youth = u64::from(!age) * below(0, rank);
        let score = rank << RANK_SHIFT | youth << 8 | u64::from(i);
        if score < best {
            best = score;
        }
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
        let other = score(partner, place.start, now);
        if other < best {
            best = other | 1 << BUCKET_SHIFT;
        }
    }
    if best >> RANK_SHIFT >= TAKEN {
        let mut n = OVERFLOW;
        while n < crate::abi::ways() && best >> RANK_SHIFT >= WEAK {
            let Some(overflow) = table.bucket(place.bucket(n)) else { return Insertion::Full };
            let other = score(overflow, place.start, now) | u64::from(n) << BUCKET_SHIFT;
            if other < best {
                best = other;
            }
            n += 1;
        }
    }
    // By way of memory: the verifier then follows one path from here, not one for each way.
    let best = crate::abi::through(&mut room.cell, best);
    if best >> RANK_SHIFT >= TAKEN {
        return Insertion::Full;
    }
    let way = place.start.wrapping_add(best as u32) & (WAYS - 1);
    let which = (best >> BUCKET_SHIFT) as u32 & 3;
    let bucket = place.bucket(which);
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
    let bits = match which {
        0 => bits,
        1 => bits | Word::DISPLACED,
        _ => bits | Word::DISPLACED | Word::OVERFLOWED,
    };
    let word = Word::live(old.generation().wrapping_add(1), state, bits);
    entry.write(body);
    if which != 0 {
        home.add_gate(gate::one(word));
    }
    // By a swap, though nobody else writes a claimed slot: it is a full barrier between the publishing and the
    // look for a twin, which a store is not. Of two that publish one key at once, one at least sees the other.
    entry.swap_word(old.next(Word::CLAIMED), word.0);
    let found = Found { entry, word };
    let own = |n: u32| if n == which { way } else { WAYS };
    let mut count = twins(home, &body.key, own(0));
    let gate = home.gate();
    if gate & gate::PARTNER != 0
        && let Some(partner) = table.bucket(place.partner)
    {
        count += twins(partner, &body.key, own(1));
    }
    if gate & gate::OVERFLOW != 0 {
        let mut n = OVERFLOW;
        while n < crate::abi::ways() {
            if let Some(overflow) = table.bucket(place.bucket(n)) {
                count += twins(overflow, &body.key, own(n));
            }
            n += 1;
        }
    }
    // Where someone took our entry meanwhile, it is off the counts already, and so must come onto them.
    if crate::abi::through(&mut room.cell, count) != 0 && discard(table, found) {
        return Insertion::Lost;
    }
    Insertion::Inserted { found, slot: bucket * WAYS + way }
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

/// In how many ways but `ours` the key is live.
#[inline(always)]
fn twins<E: Entry>(base: E, key: &E::Key, ours: u32) -> u64 {
    let mut count = 0;
    let mut i = 0;
    while i < crate::abi::ways() {
        let entry = base.way(i);
        if i != ours && mismatch(entry, Word(entry.word()), key) == 0 {
            count += 1;
        }
        i += 1;
    }
    count
}
