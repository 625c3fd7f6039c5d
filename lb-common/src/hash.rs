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

/// SipHash-1-3 of one 32-bit word, both halves of the key `key`, cut to 32 bits: what the kernel's `hsiphash` of such a
/// word is on 64-bit machines (Aumasson and Bernstein, SipHash: a fast short-input PRF; the word is the whole input).
#[inline(always)]
#[must_use]
const fn sip13(word: u32, key: u64) -> u32 {
    /// The initial state, before the key: the ASCII bytes of "somepseudorandomlygeneratedbytes".
    const INITIAL: [u64; 4] =
        [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
    let [a, b, c, d] = INITIAL;
    let (mut a, mut b, mut c, mut d) = (a ^ key, b ^ key, c ^ key, d ^ key);
    // The last block: the length, 4, in the highest byte.
    let block = 4 << 56 | word as u64;
    d ^= block;
    let mut rounds = 0;
    while rounds < 4 {
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        if rounds == 0 {
            // One round a block, three to finish.
            a ^= block;
            c ^= 0xff;
        }
        rounds += 1;
    }
    (a ^ b ^ c ^ d) as u32
}

/// First hash of mh (ip_vs_mh.c: hash1): buckets of clients, and where a destination begins to take its own. `v` is the
/// address folded to 32 bits in host order plus the port (0 without mh-port) plus the offset of the fallback walk,
/// wrapping.
#[inline(always)]
#[must_use]
pub const fn mh_first(v: u32) -> u32 {
    sip13(v, 2_654_435_761)
}

/// Second hash of mh (ip_vs_mh.c: hash2): the step by which a destination takes its buckets.
#[inline(always)]
#[must_use]
pub const fn mh_second(v: u32) -> u32 {
    sip13(v, 2_654_446_892)
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
