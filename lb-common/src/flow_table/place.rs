//! Where a key may live: the layout of a table's array, and the word that says where to look.
//!
//! `mask` + 1 buckets (a power of two) come first, the overflow buckets behind them in the same array: a sixteenth as
//! many, at least four. A slot's index names it in either.

use crate::abi::WAYS;

/// Where a key lives: two buckets, two overflow buckets, and the way its scan starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its bucket.
    pub home: u32,
    /// The partner bucket.
    pub partner: u32,
    /// First way looked at.
    pub start: u32,
    /// Its two overflow buckets.
    pub overflow: [u32; 2],
}

/// 2^64 over the golden ratio: an odd number with no pattern in its bits.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl Place {
    /// The place of a hash in a table of `mask` + 1 buckets before the overflow buckets.
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, mask: u32) -> Self {
        let home = (hash >> 32) as u32 & mask;
        // The partner differs in bits that the home bucket does not depend on; never the bucket itself
        // where there are two.
        let partner = home ^ ((hash as u32 | 1) & mask);
        // Keys that share both buckets are to part here: each bit of the hash goes into the product's upper half.
        let mixed = hash.rotate_left(23).wrapping_mul(MIX);
        let last = overflow_mask(mask);
        let first = (mixed >> 40) as u32 & last;
        let second = first ^ (((mixed >> 16) as u32 | 1) & last);
        let overflow = [mask + 1 + first, mask + 1 + second];
        Self { home, partner, start: (hash >> 30) as u32 & (WAYS - 1), overflow }
    }

    /// The bucket that the `n`-th look for a slot is at: home, partner, overflow buckets.
    #[inline(always)]
    pub(super) const fn bucket(&self, n: u32) -> u32 {
        let [first, second] = self.overflow;
        match n {
            0 => self.home,
            1 => self.partner,
            2 => first,
            _ => second,
        }
    }
}

/// Overflow buckets less one, behind `mask` + 1 buckets.
#[inline(always)]
const fn overflow_mask(mask: u32) -> u32 {
    mask >> 4 | 3
}

/// Elements of the array of a table with `buckets` (a power of two, at most 2^28) buckets before the overflow buckets.
#[must_use]
pub const fn elements(buckets: u32) -> u32 {
    buckets.saturating_add(overflow_mask(buckets.saturating_sub(1))).saturating_add(1)
}

/// The inverse of [`elements`], as the mask of bucket numbers; 0 where no table has so many elements.
#[must_use]
pub const fn mask(elements_there: u32) -> u32 {
    let mut bits = 0;
    while bits <= 28 {
        if elements(1 << bits) == elements_there {
            return (1 << bits) - 1;
        }
        bits += 1;
    }
    0
}

/// The gate of a bucket: a word in its way 0 that says where else its keys are. 0: nowhere.
pub mod gate {
    use super::super::Word;

    /// How many of its keys live in their partner bucket. A bucket has a handful of keys: the hash's seed is secret.
    pub const PARTNER: u32 = 0xffff;
    /// How many live in an overflow bucket.
    pub const OVERFLOW: u32 = 0x7fff_0000;
    /// Connections of this bucket went on without an entry, because it was full
    /// ([`crate::stateless`]).
    pub const STATELESS: u32 = 1 << 31;

    /// What a displaced entry with such a word adds to the gate of its home bucket.
    #[inline(always)]
    #[must_use]
    pub const fn one(word: Word) -> u32 {
        // Without a branch: 1, or 2^16 with the bit.
        1 << ((word.0 & Word::OVERFLOWED) / Word::OVERFLOWED * 16)
    }
}
