//! The bitmap that tells at once whether an address concerns the director (architecture decision 7).

use std::net::IpAddr;

use lb_common::abi::PREFILTER_BITS;
use lb_common::family::{Family, V4, V6};
use lb_common::hash;

use super::convert::wide;
use crate::model::MarkRule;

/// Addresses of a mark rule that get bits of their own; a rule of more turns the prefilter off.
const MOST_ADDRESSES: u32 = 256;

/// The bitmap, with how often each bit is wanted.
#[derive(Debug, Clone)]
pub struct Prefilter {
    uses: Vec<u32>,
    words: Vec<u64>,
}

impl Default for Prefilter {
    fn default() -> Self {
        Self { uses: vec![0; PREFILTER_BITS as usize], words: vec![0; PREFILTER_BITS as usize / 64] }
    }
}

impl Prefilter {
    /// Wants packets from or to an address.
    pub fn add(&mut self, address: IpAddr) {
        let bit = bit(address);
        if let (Some(uses), Some(word)) = (self.uses.get_mut(bit), self.words.get_mut(bit / 64)) {
            *uses += 1;
            *word |= 1 << (bit % 64);
        }
    }

    /// Takes back one [`Self::add`].
    pub fn remove(&mut self, address: IpAddr) {
        let bit = bit(address);
        if let (Some(uses), Some(word)) = (self.uses.get_mut(bit), self.words.get_mut(bit / 64)) {
            *uses = uses.saturating_sub(1);
            if *uses == 0 {
                *word &= !(1 << (bit % 64));
            }
        }
    }

    /// The bitmap as the map holds it.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

/// The bit of an address.
fn bit(address: IpAddr) -> usize {
    let wide = wide(address);
    let folded = match address {
        IpAddr::V4(_) => V4::fold(V4::narrow(&wide)),
        IpAddr::V6(_) => V6::fold(V6::narrow(&wide)),
    };
    hash::prefilter_bit(folded) as usize
}

/// Every address that a mark rule concerns, `None` where they are too many for the prefilter.
#[must_use]
pub fn mark_addresses(rule: &MarkRule) -> Option<Vec<IpAddr>> {
    let (width, base) = match rule.destination {
        IpAddr::V4(a) => (32, u128::from(a.to_bits())),
        IpAddr::V6(a) => (128, a.to_bits()),
    };
    let count =
        1_u32.checked_shl(width - u32::from(rule.prefix).min(width)).filter(|&n| n <= MOST_ADDRESSES)?;
    let base = base & !u128::from(count - 1);
    Some(
        (0..count)
            .map(|i| {
                let n = base | u128::from(i);
                // An IPv4 address was widened above.
                if width == 32 {
                    IpAddr::from((n as u32).to_be_bytes())
                } else {
                    IpAddr::from(n.to_be_bytes())
                }
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(destination: &str, prefix: u8) -> MarkRule {
        MarkRule {
            destination: destination.parse().unwrap(),
            prefix,
            protocol: None,
            first_port: 0,
            last_port: u16::MAX,
            mark: 1,
        }
    }

    #[test]
    fn a_bit_stays_until_its_last_use_ends() {
        let mut p = Prefilter::default();
        let empty = p.words().to_vec();
        let a = "192.0.2.1".parse().unwrap();
        p.add(a);
        p.add(a);
        p.remove(a);
        // As the data path computes it.
        let bit = hash::prefilter_bit(V4::fold([192, 0, 2, 1]));
        assert_eq!(p.words()[(bit >> 6) as usize], 1 << (bit & 63));
        p.remove(a);
        assert_eq!(p.words(), empty);
    }

    #[test]
    fn small_networks_are_their_addresses() {
        let all = mark_addresses(&rule("192.0.2.5", 31)).unwrap();
        assert_eq!(all, ["192.0.2.4".parse::<IpAddr>().unwrap(), "192.0.2.5".parse().unwrap()]);
        assert_eq!(mark_addresses(&rule("2001:db8::ff", 120)).unwrap().len(), 256);
        assert_eq!(
            mark_addresses(&rule("2001:db8::1", 128)).unwrap(),
            ["2001:db8::1".parse::<IpAddr>().unwrap()]
        );
        for (a, p) in [("192.0.2.0", 23), ("0.0.0.0", 0), ("2001:db8::", 64), ("::", 0)] {
            assert_eq!(mark_addresses(&rule(a, p)), None, "{a}/{p}");
        }
    }
}
