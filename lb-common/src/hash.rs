//! Hashes that the kernel side and user space compute alike.

/// The kernel's 32-bit golden ratio (include/linux/hash.h: GOLDEN_RATIO_32).
const GOLDEN_RATIO_32: u32 = 0x61C8_8647;

/// `hash_32(v, 8)` of the kernel: the top 8 bits of the product.
#[inline(always)]
#[must_use]
pub const fn hash_32_8(v: u32) -> u32 {
    v.wrapping_mul(GOLDEN_RATIO_32) >> 24
}

/// Bucket of the source-hashing scheduler (ip_vs_sh.c: ip_vs_sh_hashkey): address folded to 32 bits in
/// host order, port in host order (0 without sh-port), offset of the fallback walk.
#[inline(always)]
#[must_use]
pub const fn sh_bucket(folded: u32, port: u16, offset: u32) -> u32 {
    offset.wrapping_add(hash_32_8((port as u32).wrapping_add(folded))) & (crate::sched::HASH_SLOTS - 1)
}

/// Bucket of the destination-hashing scheduler (ip_vs_dh.c: ip_vs_dh_hashkey).
#[inline(always)]
#[must_use]
pub const fn dh_bucket(folded: u32) -> u32 {
    hash_32_8(folded) & (crate::sched::HASH_SLOTS - 1)
}

/// An address of the prefilter to its bit: `folded` is the address folded to 32 bits as its bytes lie.
#[inline(always)]
#[must_use]
pub const fn prefilter_bit(folded: u32) -> u32 {
    folded.wrapping_mul(GOLDEN_RATIO_32) >> 16
}

/// Hash of an IPv4 flow, secret multipliers in `seed`.
#[inline(always)]
#[must_use]
pub const fn flow4(addresses: u64, rest: u64, seed: &[u64; 4]) -> u64 {
    let [s0, s1, s2, _] = *seed;
    let h = addresses.wrapping_mul(s0) ^ rest.wrapping_mul(s1).rotate_left(32);
    let h = (h ^ h >> 32).wrapping_mul(s2);
    h ^ h >> 29
}

/// Hash of an IPv6 flow.
#[inline(always)]
#[must_use]
pub const fn flow6(source: [u64; 2], destination: [u64; 2], rest: u64, seed: &[u64; 4]) -> u64 {
    let [s0, s1, s2, s3] = *seed;
    let [a, b] = source;
    let [c, d] = destination;
    let h = a.wrapping_mul(s0) ^ b.wrapping_mul(s1).rotate_left(32);
    let g = c.wrapping_mul(s2) ^ d.wrapping_mul(s3).rotate_left(32);
    let h = (h ^ h >> 32).wrapping_add(g).wrapping_mul(s1) ^ rest.wrapping_mul(s0).rotate_left(32);
    let h = (h ^ h >> 32).wrapping_mul(s2);
    h ^ h >> 29
}
