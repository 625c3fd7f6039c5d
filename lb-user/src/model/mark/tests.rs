//! Values as they are written and read.

use super::*;

#[test]
fn networks_are_masked_and_come_back() {
    for (text, back) in [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("192.0.2.7/255.255.255.254", "192.0.2.6/31"),
        ("192.0.2.7/255.0.0.255", "192.0.0.7/255.0.0.255"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::7/126", "2001:db8::4/126"),
        ("2001:db8::7", "2001:db8::7/128"),
        ("2001:db8::7/ffff::", "2001::/16"),
    ] {
        let network: Network = text.parse().unwrap();
        assert_eq!(network.to_string(), back);
        assert_eq!(back.parse(), Ok(network));
    }
    for wrong in ["", "192.0.2", "192.0.2.1/33", "192.0.2.1/::", "::/129", "192.0.2.1/-1", "vip"] {
        assert!(wrong.parse::<Network>().is_err(), "{wrong}");
    }
}

#[test]
fn names_macs_ranges_and_ports_come_back() {
    for name in ["eth0", "eth+", "+", "a2345678901234+", "a23456789012345"] {
        let parsed: InterfaceName = name.parse().unwrap();
        assert_eq!(parsed.to_string(), name);
        let (bytes, mask) = parsed.bytes();
        assert_eq!(InterfaceName::from_bytes(bytes, mask), parsed);
    }
    for wrong in ["", "a234567890123456", "a b", "a/b"] {
        assert!(wrong.parse::<InterfaceName>().is_err(), "{wrong}");
    }
    assert_eq!("0:1B:c:00:00:ff".parse::<Mac>().unwrap().to_string(), "00:1b:0c:00:00:ff");
    for wrong in ["", "00:00:00:00:00", "00:00:00:00:00:00:00", "00:00:00:00:00:100", "0g:00:00:00:00:00"] {
        assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
    }
    for range in ["192.0.2.1-192.0.2.9", "::1-::2"] {
        assert_eq!(range.parse::<AddressRange>().unwrap().to_string(), range);
    }
    for wrong in ["192.0.2.9-192.0.2.1", "192.0.2.1-::2", "192.0.2.1-"] {
        assert!(wrong.parse::<AddressRange>().is_err(), "{wrong}");
    }
    for span in ["80", "0:65535"] {
        assert_eq!(span.parse::<PortSpan>().unwrap().to_string(), span);
    }
    for wrong in ["", "2:1", "65536", "http"] {
        assert!(wrong.parse::<PortSpan>().is_err(), "{wrong}");
    }
}

#[test]
fn what_a_rule_may_leave_of_a_mark() {
    assert!(MarkTarget::set(3).can_give(3));
    assert!(!MarkTarget::set(3).can_give(2));
    let or = MarkTarget::Mark { value: 1, mask: 1 };
    assert!(or.can_give(3) && !or.can_give(2));
    let xor = MarkTarget::Mark { value: 1, mask: 0 };
    assert!(xor.can_give(2));
    assert!(!MarkTarget::Return.can_give(2));
}
