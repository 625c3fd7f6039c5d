//! The bitmap that tells at once whether an address concerns the director (architecture decision 7).

use std::net::IpAddr;

use lb_common::abi::PREFILTER_BITS;
use lb_common::family::{Family, V4, V6};
use lb_common::hash;

use super::convert::wide;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
