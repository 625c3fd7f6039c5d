//! Arguments of options: numbers, addresses, masks.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Names;
use crate::model::Protocol;

/// A decimal number as `strtol` reads it: blanks and a sign in front are taken, nothing behind.
pub(super) fn decimal(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    Some(if negative { -number } else { number })
}

/// A number of a range.
pub(super) fn number(text: &str, min: u32, max: u32) -> Option<u32> {
    decimal(text).and_then(|n| u32::try_from(n).ok()).filter(|n| (min..=max).contains(n))
}

/// The number that begins a text, as `atoi` reads it; 0 where there is none.
pub(super) fn leading_number(text: &str) -> i64 {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    text.get(..sign + digits).and_then(decimal).unwrap_or(0)
}

/// An IPv4 address as `inet_aton` reads it: one to four parts, decimal, octal or hexadecimal, the
/// last one filling the bytes that are left (`192.0.2` is 192.0.0.2).
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    // What follows a blank is not looked at.
    let text = text.split(|c: char| c.is_ascii_whitespace()).next()?;
    let parts: Vec<u32> = text.split('.').map(part).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|p| *p > 255) {
        return None;
    }
    let left = 8 * (4 - u32::try_from(first.len()).ok()?);
    if u64::from(*last) >= 1_u64 << left {
        return None;
    }
    let high = first.iter().fold(0_u64, |bits, part| bits << 8 | u64::from(*part));
    u32::try_from(high << left | u64::from(*last)).ok().map(Ipv4Addr::from_bits)
}

fn part(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // A sign would be taken by `from_str_radix`.
        return hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, 16).ok())?;
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let radix = if text.len() > 1 && text.starts_with('0') { 8 } else { 10 };
    u32::from_str_radix(text, radix).ok()
}

/// An IPv4 address or the name of a host that has one.
pub(super) fn ipv4_or_host(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    ipv4(text).or_else(|| names.host_to_addr(text))
}

/// An address with a port that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: std::net::IpAddr,
    pub(super) port: Option<u16>,
}

/// `host[:port]`, `[IPv6]:port`, or an IPv6 address alone, which then has no port. `protocol` is whose
/// names of ports count.
pub(super) fn endpoint(text: &str, protocol: Option<Protocol>, names: &dyn Names) -> Option<Endpoint> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, Some(rest.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let (address, port) = if let Ok(v6) = host.parse::<Ipv6Addr>() {
        (v6.into(), port)
    } else {
        // A port behind brackets belongs to IPv6 only: ipvsadm loses that of `[192.0.2.1]:80`.
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        (ipv4_or_host(host, names)?.into(), port)
    };
    let port = match port {
        None => None,
        Some(text) => {
            let number = number(text, 0, 65_535).and_then(|n| u16::try_from(n).ok());
            Some(number.or_else(|| names.service_to_port(text, protocol?))?)
        }
    };
    Some(Endpoint { address, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_whole() {
        for (text, want) in [
            ("5", Some(5)),
            (" +5", Some(5)),
            ("-5", Some(-5)),
            ("010", Some(10)),
            ("0x10", None),
            ("5 ", None),
            ("", None),
            ("-", None),
            ("1.5", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(decimal(text), want, "{text:?}");
        }
        assert_eq!((leading_number("255.255"), leading_number("x"), leading_number("-3a")), (255, 0, -3));
    }

    #[test]
    fn addresses_in_the_forms_of_inet_aton() {
        for (text, want) in [
            ("192.0.2.1", Some([192, 0, 2, 1])),
            ("192.0.2", Some([192, 0, 0, 2])),
            ("192.513", Some([192, 0, 2, 1])),
            ("3221225985", Some([192, 0, 2, 1])),
            ("0xc0.0.02.01", Some([192, 0, 2, 1])),
            ("0xC0000201 junk", Some([192, 0, 2, 1])),
            ("192.0.2.256", None),
            ("256.0.2.1", None),
            ("192.0.2.1.1", None),
            ("192.0.2.", None),
            ("09.0.0.1", None),
            ("0x+1", None),
            ("4294967296", None),
            ("", None),
            ("vip", None),
        ] {
            assert_eq!(ipv4(text), want.map(Ipv4Addr::from), "{text:?}");
        }
    }
}
