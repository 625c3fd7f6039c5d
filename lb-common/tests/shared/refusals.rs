//! Fixtures of what is not forwarded: passed, dropped or answered, each with its reason.

use super::*;

pub(super) fn refusals() -> Vec<Fixture> {
    let syn4 = spec(C4, V4, Tcp(SYN));
    let syn6 = spec(C6, V6, Tcp(SYN));
    let long = FrameSpec { payload: vec![7; 1301], ..spec(C4, V4, Udp) };
    let long6 = FrameSpec { payload: vec![7; 1301], ..spec(C6, V6, Udp) };
    let last4 = FrameSpec { ttl: 1, ..syn4.clone() };
    let none6 = FrameSpec { ttl: 0, ..syn6.clone() };
    let last_reply = FrameSpec { ttl: 1, from_mac: RS_MAC, ..spec(R4, C4, Tcp(SYN | ACK)) };
    let multicast = spec("224.0.0.9:40000", V4, Tcp(SYN));
    let quiesced = Destination { weight: 0, ..destination(R4, DirectRoute) };
    let unresolved = Destination { hop: Hop::UNRESOLVED, ..destination(R4, DirectRoute) };
    let nowhere = Destination { hop: Hop::new(RS_MAC, 9), ..destination(R4, DirectRoute) };
    let ack = spec(C4, V4, Tcp(ACK));
    let nat_first = FrameSpec { destination: R4.parse().unwrap(), ..onward(&syn4, RS_MAC) };
    let no_destination =
        |tables, frame: &FrameSpec, bytes| (tables, vec![answered(frame, bytes, Reason::NoDestination)]);
    let fixture = |what, (tables, events)| Fixture { what, tables, events };
    let mut all = vec![
        fixture(
            "no destination, IPv4",
            no_destination(site_of(V4, Tcp(SYN), &[]), &syn4, icmp4(&syn4, UNREACHABLE4)),
        ),
        fixture(
            "no destination, IPv6",
            no_destination(site_of(V6, Tcp(SYN), &[]), &syn6, icmp6(&syn6, UNREACHABLE6)),
        ),
        fixture(
            "a long datagram is quoted in part, IPv4",
            no_destination(site_of(V4, Udp, &[]), &long, icmp4(&long, UNREACHABLE4)),
        ),
        fixture(
            "a long datagram is quoted in part, IPv6",
            no_destination(site_of(V6, Udp, &[]), &long6, icmp6(&long6, UNREACHABLE6)),
        ),
        fixture(
            "weight 0 takes no new connection",
            no_destination(site_of(V4, Tcp(SYN), &[quiesced]), &syn4, icmp4(&syn4, UNREACHABLE4)),
        ),
        fixture(
            "an unresolved neighbour takes no new connection",
            no_destination(site_of(V4, Tcp(SYN), &[unresolved]), &syn4, icmp4(&syn4, UNREACHABLE4)),
        ),
        fixture(
            "no error goes to a multicast address",
            (site_of(V4, Tcp(SYN), &[]), vec![dropped(&multicast, Reason::NoDestination)]),
        ),
        fixture(
            "the time to live ends, IPv4",
            (
                site(V4, Tcp(SYN), R4, DirectRoute),
                vec![answered(&last4, icmp4(&last4, EXCEEDED4), Reason::TtlExceeded)],
            ),
        ),
        fixture(
            "the hop limit is 0 already",
            (
                site(V6, Tcp(SYN), R6, Masq),
                vec![answered(&none6, icmp6(&none6, EXCEEDED6), Reason::TtlExceeded)],
            ),
        ),
        fixture(
            "the time to live of an answer ends",
            (
                site(V4, Tcp(SYN), R4, Masq),
                vec![
                    sent(&syn4, &nat_first),
                    answered(&last_reply, icmp4(&last_reply, EXCEEDED4), Reason::TtlExceeded),
                ],
            ),
        ),
        fixture(
            "an interface that is gone",
            (site_of(V4, Tcp(SYN), &[nowhere]), vec![dropped(&syn4, Reason::Internal)]),
        ),
        fixture(
            "a destination that was removed, and added again",
            (
                site(V4, Tcp(SYN), R4, DirectRoute),
                vec![
                    sent(&syn4, &onward(&syn4, RS_MAC)),
                    Event::Change(|t| t.destinations[0].flags &= !destination_flags::AVAILABLE),
                    dropped(&ack, Reason::DestinationRemoved),
                    Event::Change(|t| t.destinations[0].flags |= destination_flags::AVAILABLE),
                    sent(&ack, &onward(&ack, RS_MAC)),
                ],
            ),
        ),
        fixture(
            "weight 0 keeps its connections, also without its service",
            (
                site(V4, Tcp(SYN), R4, DirectRoute),
                vec![
                    sent(&syn4, &onward(&syn4, RS_MAC)),
                    Event::Change(|t| {
                        t.destinations[0].weight = 0;
                        t.services4.clear();
                    }),
                    sent(&ack, &onward(&ack, RS_MAC)),
                ],
            ),
        ),
        fixture(
            "a neighbour that is lost, and moves",
            (
                site(V4, Tcp(SYN), R4, DirectRoute),
                vec![
                    sent(&syn4, &onward(&syn4, RS_MAC)),
                    Event::Change(|t| t.destinations[0].hop = Hop::UNRESOLVED),
                    dropped(&ack, Reason::NeighbourUnresolved),
                    Event::Change(|t| t.destinations[0].hop = Hop::new([2, 0, 0, 0, 0, 0x99], 1)),
                    sent(&ack, &onward(&ack, [2, 0, 0, 0, 0, 0x99])),
                ],
            ),
        ),
        fixture(
            "an interface that is not ours",
            (
                {
                    let mut tables = site(V4, Tcp(SYN), R4, DirectRoute);
                    tables.interfaces.clear();
                    tables
                },
                vec![passed(syn4.build(), Reason::UnknownInterface)],
            ),
        ),
    ];
    // Six answers to one client, then no more.
    let mut events: Vec<Event> =
        (0..6).map(|_| answered(&syn4, icmp4(&syn4, UNREACHABLE4), Reason::NoDestination)).collect();
    events.push(dropped(&syn4, Reason::IcmpRateLimited));
    let mut tables = site_of(V4, Tcp(SYN), &[]);
    // Slow enough for any machine: a token a minute.
    tables.settings.icmp_interval = 60 * 1000;
    all.push(fixture("errors are limited", (tables, events)));
    all
}
