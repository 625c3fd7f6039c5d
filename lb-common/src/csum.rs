//! Internet checksums by incremental update (RFC 1624, equation 3).
//!
//! Words are taken as they lie in memory: the ones' complement sum does not depend on byte order
//! (RFC 1071 section 2 B).

/// The difference between an old and a new version of some bytes, as a ones' complement sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChecksumUpdate(u64);

impl ChecksumUpdate {
    /// Replaces a 16-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Replaces a 32-bit word that starts at an even offset.
    #[inline(always)]
    #[must_use]
    pub const fn double(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// Replaces a 64-bit word that starts at an even offset.
    #[inline(always)]
    #[must_use]
    pub const fn quad(self, old: u64, new: u64) -> Self {
        self.double(old as u32, new as u32).double((old >> 32) as u32, (new >> 32) as u32)
    }

    /// Both differences.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The same difference in fewer bits: several fields take it in, and each then folds less.
    #[inline(always)]
    #[must_use]
    pub const fn settled(self) -> Self {
        let s = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        Self((s & 0xffff) + (s >> 16))
    }

    /// The checksum field as it is after the update.
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, field: u16) -> u16 {
        !fold(self.0 + (!field) as u64)
    }

    /// The same after [`ChecksumUpdate::settled`] and at most one [`ChecksumUpdate::word`]: below 2^19 even then.
    #[inline(always)]
    #[must_use]
    pub const fn apply_settled(self, field: u16) -> u16 {
        let s = self.0 as u32 + (!field) as u32;
        let s = (s & 0xffff) + (s >> 16);
        !((s & 0xffff) + (s >> 16)) as u16
    }
}

/// The checksum field of an IPv4 header whose time to live fell by one: what [`ChecksumUpdate::word`] makes of
/// that word, whose low byte it is as the bytes lie, in fewer steps.
#[inline(always)]
#[must_use]
pub const fn aged(field: u16) -> u16 {
    let sum = u16::from_le(field) as u32 + 1;
    let sum = if sum >= 0xffff { sum + 1 } else { sum };
    (sum as u16).to_le()
}

/// Folds a sum of 16-bit (or wider) words to 16 bits.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let s = (sum & 0xffff_ffff) + (sum >> 32);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    let s = (s & 0xffff) + (s >> 16);
    s as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_update_does_what_the_update_does() {
        let words = [0_u64, 1, 0xffff, 0x1_0000, 0xffff_ffff, 0x8000_0000, 0xffff_0000_ffff_ffff, u64::MAX];
        for old in words {
            for new in words {
                let update = ChecksumUpdate::default().quad(old, new).quad(new ^ old, old);
                for field in [0, 1, 0x7fff, 0xfffe, 0xffff] {
                    assert_eq!(update.settled().apply_settled(field), update.apply(field));
                    let (a, b) = (old as u16, !new as u16);
                    assert_eq!(
                        update.settled().word(a, b).apply_settled(field),
                        update.word(a, b).apply(field)
                    );
                }
            }
        }
    }

    #[test]
    fn ageing_is_the_update_of_the_word_for_every_field() {
        for (ttl, protocol) in [(2, 6), (64, 17), (255, 0), (2, 255)] {
            let (old, new) = (u16::from_ne_bytes([ttl, protocol]), u16::from_ne_bytes([ttl - 1, protocol]));
            for field in 0..=u16::MAX {
                assert_eq!(
                    aged(field),
                    ChecksumUpdate::default().word(old, new).apply(field),
                    "{field:#06x}"
                );
            }
        }
    }
}
