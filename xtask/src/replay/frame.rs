//! Frames as bytes: which of them may differ from a recorded one, and which checksums must be right instead.
//!
//! A tunnel's checksum in the recording is an artefact of transmit offload (it was left to the NIC): here only its
//! presence is compared, and the value is verified. The source port of GUE depends on a boot secret.

use anyhow::{Context, Result, bail};

const ETHERNET: usize = 14;
const GRE: u8 = 47;
const UDP: u8 = 17;
const GRE_CHECKSUM_PRESENT: u8 = 0x80;
/// Destination port of GUE in the recordings; any port but the inner service's would do.
const GUE_FLAGS_AT: usize = 8;

/// A frame with the bytes blanked that may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Masked {
    bytes: Vec<u8>,
    /// What is wrong with a checksum that is not compared.
    faults: Vec<String>,
}

impl Masked {
    /// Blanks what may differ in `bytes`, after a look at the checksums in it.
    #[must_use]
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let mut masked = Self { faults: Vec::new(), bytes };
        if let Some(outer) = outer(&masked.bytes) {
            match outer.protocol {
                GRE => masked.gre(outer.payload),
                UDP if is_gue(&masked.bytes, &outer) => masked.gue(&outer),
                _ => {}
            }
        }
        masked
    }

    fn gre(&mut self, at: usize) {
        let has_checksum = self.bytes.get(at).is_some_and(|b| b & GRE_CHECKSUM_PRESENT != 0);
        if has_checksum {
            if ones_sum(self.bytes.get(at..).unwrap_or_default(), 0) != 0xffff {
                self.faults.push("the GRE checksum is wrong".into());
            }
            self.blank(at + 4, 2);
        }
    }

    fn gue(&mut self, outer: &Outer) {
        let at = outer.payload;
        let datagram = self.bytes.get(at..).unwrap_or_default();
        if datagram.get(6..8).is_some_and(|sum| sum != [0, 0]) {
            if ones_sum(datagram, outer.pseudo(datagram.len())) != 0xffff {
                self.faults.push("the UDP checksum of GUE is wrong".into());
            }
            self.blank(at + 6, 2);
            self.put(at + 7, 1);
        }
        self.blank(at, 2);
    }

    fn blank(&mut self, at: usize, len: usize) {
        (at..at + len).for_each(|i| self.put(i, 0));
    }

    fn put(&mut self, at: usize, value: u8) {
        if let Some(byte) = self.bytes.get_mut(at) {
            *byte = value;
        }
    }
}

/// The outer IP header of a frame.
struct Outer {
    protocol: u8,
    payload: usize,
    addresses: Vec<u8>,
}

impl Outer {
    /// The sum of the pseudo-header.
    fn pseudo(&self, length: usize) -> u32 {
        let fixed = u32::from(self.protocol) + u32::try_from(length).unwrap_or(0);
        u32::from(ones_sum(&self.addresses, 0)) + fixed
    }
}

fn outer(bytes: &[u8]) -> Option<Outer> {
    let ip = bytes.get(ETHERNET..)?;
    match ip.first()? >> 4 {
        4 => Some(Outer {
            protocol: *ip.get(9)?,
            payload: ETHERNET + usize::from(ip.first()? & 15) * 4,
            addresses: ip.get(12..20)?.to_vec(),
        }),
        6 => {
            Some(Outer { protocol: *ip.get(6)?, payload: ETHERNET + 40, addresses: ip.get(8..40)?.to_vec() })
        }
        _ => None,
    }
}

/// Whether a datagram is GUE: its header is followed by a GUE header of version 0 that names IPv4 or IPv6.
fn is_gue(bytes: &[u8], outer: &Outer) -> bool {
    let Some(gue) = bytes.get(outer.payload + GUE_FLAGS_AT..) else { return false };
    let names_ip = gue.get(1).is_some_and(|p| [4, 41].contains(p));
    let header = 4 + usize::from(gue.first().map_or(0, |b| b & 31)) * 4;
    let inner = gue.get(header).map(|b| b >> 4);
    names_ip && gue.first().is_some_and(|b| b >> 6 == 0) && matches!(inner, Some(4 | 6))
}

/// The folded one's complement sum of big-endian words.
fn ones_sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair.first().copied().unwrap_or(0), low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(u16::MAX)
}

/// Bytes of hexadecimal text.
///
/// # Errors
/// If it is none.
pub(crate) fn from_hex(text: &str) -> Result<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        bail!("no hexadecimal text: {text}");
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16))
        .collect::<Result<_, _>>()
        .context("no hexadecimal text")
}

/// Where two frames differ, in words.
#[must_use]
pub(crate) fn differences(expected: &Masked, got: &Masked) -> Vec<String> {
    let mut found = got.faults.clone();
    if expected.bytes == got.bytes {
        return found;
    }
    if expected.bytes.len() != got.bytes.len() {
        found.push(format!("length: expected {}, got {}", expected.bytes.len(), got.bytes.len()));
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    for (n, (want, have)) in expected.bytes.chunks(16).zip(got.bytes.chunks(16)).enumerate() {
        if want != have {
            found.push(format!("from byte {}: expected {}, got {}", n * 16, hex(want), hex(have)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "020000000011020000000001080045000035e9a440003f11ebc9cb00710ac633640b0fa01f90002199346f7261636c652d7061796c6f61642d30313233343536373839";
    const GRE_WITH_SUM: &str = "020000000011020000000001080045000051000040003f2fe70ac6336401c633640b800008000000000045000035edf240003f114fb9cb00710ac00002010fa00050002120b26f7261636c652d7061796c6f61642d30313233343536373839";
    const GUE_WITH_SUM: &str = "020000000011020000000001080045000055000040003f11e724c6336401c633640bc4ee17c0004154c60004000045000035f4f340003f1148b8cb00710ac00002010fa00050002120b26f7261636c652d7061796c6f61642d30313233343536373839";

    fn masked(hex: &str) -> Masked {
        Masked::of(from_hex(hex).unwrap())
    }

    #[test]
    fn a_plain_frame_is_compared_to_the_byte() {
        assert!(differences(&masked(PLAIN), &masked(PLAIN)).is_empty());
        let other = PLAIN.replace("1f90", "1f91");
        assert_eq!(differences(&masked(PLAIN), &masked(&other)).len(), 1);
        assert!(!differences(&masked(PLAIN), &masked(&PLAIN[..PLAIN.len() - 2])).is_empty());
    }

    #[test]
    fn a_recorded_gre_checksum_is_an_artefact_and_ours_must_be_right() {
        let wrong = differences(&masked(GRE_WITH_SUM), &masked(GRE_WITH_SUM));
        assert_eq!(wrong, ["the GRE checksum is wrong"]);
        let mut bytes = from_hex(GRE_WITH_SUM).unwrap();
        let sum = !ones_sum(&bytes[34..], 0);
        bytes[38..40].copy_from_slice(&sum.to_be_bytes());
        assert!(differences(&masked(GRE_WITH_SUM), &Masked::of(bytes)).is_empty());
    }

    #[test]
    fn gue_may_have_another_source_port_but_no_wrong_or_missing_checksum() {
        let mut bytes = from_hex(GUE_WITH_SUM).unwrap();
        bytes[34..36].copy_from_slice(&[0x80, 0x01]);
        bytes[40..42].copy_from_slice(&[0, 0]);
        let outer = outer(&bytes).unwrap();
        let sum = !ones_sum(&bytes[34..], outer.pseudo(bytes.len() - 34));
        let without = differences(&masked(GUE_WITH_SUM), &Masked::of(bytes.clone()));
        assert!(!without.is_empty(), "a missing checksum went unnoticed");
        bytes[40..42].copy_from_slice(&sum.to_be_bytes());
        assert!(differences(&masked(GUE_WITH_SUM), &Masked::of(bytes)).is_empty());
        assert_eq!(
            differences(&masked(GUE_WITH_SUM), &masked(GUE_WITH_SUM)),
            ["the UDP checksum of GUE is wrong"]
        );
    }
}
