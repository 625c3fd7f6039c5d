//! Persistence engine `sip`: the scanner against a slow reading of the whole message, and calls through a site.

use std::collections::HashMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::frames::{Carried, FrameSpec};
use crate::abi::{Bucket4, Bucket6, Destination, Hop, connection_flags};
use crate::family::{Family, Ports, V4, V6};
use crate::fwd::ForwardingMethod;
use crate::reason::Reason;
use crate::run::Action;
use crate::sched::Scheduler;
use crate::sip::{ENGINE, MAX_PAYLOAD, Scanner};
use crate::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes};

const SEED: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

/// What the scanner makes of a message, 0: no Call-ID.
fn scan(message: &[u8]) -> u64 {
    let mut scanner = Scanner::new(&SEED);
    for byte in message {
        if scanner.feed(*byte) {
            break;
        }
    }
    scanner.result()
}

/// The Call-ID of a message, read in the plainest way: lines first, then headers.
fn slow(message: &[u8]) -> Option<Vec<u8>> {
    // Lines that are ended, by CR LF, CR or LF.
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut at = 0;
    while at < message.len() {
        match message[at] {
            b'\r' | b'\n' => {
                lines.push(core::mem::take(&mut line));
                if message[at..].starts_with(b"\r\n") {
                    at += 1;
                }
            }
            byte => line.push(byte),
        }
        at += 1;
    }
    let folds = |line: &[u8]| line.first().is_some_and(|b| *b == b' ' || *b == b'\t');
    let trim = |bytes: &[u8]| -> Vec<u8> {
        let blank = |b: &u8| *b == b' ' || *b == b'\t';
        let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
        let end = bytes.iter().rposition(|b| !blank(b)).map_or(start, |n| n + 1);
        bytes[start..end].to_vec()
    };
    let mut lines = lines.into_iter().skip(1).peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            return None;
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        // Blanks only behind the name.
        let name = &line[..colon];
        if folds(&line) || !matches!(trim(name).to_ascii_lowercase().as_slice(), b"call-id" | b"i") {
            continue;
        }
        let mut value = trim(&line[colon + 1..]);
        while value.is_empty() {
            // A value may begin in a continuation line.
            value = trim(&lines.next_if(|next| folds(next))?);
        }
        let one_word = !value.iter().any(|b| *b == b' ' || *b == b'\t');
        return (one_word && value.len() <= 255).then_some(value);
    }
    None
}

/// Pieces of messages, and any bytes.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "\r\n", "\r\n", "\r", "\n", "Call-ID", "call-id", "cALL-iD", "Call-I", "Call\rID", "i", "I", "c", ":", ":", ": ", " ", "\t",
            "a84b4c76e66710@pc33.example.com", "Via: SIP/2.0/UDP x", "INVITE sip:b@example.com SIP/2.0", "\r\n\r\n", "x",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => (250..260_usize).prop_map(|n| vec![b'z'; n]),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_scanner_finds_what_a_slow_reading_finds(messages in prop::collection::vec(message(), 1..4)) {
        for message in &messages {
            prop_assert_eq!(scan(message) != 0, slow(message).is_some(), "{}", message.escape_ascii());
        }
        for a in &messages {
            for b in &messages {
                let (x, y) = (slow(a), slow(b));
                if x.is_some() && y.is_some() {
                    prop_assert_eq!(scan(a) == scan(b), x == y);
                }
            }
        }
    }

    #[test]
    fn an_engines_key_is_its_own_inverse_and_never_an_ordinary_one(
        client in any::<u32>(), service in any::<u32>(), wide in any::<[u64; 4]>(), port in any::<u16>(), hash in any::<u64>(),
    ) {
        let [a, b, c, d] = wide;
        let four = V4::key(client.to_ne_bytes(), service.to_ne_bytes(), Ports::new(0, port), 17);
        let six = V6::key([a, b], [c, d], Ports::new(0, port), 17);
        let (e4, e6) = (V4::engine(&four, hash), V6::engine(&six, hash));
        prop_assert_eq!((V4::engine(&e4, hash), V6::engine(&e6, hash)), (four, six));
        prop_assert!(V4::is_engine(&e4) && V6::is_engine(&e6));
        prop_assert!(!V4::is_engine(&four) && !V6::is_engine(&six));
        prop_assert_eq!((V4::protocol(&e4), V6::protocol(&e6)), (17, 17));
        // Another hash is another key.
        prop_assert_ne!(V4::engine(&four, hash ^ 1 << (hash & 63)), e4);
        prop_assert_ne!(V6::engine(&six, hash ^ 1 << (hash & 63)), e6);
    }
}

/// An INVITE as in RFC 3261 section 24.2, with the names of this call.
fn invite(header: &str) -> Vec<u8> {
    format!(
        "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
         Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK74bf9\r\n\
         Max-Forwards: 70\r\n\
         To: Bob <sip:bob@biloxi.example>\r\n\
         From: Alice <sip:alice@atlanta.example>;tag=9fxced76sl\r\n\
         {header}\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:alice@client.atlanta.example>\r\n\
         Content-Type: application/sdp\r\n\
         Content-Length: 2\r\n\
         \r\n\
         v="
    )
    .into_bytes()
}

#[test]
fn messages_as_they_are_sent() {
    let same = scan(&invite("Call-ID: 3848276298220188511@atlanta.example"));
    assert_ne!(same, 0);
    for header in [
        "call-id:3848276298220188511@atlanta.example",
        "i: 3848276298220188511@atlanta.example",
        "I :\t3848276298220188511@atlanta.example  ",
        "Call-ID  : 3848276298220188511@atlanta.example",
        "Call-ID:\r\n 3848276298220188511@atlanta.example",
    ] {
        assert_eq!(scan(&invite(header)), same, "{header}");
    }
    assert_ne!(scan(&invite("Call-ID: 3848276298220188512@atlanta.example")), same);
    for header in ["Call-Identity: x", "X-Call-ID: x", " Call-ID: x", "Call-ID: x y", "Call-ID:", "i"] {
        assert_eq!(scan(&invite(header)), 0, "{header}");
    }
    // Not in the first line, nor in a body, nor without the line's end.
    assert_eq!(scan(b"Call-ID: x\r\n\r\n"), 0);
    assert_eq!(scan(b"INVITE\r\n\r\nCall-ID: x\r\n"), 0);
    assert_eq!(scan(b"INVITE\r\nCall-ID: x"), 0);
    assert_ne!(scan(b"INVITE\r\nCall-ID: x\r"), 0);
    assert_ne!(scan(format!("A\nI:{}\n", "x".repeat(255)).as_bytes()), 0);
    assert_eq!(scan(format!("A\nI:{}\n", "x".repeat(256)).as_bytes()), 0);
}

/// Four destinations, round robin; the last byte of their MACs is their id.
fn site(spec: &ServiceSpec, method: ForwardingMethod) -> HostTables {
    let mut tables = HostTables::new(64);
    let ids = |family: u8| {
        move |n: u8| {
            let address = core::array::from_fn(|i| if i == usize::from(family) - 1 { n + 1 } else { 0x20 });
            Destination {
                hop: Hop::new([2, 0, 0, 0, 0, n], 1),
                weight: 1,
                address,
                family,
                method: method as u8,
                ..Destination::default()
            }
        }
    };
    let four: Vec<u32> = (0..4).map(ids(4)).map(|d| tables.add_destination(d)).collect();
    tables.add_service4(0, [192, 0, 2, 1], 5060, 17, spec, &four);
    let six: Vec<u32> = (4..8).map(ids(6)).map(|d| tables.add_destination(d)).collect();
    let address = "2001:db8:a::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    tables.add_service6(1, address, 5060, 17, spec, &six);
    tables
}

fn frame(from: &str, call: &str) -> Vec<u8> {
    let from: SocketAddr = from.parse().unwrap();
    let to = if from.is_ipv4() { "192.0.2.1:5060" } else { "[2001:db8:a::1]:5060" };
    let payload = if call.is_empty() { b"\r\n\r\n".to_vec() } else { invite(&format!("Call-ID: {call}")) };
    FrameSpec { payload, ..FrameSpec::new(DIRECTOR_MAC, from, to.parse().unwrap(), Carried::Udp) }.build()
}

fn engine() -> ServiceSpec {
    ServiceSpec { persistence: 90_000, engine: ENGINE, ..ServiceSpec::new(Scheduler::Rr) }
}

/// Where a message of a call goes.
fn send(tables: &HostTables, from: &str, call: &str) -> u8 {
    match direct_bytes(tables, &frame(from, call), 1) {
        (Action::Transmit, bytes) => bytes[5],
        other => panic!("{from} {call}: {other:?}"),
    }
}

/// Keys and links of live templates.
fn templates(tables: &HostTables) -> (Vec<(u64, u64, u64)>, usize) {
    let live = |word: u32| crate::flow_table::Word(word).is_live();
    let four: Vec<Bucket4> = tables.templates4.all();
    let six: Vec<Bucket6> = tables.templates6.all();
    let four = four.into_iter().flat_map(|b| b.ways).filter(|w| live(w.word));
    let six = six.into_iter().flat_map(|b| b.ways).filter(|w| live(w.word));
    (four.map(|w| (w.key.addresses, w.key.rest, w.link)).collect(), six.count())
}

#[test]
fn a_call_stays_where_it_is_whatever_port_it_comes_from() {
    for (client, other, first) in
        [("203.0.113.10", "203.0.113.11", 0), ("[2001:db8:c::10]", "[2001:db8:c::11]", 4)]
    {
        let tables = site(&engine(), ForwardingMethod::DirectRoute);
        let call = |port: u16, call: &str| send(&tables, &format!("{client}:{port}"), call);
        assert_eq!([call(1, "a@x"), call(2, "b@x"), call(3, "c@x")], [first, first + 1, first + 2]);
        for port in 1004..1040 {
            let n = u8::try_from(port % 3).unwrap();
            assert_eq!(call(port, ["a@x", "b@x", "c@x"][usize::from(n)]), first + n);
        }
        // The address (or its network) is part of it, as in the kernel.
        assert_eq!(send(&tables, &format!("{other}:1"), "a@x"), first + 3);
        let persistent: u32 = (0..8).map(|id| tables.counts(id).persistent).sum();
        assert_eq!(persistent, 4);
    }
}

#[test]
fn a_netmask_of_nothing_leaves_the_call_alone() {
    let tables = site(&ServiceSpec { netmask: [0; 16], ..engine() }, ForwardingMethod::DirectRoute);
    for (n, client) in ["203.0.113.10:1", "203.0.113.77:2", "198.18.0.1:3"].into_iter().enumerate() {
        assert_eq!(send(&tables, client, "a@x"), 0, "{n}");
        assert_eq!(send(&tables, &client.replace(':', ":5"), "b@x"), 1);
    }
}

#[test]
fn the_key_can_be_read_back() {
    let tables = site(&engine(), ForwardingMethod::DirectRoute);
    send(&tables, "203.0.113.10:7000", "a@x");
    let ([(addresses, rest, link)], 0) =
        (<[_; 1]>::try_from(templates(&tables).0).unwrap(), templates(&tables).1)
    else {
        panic!("not one template")
    };
    let key = V4::engine(&crate::abi::FlowKey4 { addresses, rest }, link);
    assert_eq!(key, V4::key([203, 0, 113, 10], [192, 0, 2, 1], Ports::new(0, 5060), 17));
}

#[test]
fn what_has_no_call_is_dropped_unless_its_connection_is_there() {
    let tables = site(&engine(), ForwardingMethod::DirectRoute);
    for client in ["203.0.113.10:1", "[2001:db8:c::10]:1"] {
        assert_eq!(direct_bytes(&tables, &frame(client, ""), 1).0, Action::Drop);
        send(&tables, client, "a@x");
        send(&tables, client, "");
    }
    assert_eq!(tables.reasons()[Reason::NoCallId as usize], 2);
    // Longer than is looked at: the header lies beyond.
    let long = format!("{}\r\nCall-ID: x\r\n", "y".repeat(MAX_PAYLOAD as usize));
    let spec = FrameSpec {
        payload: long.into_bytes(),
        ..FrameSpec::new(
            DIRECTOR_MAC,
            "203.0.113.10:2".parse().unwrap(),
            "192.0.2.1:5060".parse().unwrap(),
            Carried::Udp,
        )
    };
    assert_eq!(direct_bytes(&tables, &spec.build(), 1).0, Action::Drop);
}

#[test]
fn one_packet_scheduling_goes_with_it() {
    let tables = site(&ServiceSpec { one_packet: true, ..engine() }, ForwardingMethod::DirectRoute);
    let mut where_to: HashMap<String, u8> = HashMap::new();
    for n in 0..40_u16 {
        let call = format!("call-{}", n % 5);
        let to = send(&tables, "203.0.113.10:5060", &call);
        assert_eq!(*where_to.entry(call).or_insert(to), to);
    }
    assert_eq!(where_to.len(), 5);
    let live =
        tables.connections4.all().into_iter().flat_map(|b| b.ways).filter(|w| {
            w.flags & connection_flags::TEMPLATE == 0 && crate::flow_table::Word(w.word).is_live()
        });
    assert_eq!(live.count(), 0, "no connection is kept");
}

#[test]
fn without_the_engine_nothing_of_it_is_left() {
    let tables = site(&ServiceSpec { engine: 0, ..engine() }, ForwardingMethod::DirectRoute);
    send(&tables, "203.0.113.10:1", "a@x");
    assert_eq!(send(&tables, "203.0.113.10:2", "b@x"), 0, "by address");
    assert_eq!(
        templates(&tables).0,
        [(
            V4::key([203, 0, 113, 10], [192, 0, 2, 1], Ports::new(0, 5060), 17).addresses,
            V4::key([203, 0, 113, 10], [192, 0, 2, 1], Ports::new(0, 5060), 17).rest,
            0
        )]
    );
}
