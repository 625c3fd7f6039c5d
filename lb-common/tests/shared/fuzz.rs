//! What must hold for any bytes: the bodies of the fuzz targets, and of the tests that run their corpus again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lb_common::conn::{Common, Every};
use lb_common::family::{Family, V4, V6};
use lb_common::frame::SliceFrame;
use lb_common::parse::{self, Link, Packet, Parse};
use lb_common::reason::Reason;
use lb_common::run::Action;
use lb_common::tables::Tables as _;
use lb_common::testing::{HostTables, direct_bytes};

use super::frames::judge;
use super::random::{Random, Site, Step};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Entries of both connection tables of a site of 8 buckets, and of its templates: no count is ever above.
const ENTRIES: u32 = 4096;

/// A frame of any bytes: both ways to read it say the same, no offset lies outside, and where etherparse reads a packet
/// of TCP or UDP as well, it is the same one.
pub(crate) fn parse(bytes: &[u8]) {
    let mut memory = bytes.to_vec();
    let end = memory.len();
    let frame = SliceFrame::new(&mut memory, 0, end);
    match parse::link(&frame) {
        Ok(Link::V4) => packet::<V4>(&frame, bytes),
        Ok(Link::V6) => packet::<V6>(&frame, bytes),
        Err(reason) => assert!(!reason.is_drop(), "what is not IP passes: {}", reason.name()),
    }
}

fn packet<F: Parse + core::fmt::Debug>(frame: &SliceFrame<'_>, bytes: &[u8])
where
    F::Address: core::fmt::Debug + PartialEq,
{
    let Some(network) = F::network(frame) else { return };
    let every = F::packet::<Every, _>(frame, network);
    if let Ok(packet) = &every {
        assert!(packet.transport as usize + 8 <= bytes.len(), "the transport header begins in the frame");
        assert!(packet.length as usize + ETHERNET <= bytes.len(), "the packet lies in the frame");
    }
    let read = F::packet::<Common, _>(frame, network);
    match (&read, &every) {
        (Ok(a), Ok(b)) => assert_eq!(format!("{a:?}"), format!("{b:?}"), "among every protocol"),
        (Err(Reason::NotBalancedProtocol), _) => {}
        (Err(a), Err(b)) => assert_eq!(a, b, "among every protocol"),
        (a, b) => panic!("{a:?} but {b:?} among every protocol"),
    }
    match (&read, F::packet_quick(frame, network)) {
        (Ok(a), Ok(b)) => assert_eq!(format!("{a:?}"), format!("{b:?}"), "the quick way"),
        (Err(a), Err(b)) => assert_eq!(*a, b, "the quick way"),
        (a, b) => panic!("{a:?} but the quick way {b:?}"),
    }
    let Ok(packet) = read else { return };
    assert!(packet.transport as usize + 4 <= bytes.len(), "the ports lie in the frame");
    assert!(packet.length as usize + ETHERNET <= bytes.len(), "the packet lies in the frame");
    if let Ok(sliced) = SlicedPacket::from_ethernet(bytes) {
        compare::<F>(&packet, &sliced);
    }
}

fn compare<F: Parse>(packet: &Packet<F>, sliced: &SlicedPacket<'_>) {
    let (source, destination) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            (IpAddr::V4(ip.header().source_addr()), IpAddr::V4(ip.header().destination_addr()))
        }
        Some(NetSlice::Ipv6(ip)) => {
            (IpAddr::V6(ip.header().source_addr()), IpAddr::V6(ip.header().destination_addr()))
        }
        _ => return,
    };
    assert_eq!((address::<F>(packet.source), address::<F>(packet.destination)), (source, destination));
    let ports = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        _ => return,
    };
    let own = (u16::from_be_bytes(packet.ports.source), u16::from_be_bytes(packet.ports.destination));
    assert_eq!(own, ports);
}

fn address<F: Family>(address: F::Address) -> IpAddr {
    let wide = F::wide(address);
    if F::NUMBER == 4 {
        let [a, b, c, d, ..] = wide;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(wide))
    }
}

/// A random site, and what the bytes say happens to it: the first eight choose the site; then each step is a number of
/// [`Site::step`]'s, and as many changed bytes of its frame as the next byte says (a change: where, and what), or a frame
/// of any bytes. What passes is not touched, what is forwarded has right checksums if it had, and counts stay possible.
pub(crate) fn direct(bytes: &[u8]) {
    let mut input = bytes.iter().copied();
    let mut seed = [0; 8];
    for (to, from) in seed.iter_mut().zip(&mut input) {
        *to = from;
    }
    let mut random = Random(u64::from_le_bytes(seed));
    let mut site = Site::new(&mut random, 8);
    while let Some(what) = input.next() {
        let Some(changes) = input.next() else { break };
        random.0 ^= u64::from(what) << 32;
        if what == 0xff {
            let frame: Vec<u8> = input.by_ref().take(changes.into()).collect();
            hold(&site.tables, &frame);
            continue;
        }
        let step = site.step(&mut random);
        site.apply(&step);
        let Step::Frame { mut frame, .. } = step else { continue };
        // Most frames stay as they are: what is behind the first look needs valid ones.
        for _ in 0..changes.saturating_sub(0xf0) {
            let (Some(at), Some(value)) = (input.next(), input.next()) else { break };
            let length = frame.len();
            if let Some(byte) = frame.get_mut(usize::from(at) % length.max(1)) {
                *byte = value;
            }
        }
        hold(&site.tables, &frame);
    }
    for id in 0..64 {
        let counts = site.tables.counts(id);
        for n in [counts.active, counts.inactive, counts.persistent] {
            assert!(n <= ENTRIES, "{n} connections of destination {id}");
        }
    }
}

/// Sends a frame through.
fn hold(tables: &HostTables, frame: &[u8]) {
    let before = tables.reasons();
    let (action, after) = direct_bytes(tables, frame, 1);
    match action {
        Action::Pass => assert_eq!(frame, after, "what passes is not touched"),
        Action::Drop => assert_ne!(before, tables.reasons(), "what is dropped is counted"),
        Action::Transmit | Action::Redirect(_) => {
            if judge(frame).is_ok() {
                assert_eq!(judge(&after), Ok(()), "{frame:02x?}\n{after:02x?}");
            }
        }
        Action::Open
        | Action::Other
        | Action::Related
        | Action::Engine
        | Action::Admit
        | Action::Encapsulate(_) => {
            panic!("the last program asks for another one")
        }
    }
    tables.set_now(tables.now().wrapping_add(1));
}
