//! Checksums by update against whole ones, and frames of any bytes.

use etherparse::checksum::u32_16bit_word::{add_slice, ones_complement};
use proptest::prelude::*;

use super::frames::{Carried, FrameSpec, judge};
use crate::abi::{Destination, Hop};
use crate::csum::{ChecksumUpdate, fold};
use crate::fwd::ForwardingMethod;
use crate::run::Action;
use crate::sched::Scheduler;
use crate::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes};

/// The checksum over bytes, by etherparse, as it lies in a packet.
fn whole(bytes: &[u8]) -> u16 {
    ones_complement(add_slice(0, bytes))
}

/// A site that takes whatever comes for one address of each family.
fn site(method: ForwardingMethod) -> HostTables {
    let mut tables = HostTables::new(16);
    let destination = |family, address: &[u8]| {
        let mut wide = [0; 16];
        wide[..address.len()].copy_from_slice(address);
        let hop = Hop::new([2, 0, 0, 0, 0, 9], 1);
        Destination { hop, weight: 1, address: wide, family, method: method as u8, ..Destination::default() }
    };
    let four = tables.add_destination(destination(4, &[198, 51, 100, 11]));
    let six =
        tables.add_destination(destination(6, &[0x20, 1, 0xd, 0xb8, 0, 0xb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    let spec = ServiceSpec { persistence: 9, ..ServiceSpec::new(Scheduler::Rr) };
    for (id, protocol) in [(1, 6), (2, 17)] {
        tables.add_service4(id, [192, 0, 2, 1], 0, protocol, &spec, &[four]);
        let address = [0x20, 1, 0xd, 0xb8, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        tables.add_service6(id + 2, address, 0, protocol, &spec, &[six]);
    }
    tables
}

/// A frame for that site.
fn frame() -> impl Strategy<Value = FrameSpec> {
    let carried = prop_oneof![
        any::<u8>().prop_map(|flags| Carried::Tcp(flags | 2 & !4)),
        Just(Carried::Udp),
        Just(Carried::UdpWithoutChecksum),
    ];
    (
        any::<bool>(),
        carried,
        any::<[u16; 2]>(),
        0..11_usize,
        prop::collection::vec(any::<u8>(), 0..600),
        2..=255_u8,
    )
        .prop_map(|(six, carried, [client, port], options, payload, ttl)| {
            let (from, to) =
                if six { ("2001:db8:c::5", "2001:db8:a::1") } else { ("203.0.113.5", "192.0.2.1") };
            let end = |address: &str, port| std::net::SocketAddr::new(address.parse().unwrap(), port);
            let options = if six { Vec::new() } else { vec![1; options * 4] };
            let spec = FrameSpec::new(DIRECTOR_MAC, end(from, client), end(to, port), carried);
            FrameSpec { ttl, payload, options, ..spec }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_updated_checksum_is_the_whole_one(
        mut bytes in prop::collection::vec(any::<u8>(), 32..64),
        word in any::<u16>(),
        double in any::<u32>(),
        quad in any::<u64>(),
    ) {
        bytes.truncate(bytes.len() & !1);
        let before = whole(&bytes);
        let old_word = u16::from_ne_bytes(bytes[0..2].try_into().unwrap());
        let old_double = u32::from_ne_bytes(bytes[6..10].try_into().unwrap());
        let old_quad = u64::from_ne_bytes(bytes[20..28].try_into().unwrap());
        bytes[0..2].copy_from_slice(&word.to_ne_bytes());
        bytes[6..10].copy_from_slice(&double.to_ne_bytes());
        bytes[20..28].copy_from_slice(&quad.to_ne_bytes());
        let update = ChecksumUpdate::default().word(old_word, word).double(old_double, double).quad(old_quad, quad);
        // All zeroes have two checksums, which mean the same.
        let same = |c: u16| if c == 0xffff { 0 } else { c };
        prop_assert_eq!(same(update.apply(before)), same(whole(&bytes)));
    }

    #[test]
    fn a_sum_is_folded_as_ones_complement(sum in any::<u64>()) {
        let right = match sum % 0xffff {
            0 if sum != 0 => 0xffff,
            rest => rest,
        };
        prop_assert_eq!(u64::from(fold(sum)), right);
    }

    #[test]
    fn what_is_forwarded_has_right_checksums(frame in frame(), nat in any::<bool>()) {
        let method = if nat { ForwardingMethod::Masq } else { ForwardingMethod::DirectRoute };
        let bytes = frame.build();
        let (action, after) = direct_bytes(&site(method), &bytes, 1);
        if frame.source.port() != 20 && !matches!(frame.carried, Carried::Tcp(flags) if flags & 4 != 0) {
            prop_assert_eq!(action, Action::Transmit);
            prop_assert_eq!(judge(&after), Ok(()));
            prop_assert_eq!(after.len(), bytes.len());
            if !nat {
                // MACs, time to live and the header's checksum; nothing else.
                let [ttl, checksum] = if frame.source.is_ipv4() { [22, 24] } else { [21, 21] };
                let kept = |i: usize| i >= 12 && i != ttl && (i != checksum && i != checksum + 1 || checksum == 21);
                for i in (0..bytes.len()).filter(|i| kept(*i)) {
                    prop_assert_eq!(bytes[i], after[i], "byte {}", i);
                }
            }
        }
    }

    #[test]
    fn any_bytes_do_no_harm(
        frame in frame(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let tables = site(ForwardingMethod::Masq);
        let mut bytes = frame.build();
        for (at, byte) in edits {
            // The addresses stay, so that the frame is looked at.
            let at = at.index(bytes.len());
            if at >= 12 {
                bytes[at] = byte;
            }
        }
        if cut {
            bytes.truncate(length.index(bytes.len() + 1));
        }
        let (action, after) = direct_bytes(&tables, &bytes, 1);
        match action {
            Action::Pass => prop_assert_eq!(after, bytes),
            Action::Transmit => {
                // Nothing is taken for longer than it is: what lies behind the datagram is not touched.
                let length = |b: &[u8]| match b[12] {
                    8 => 14 + usize::from(u16::from_be_bytes([b[16], b[17]])),
                    _ => 54 + usize::from(u16::from_be_bytes([b[18], b[19]])),
                };
                prop_assert!(length(&after) <= after.len());
                if after.len() == bytes.len() {
                    prop_assert_eq!(&after[length(&bytes)..], &bytes[length(&bytes)..]);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn noise_passes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (action, after) = direct_bytes(&site(ForwardingMethod::Masq), &bytes, 1);
        prop_assert_eq!((action, after), (Action::Pass, bytes));
    }
}
