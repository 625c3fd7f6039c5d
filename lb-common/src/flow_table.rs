//! The set-associative table's protocol: find, insert, replace, remove (architecture decisions 1 and 2).
//!
//! Generic over [`Entry`], so that the XDP program, the daemon's mapping and a model checker run the
//! same code. The protocol in short: a slot is *claimed* by compare-and-swap on its word, written,
//! then *published* by storing the word; removal is one compare-and-swap that frees it and moves its
//! generation on. A reader that found an entry takes what it read only if the word is unchanged
//! afterwards ([`Found::still`]). Two CPUs may publish one key; both look again afterwards and the
//! one in the lower place stays.

use crate::abi::connection_flags::TEMPLATE;
use crate::abi::{NONE, WAYS};

/// The state word of an entry.
///
/// Bits 0 and 1 status, 2 to 5 protocol state, 6 displaced, 7 weak, 8 in-only, 16 to 31 generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(pub u32);

impl Word {
    const STATUS: u32 = 3;
    const FREE: u32 = 0;
    const CLAIMED: u32 = 1;
    const LIVE: u32 = 2;
    const STATE_SHIFT: u32 = 2;
    /// The entry lives in the partner bucket of its key's.
    pub const DISPLACED: u32 = 1 << 6;
    /// The entry may be replaced: half-open, or one datagram (decision 2).
    pub const WEAK: u32 = 1 << 7;
    /// Replies are not seen (the kernel's NOOUTPUT): DR, tunnel, Local.
    pub const IN_ONLY: u32 = 1 << 8;

    /// A live word.
    #[inline(always)]
    #[must_use]
    pub const fn live(generation: u16, state: u8, bits: u32) -> Self {
        Self((generation as u32) << 16 | bits | ((state as u32) & 15) << Self::STATE_SHIFT | Self::LIVE)
    }

    /// Whether a reader may take the entry.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(self) -> bool {
        self.0 & Self::STATUS == Self::LIVE
    }

    /// Whether the slot may be claimed.
    #[inline(always)]
    #[must_use]
    pub const fn is_free(self) -> bool {
        self.0 & Self::STATUS == Self::FREE
    }

    /// Protocol state.
    #[inline(always)]
    #[must_use]
    pub const fn state(self) -> u8 {
        (self.0 >> Self::STATE_SHIFT) as u8 & 15
    }

    /// Generation: changes each time the slot changes owner.
    #[inline(always)]
    #[must_use]
    pub const fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Whether all of `bits` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }

    /// The same word with another protocol state.
    #[inline(always)]
    #[must_use]
    pub const fn with_state(self, state: u8) -> Self {
        Self(self.0 & !(15 << Self::STATE_SHIFT) | ((state as u32) & 15) << Self::STATE_SHIFT)
    }

    /// The same word with `bits` cleared.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, bits: u32) -> Self {
        Self(self.0 & !bits)
    }

    #[inline(always)]
    const fn next(self, status: u32) -> u32 {
        (self.generation().wrapping_add(1) as u32) << 16 | status
    }
}

/// Everything of an entry but its word.
#[derive(Debug, Clone, Copy)]
pub struct Body<K> {
    /// Key.
    pub key: K,
    /// Tick of the packet.
    pub last_seen: u32,
    /// Timeout, ticks.
    pub timeout: u32,
    /// Destination id.
    pub destination: u32,
    /// Slot of the other direction, [`NONE`] without.
    pub peer: u32,
    /// Its generation.
    pub peer_generation: u16,
    /// [`crate::abi::connection_flags`].
    pub flags: u16,
    /// See [`crate::abi::Connection4::address`].
    pub address: [u8; 16],
    /// See [`crate::abi::Connection4::port`].
    pub port: [u8; 2],
    /// See [`crate::abi::Connection4::link`].
    pub link: u64,
    /// See [`crate::abi::Connection4::mark`].
    pub mark: u32,
}

/// One slot, and by [`Entry::way`] its bucket.
#[expect(missing_docs, reason = "accessors of the fields of Connection4, documented there")]
pub trait Entry: Copy {
    /// Key of its table.
    type Key: Copy + PartialEq;

    /// Way `n` of the bucket whose way 0 this is.
    fn way(&self, n: u32) -> Self;
    fn word(&self) -> u32;
    /// Compare-and-swap of the word; whether it took place.
    fn swap_word(&self, old: u32, new: u32) -> bool;
    /// Stores the word of a claimed slot, after everything else was written.
    fn publish(&self, word: u32);
    fn key(&self) -> Self::Key;
    /// 0 where the key is `key`, compared word by word in place.
    fn differs(&self, key: &Self::Key) -> u64;
    fn last_seen(&self) -> u32;
    fn set_last_seen(&self, tick: u32);
    fn timeout(&self) -> u32;
    fn set_timeout(&self, ticks: u32);
    fn destination(&self) -> u32;
    fn peer(&self) -> u32;
    fn peer_generation(&self) -> u16;
    fn set_peer(&self, slot: u32, generation: u16);
    fn flags(&self) -> u16;
    fn set_flags(&self, flags: u16);
    fn address(&self) -> [u8; 16];
    fn port(&self) -> [u8; 2];
    fn route_generation(&self) -> u16;
    fn link(&self) -> u64;
    fn set_link(&self, link: u64, route_generation: u16);
    /// Keys of this bucket that live in their partner (way 0 only).
    fn gate(&self) -> u32;
    fn add_gate(&self, delta: u32);
    fn mark(&self) -> u32;
    /// Adds to `mark`; the value before.
    fn add_mark(&self, delta: u32) -> u32;
    /// Writes the body of a claimed slot.
    fn write(&self, body: &Body<Self::Key>);
}

/// A table of buckets of [`Entry`].
pub trait Table {
    /// Its entries.
    type Entry: Entry;

    /// Way 0 of a bucket.
    fn bucket(&self, index: u32) -> Option<Self::Entry>;
    /// Where a key lives.
    fn place(&self, key: &<Self::Entry as Entry>::Key) -> Place;
    /// The bucket of [`Table::place`], for a way off the common path.
    fn home(&self, key: &<Self::Entry as Entry>::Key) -> u32;
}

/// Where a key lives: two buckets and the way its scan starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its bucket.
    pub home: u32,
    /// The partner bucket.
    pub partner: u32,
    /// First way looked at.
    pub start: u32,
}

impl Place {
    /// The place of a hash in a table of `mask` + 1 buckets.
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, mask: u32) -> Self {
        let home = (hash >> 32) as u32 & mask;
        // The partner differs in bits that the home bucket does not depend on; never the bucket itself
        // where there are two.
        let partner = home ^ ((hash as u32 | 1) & mask);
        Self { home, partner, start: (hash >> 30) as u32 & (WAYS - 1) }
    }
}

/// An entry that was found, with the word under which it was.
#[derive(Clone, Copy)]
pub struct Found<E> {
    /// The entry.
    pub entry: E,
    /// Its word.
    pub word: Word,
}

impl<E: Entry> Found<E> {
    /// Whether what was read since [`find`] belongs to the entry that was found: same owner, still live.
    #[inline(always)]
    #[must_use]
    pub fn still(&self) -> bool {
        let now = Word(self.entry.word());
        now.is_live() && now.generation() == self.word.generation()
    }
}

/// What an entry was, for taking it off the counts of its destination.
#[derive(Debug, Clone, Copy)]
pub struct Removed<K> {
    /// Its word.
    pub word: Word,
    /// Its key.
    pub key: K,
    /// Its destination.
    pub destination: u32,
    /// Its flags.
    pub flags: u16,
    /// Slot of the other direction.
    pub peer: u32,
    /// Generation of the other direction.
    pub peer_generation: u16,
    /// Its link (template).
    pub link: u64,
}

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
    /// Both buckets are full of established connections.
    Full,
}

/// 0 where an entry is live and has the key: one branch for both.
#[inline(always)]
fn mismatch<E: Entry>(entry: E, word: Word, key: &E::Key) -> u64 {
    u64::from(word.0 & Word::STATUS ^ Word::LIVE) | entry.differs(key)
}

#[inline(always)]
fn scan<E: Entry>(base: E, key: &E::Key, start: u32, ways: u32) -> Option<Found<E>> {
    let mut i = 0;
    while i < ways {
        let entry = base.way(start.wrapping_add(i));
        let word = Word(entry.word());
        if mismatch(entry, word, key) == 0 {
            return Some(Found { entry, word });
        }
        i += 1;
    }
    None
}

/// Looks a key up.
#[inline(always)]
pub fn find<T: Table>(table: &T, key: &<T::Entry as Entry>::Key, place: Place) -> Option<Found<T::Entry>> {
    look(table, key, place, WAYS)
}

/// As [`find`], for a way off the common path: slower, with less of the BPF stack.
#[inline(always)]
pub fn seek<T: Table>(table: &T, key: &<T::Entry as Entry>::Key, place: Place) -> Option<Found<T::Entry>> {
    look(table, key, place, crate::abi::ways())
}

#[inline(always)]
fn look<T: Table>(
    table: &T,
    key: &<T::Entry as Entry>::Key,
    place: Place,
    ways: u32,
) -> Option<Found<T::Entry>> {
    let home = table.bucket(place.home)?;
    if let Some(found) = scan(home, key, place.start, ways) {
        return Some(found);
    }
    if home.gate() == 0 {
        return None;
    }
    scan(table.bucket(place.partner)?, key, place.start, ways)
}

/// Whether an entry's time is over.
#[inline(always)]
#[must_use]
pub const fn expired(now: u32, last_seen: u32, timeout: u32) -> bool {
    let age = now.wrapping_sub(last_seen);
    // A tick taken on another CPU may lie a little ahead of ours.
    age > timeout && (age as u64) < AHEAD
}

/// Reads what [`Removed`] needs into `removed`, then frees the slot if its word is still `word`; whether
/// that took place.
#[inline(always)]
fn take<T: Table>(
    table: &T,
    entry: T::Entry,
    word: Word,
    status: u32,
    removed: &mut Removed<<T::Entry as Entry>::Key>,
) -> bool {
    removed.word = word;
    removed.key = entry.key();
    removed.destination = entry.destination();
    removed.flags = entry.flags();
    removed.peer = entry.peer();
    removed.peer_generation = entry.peer_generation();
    removed.link = entry.link();
    if !entry.swap_word(word.0, word.next(status)) {
        return false;
    }
    if word.has(Word::DISPLACED)
        && let Some(home) = table.bucket(table.home(&removed.key))
    {
        home.add_gate(u32::MAX);
    }
    true
}

/// Removes a live entry into `removed`; `false` when it changed meanwhile. Whoever gets `true` takes it
/// off the counts.
#[inline(always)]
pub fn remove<T: Table>(
    table: &T,
    found: Found<T::Entry>,
    removed: &mut Removed<<T::Entry as Entry>::Key>,
) -> bool {
    take(table, found.entry, found.word, Word::FREE, removed)
}

/// Removes a live entry that is in no count (a reply entry, one that lost).
#[inline(always)]
pub fn discard<T: Table>(table: &T, found: Found<T::Entry>) -> bool {
    let word = found.word;
    if word.has(Word::DISPLACED) {
        let key = found.entry.key();
        if !found.entry.swap_word(word.0, word.next(Word::FREE)) {
            return false;
        }
        if let Some(home) = table.bucket(table.home(&key)) {
            home.add_gate(u32::MAX);
        }
        return true;
    }
    found.entry.swap_word(word.0, word.next(Word::FREE))
}

/// How bad it is to take a slot: the rank first (below), then the youngest, then the way in the low bits.
/// The smallest wins.
type Score = u64;

/// Rank of a weak entry. 0 is a free slot, 1 an entry whose time is over.
const WEAK: u64 = 2;
/// Rank of an entry that must stay.
const TAKEN: u64 = 3;
const RANK_SHIFT: u32 = 40;
/// Bit of a score: the slot is in the partner bucket.
const IN_PARTNER: u64 = 4;

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
    let kept = u64::from(entry.flags() & TEMPLATE) / u64::from(TEMPLATE) & below(0, u64::from(entry.mark()));
    let over =
        below(u64::from(entry.timeout()), u64::from(age)) & below(u64::from(age), AHEAD) & !kept & live;
    let weak = u64::from(word.0 & Word::WEAK) / u64::from(Word::WEAK) & live;
    // 3 points for a free slot, 2 for one that is over, 1 for a weak one: the best of what holds.
    let points = free << 1 | free | over << 1 | (weak & !over);
    (TAKEN - (points & 3), age)
}

/// Ages above this are ticks ahead of ours.
const AHEAD: u64 = 0xffff_0000;

/// The best slot of a bucket. Not inlined: its registers would be spilled into its caller's frame.
#[inline(never)]
fn score<E: Entry>(base: E, now: u32) -> Score {
    let mut best = Score::MAX;
    let mut i = 0;
    while i < crate::abi::ways() {
        let entry = base.way(i);
        let (rank, age) = rank(entry, Word(entry.word()), now);
        let score = rank << RANK_SHIFT | u64::from(!age) << 8 | u64::from(i);
        if score < best {
            best = score;
        }
        i += 1;
    }
    best
}

/// Inserts a new entry with protocol `state` and word `bits`, replacing an expired or the oldest weak
/// one of its two buckets where no slot is free; what was replaced goes to `room.removed`
/// (`room.replaced` says so), and the caller takes it off the counts however the insertion ended.
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
    let mut best = score(home, now);
    if best >> RANK_SHIFT >= WEAK && place.partner != place.home {
        let Some(partner) = table.bucket(place.partner) else { return Insertion::Full };
        let other = score(partner, now);
        if other < best {
            best = other | IN_PARTNER;
        }
    }
    // By way of memory: the verifier then follows one path from here, not one for each way.
    let best = crate::abi::through(&mut room.cell, best);
    if best >> RANK_SHIFT >= TAKEN {
        return Insertion::Full;
    }
    let way = best as u32 & (WAYS - 1);
    let displaced = best & IN_PARTNER != 0;
    let bucket = if displaced { place.partner } else { place.home };
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
    let bits = if displaced { bits | Word::DISPLACED } else { bits };
    let word = Word::live(old.generation().wrapping_add(1), state, bits);
    entry.write(body);
    if displaced {
        home.add_gate(1);
    }
    entry.publish(word.0);
    let found = Found { entry, word };
    let mut first = first_way(home, &body.key);
    if displaced && first == WAYS {
        first = first_way(base, &body.key) | WAYS;
    }
    let ours = if displaced { way | WAYS } else { way };
    if crate::abi::through(&mut room.cell, u64::from(first)) < u64::from(ours) {
        discard(table, found);
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

/// The lowest way in which the key is live, [`WAYS`] without.
#[inline(always)]
fn first_way<E: Entry>(base: E, key: &E::Key) -> u32 {
    let mut i = 0;
    while i < crate::abi::ways() {
        let entry = base.way(i);
        if mismatch(entry, Word(entry.word()), key) == 0 {
            return i;
        }
        i += 1;
    }
    WAYS
}

/// The entry of a slot index, if it is live and of `generation`.
#[inline(always)]
pub fn at<T: Table>(table: &T, slot: u32, generation: u16) -> Option<Found<T::Entry>> {
    if slot == NONE {
        return None;
    }
    let entry = table.bucket(slot / WAYS)?.way(slot & (WAYS - 1));
    let word = Word(entry.word());
    (word.is_live() && word.generation() == generation).then_some(Found { entry, word })
}
