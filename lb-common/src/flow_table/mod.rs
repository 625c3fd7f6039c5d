//! The set-associative table's protocol: find, insert, replace, remove (architecture decisions 1 and 2).
//!
//! Generic over [`Entry`], so that the XDP program, the daemon's mapping and a model checker run the
//! same code. The protocol in short: a slot is *claimed* by compare-and-swap on its word, written,
//! then *published* by a swap of the word; removal is one compare-and-swap that frees it and moves its
//! generation on. A reader that found an entry takes what it read only if the word is unchanged
//! afterwards ([`Found::still`]). Two CPUs may publish one key; both look again afterwards, and one that sees
//! the other takes its own away: at most one stays, and the client's next packet finds it or makes it anew.
//!
//! A key has a home bucket, a partner bucket, and two of the few overflow buckets behind them in the same array, which
//! are used where the first two are full of what must stay. The home bucket's [`gate`] says where else its keys are, so
//! that a lookup reads no further than it must.

mod insert;
mod place;
mod word;

#[cfg(test)]
mod tests;

pub use self::insert::{Insertion, Room, Score, insert, pick, settle, twins};
pub use self::place::{Place, elements, gate, mask};
pub use self::word::Word;
use crate::abi::{NONE, WAYS};

/// Everything of an entry but its word. The order and alignment let BPF copy it by double words.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub struct Body<K> {
    /// Key.
    pub key: K,
    /// See [`crate::abi::Connection4::address`].
    pub address: [u8; 16],
    /// See [`crate::abi::Connection4::link`].
    pub link: u64,
    /// Tick of the packet.
    pub last_seen: u32,
    /// Timeout, ticks.
    pub timeout: u32,
    /// Destination id.
    pub destination: u32,
    /// Slot of the other direction, [`NONE`] without.
    pub peer: u32,
    /// See [`crate::abi::Connection4::mark`].
    pub mark: u32,
    /// Its generation.
    pub peer_generation: u16,
    /// [`crate::abi::connection_flags`].
    pub flags: u16,
    /// See [`crate::abi::Connection4::port`].
    pub port: [u8; 2],
}

/// One slot, and by [`Entry::way`] its bucket.
#[expect(missing_docs, reason = "accessors of the fields of Connection4, documented there")]
pub trait Entry: Copy {
    /// Key of its table.
    type Key: Copy + PartialEq;

    /// Way `n` of the bucket whose way 0 this is.
    fn way(&self, n: u32) -> Self;
    fn word(&self) -> u32;
    /// Compare-and-swap of the word, a full barrier; whether it took place.
    fn swap_word(&self, old: u32, new: u32) -> bool;
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
    /// Where else keys of this bucket live, see [`gate`] (way 0 only).
    fn gate(&self) -> u32;
    fn add_gate(&self, delta: u32);
    /// Sets bits of the gate.
    fn mark_gate(&self, bits: u32);
    /// Clears bits of the gate.
    fn unmark_gate(&self, bits: u32);
    fn mark(&self) -> u32;
    /// Adds to `mark`; the value before.
    fn add_mark(&self, delta: u32) -> u32;
    /// Writes the body of a claimed slot.
    fn write(&self, body: &Body<Self::Key>);
}

/// A table of buckets of [`Entry`].
pub trait Table: Sized {
    /// Its entries.
    type Entry: Entry;

    /// Way 0 of a bucket.
    fn bucket(&self, index: u32) -> Option<Self::Entry>;
    /// Where a key lives.
    fn place(&self, key: &<Self::Entry as Entry>::Key) -> Place;
    /// The bucket of [`Table::place`], for a way off the common path.
    fn home(&self, key: &<Self::Entry as Entry>::Key) -> u32;
    /// The slot of a key's live entry in its overflow buckets, [`NONE`] without: [`overflowed`], kept out of the
    /// common path.
    fn overflow(&self, key: &<Self::Entry as Entry>::Key) -> u32;
    /// [`pick`].
    #[inline(always)]
    fn pick(&self, place: &Place, now: u32) -> Score {
        pick(self, place, now)
    }
    /// [`settle`].
    #[inline(always)]
    fn settle(
        &self,
        body: &Body<<Self::Entry as Entry>::Key>,
        room: &mut Room<<Self::Entry as Entry>::Key>,
    ) -> u32 {
        settle(self, body, room)
    }
    /// [`twins`].
    #[inline(always)]
    fn twins(&self, room: &Room<<Self::Entry as Entry>::Key>, key: &<Self::Entry as Entry>::Key) -> u64 {
        twins(self, room, key)
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
        // What was found is live, so this is "live, and of the same generation" in one comparison.
        (self.entry.word() ^ self.word.0) & (Word::STATUS | Word::GENERATION) == 0
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

/// 0 where an entry is live and has the key: one branch for both.
#[inline(always)]
fn mismatch<E: Entry>(entry: E, word: Word, key: &E::Key) -> u64 {
    u64::from(word.0 & Word::STATUS ^ Word::LIVE) | entry.differs(key)
}

/// 1 where `a < b`, both below 2^63, without a branch.
#[inline(always)]
fn below(a: u64, b: u64) -> u64 {
    crate::abi::opaque(a.wrapping_sub(b)) >> 63
}

/// 1 where an entry is live and has the key, else 0: [`mismatch`] without a branch to come.
#[inline(always)]
fn is_there<E: Entry>(entry: E, key: &E::Key) -> u64 {
    let mismatch = mismatch(entry, Word(entry.word()), key);
    below(u64::from((mismatch | mismatch >> 32) as u32), 1)
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
    let gate = home.gate();
    if gate == 0 {
        return None;
    }
    if gate & gate::PARTNER != 0
        && let Some(found) = scan(table.bucket(place.partner)?, key, place.start, ways)
    {
        return Some(found);
    }
    if gate & gate::OVERFLOW == 0 {
        return None;
    }
    let slot = table.overflow(key);
    if slot == NONE {
        return None;
    }
    // Looked at once more: a function of the kernel's programs returns nothing but a number.
    let entry = table.bucket(slot / WAYS)?.way(slot & (WAYS - 1));
    let word = Word(entry.word());
    (mismatch(entry, word, key) == 0).then_some(Found { entry, word })
}

/// The slot of a key's live entry in its overflow buckets, [`NONE`] without.
#[inline(always)]
pub fn overflowed<T: Table>(table: &T, key: &<T::Entry as Entry>::Key, place: Place) -> u32 {
    let [first, second] = place.overflow;
    let (Some(one), Some(two)) = (table.bucket(first), table.bucket(second)) else { return NONE };
    let mut slot = NONE;
    let mut way = 0;
    while way < crate::abi::ways() {
        for (base, bucket) in [(one, first), (two, second)] {
            // Without branches, of which each would double the verifier's paths.
            let taken = (is_there(base.way(way), key) as u32).wrapping_neg();
            slot = slot & !taken | (bucket * WAYS + way) & taken;
        }
        way += 1;
    }
    slot
}

/// Ages above this are ticks ahead of ours: taken on another CPU.
const AHEAD: u64 = 0xffff_0000;

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
        home.add_gate(gate::one(word).wrapping_neg());
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
            home.add_gate(gate::one(word).wrapping_neg());
        }
        return true;
    }
    found.entry.swap_word(word.0, word.next(Word::FREE))
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
