//! What services say of their tunnels, beside each destination's own encapsulation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Low bits of an address that may vary, at most.
const MOST_BITS: u8 = 32;

/// A network that outer source addresses come from: at most 2^32 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OuterNetwork {
    address: IpAddr,
    prefix: u8,
}

impl OuterNetwork {
    /// The network of an address and a prefix length; `None` where the prefix is longer than the address, or the network
    /// has more than 2^32 addresses (IPv6: prefixes shorter than 96).
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let width: u8 = if address.is_ipv6() { 128 } else { 32 };
        let bits = u32::from(width.checked_sub(prefix).filter(|bits| *bits <= MOST_BITS)?);
        let address = match address {
            IpAddr::V4(a) => {
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & u32::MAX.checked_shl(bits).unwrap_or(0)))
            }
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & u128::MAX << bits)),
        };
        Some(Self { address, prefix })
    }

    /// Its first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Low bits of an address that are not the network's, 0 to 32.
    #[must_use]
    pub const fn host_bits(&self) -> u8 {
        (if self.address.is_ipv6() { 128 } else { 32 }) - self.prefix
    }
}

impl FromStr for OuterNetwork {
    type Err = ();

    /// Reads `10.0.0.0/16` and the like; an address alone is one address.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok().ok_or(())?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().ok_or(())?,
            None if address.is_ipv6() => 128,
            None => 32,
        };
        Self::new(address, prefix).ok_or(())
    }
}

impl fmt::Display for OuterNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Settings of tunnels: of one service, or of all that say nothing themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Whether the maximum segment size in TCP openers is lowered to what fits; on where nobody says.
    pub mss_clamp: Option<bool>,
    /// Where the outer source addresses of IPIP and GRE come from, another one for each flow; the director's own
    /// address where nobody says.
    pub outer_source: Option<OuterNetwork>,
}

impl TunnelSettings {
    /// These, and `others` where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            mss_clamp: self.mss_clamp.or(others.mss_clamp),
            outer_source: self.outer_source.or(others.outer_source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_with_what_varies_in_them() {
        for (text, bits, shown) in [
            ("10.1.2.3/16", 16, "10.1.0.0/16"),
            ("10.1.2.3", 0, "10.1.2.3/32"),
            ("0.0.0.0/0", 32, "0.0.0.0/0"),
            ("2001:db8::1:2/96", 32, "2001:db8::/96"),
            ("2001:db8::1:2/120", 8, "2001:db8::1:0/120"),
            ("2001:db8::1", 0, "2001:db8::1/128"),
        ] {
            let network: OuterNetwork = text.parse().unwrap();
            assert_eq!((network.host_bits(), network.to_string().as_str()), (bits, shown));
        }
        for text in ["", "10.0.0.0/33", "10.0.0.0/-1", "2001:db8::/95", "2001:db8::/129", "x/8", "10.0.0.0/"]
        {
            assert_eq!(text.parse::<OuterNetwork>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_service_says_it_before_the_others_do() {
        let network = "10.0.0.0/8".parse().ok();
        let all = TunnelSettings { mss_clamp: Some(false), outer_source: network };
        assert_eq!(TunnelSettings::default().or(all), all);
        let own = TunnelSettings { mss_clamp: Some(true), outer_source: None };
        assert_eq!(own.or(all), TunnelSettings { mss_clamp: Some(true), outer_source: network });
    }
}
