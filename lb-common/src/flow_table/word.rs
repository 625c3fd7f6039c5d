//! The word that says whose a slot is.

/// The state word of an entry.
///
/// Bits 0 and 1 status, 2 to 5 protocol state, 6 displaced, 7 weak, 8 in-only, 9 in the overflow region, 16 to 31
/// generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(pub u32);

impl Word {
    pub(super) const STATUS: u32 = 3;
    pub(super) const FREE: u32 = 0;
    pub(super) const CLAIMED: u32 = 1;
    pub(super) const LIVE: u32 = 2;
    pub(super) const GENERATION: u32 = 0xffff_0000;
    const STATE_SHIFT: u32 = 2;
    /// The entry does not live in the home bucket of its key, but in the partner bucket, or with
    /// [`Self::OVERFLOWED`] in an overflow bucket: the gate of the home bucket counts it.
    pub const DISPLACED: u32 = 1 << 6;
    /// The entry may be replaced: half-open, or one datagram (decision 2).
    pub const WEAK: u32 = 1 << 7;
    /// Replies are not seen (the kernel's NOOUTPUT): DR, tunnel, Local.
    pub const IN_ONLY: u32 = 1 << 8;
    /// The entry lives in an overflow bucket of its key; only together with [`Self::DISPLACED`].
    pub const OVERFLOWED: u32 = 1 << 9;

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
    pub(super) const fn next(self, status: u32) -> u32 {
        (self.generation().wrapping_add(1) as u32) << 16 | status
    }
}
