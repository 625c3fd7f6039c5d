//! Against the kernel, in namespaces that end with their test.

mod site;

use std::time::Duration;

use self::site::{SERVER, Site, ip, shell, with_site};
use super::{LinkState, NetEvent};
use crate::model::{NextHop, Responder};

const SECOND: Duration = Duration::from_secs(1);
/// NUD_FAILED comes after three questions a second apart, of a probe that came half a second late.
const GIVEN_UP: Duration = Duration::from_secs(6);

fn why(next_hop: NextHop) -> String {
    match next_hop {
        NextHop::Unresolved { why } => why,
        other => panic!("resolved: {other:?}"),
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn on_link_is_the_neighbour_itself() {
    with_site(async |mut site| {
        let eth0 = site.netlink.link("eth0").await.unwrap().unwrap();
        let expected = |own| NextHop::Resolved {
            mac: SERVER,
            ifindex: eth0.ifindex,
            gateway: None,
            mtu: 1500,
            source: Some(ip(own)),
        };
        let (own4, own6) = ("192.0.2.1", "2001:db8::1");
        for (address, own) in [("192.0.2.11", own4), ("2001:db8::11", own6)] {
            let first = why(site.netlink.next_hop(ip(address)).await);
            assert!(first.contains(address) && first.contains("eth0"), "{first}");
            let known = |event: &NetEvent| {
                let neighbour =
                    NetEvent::Neighbour { ifindex: eth0.ifindex, address: ip(address), mac: Some(SERVER) };
                *event == neighbour
            };
            site.wait("neighbour", SECOND, known).await;
            assert_eq!(site.netlink.next_hop(ip(address)).await, expected(own));
        }
        // Both are known to the kernel: the first result is there at once, and nothing follows it.
        site.watch(&["192.0.2.11", "2001:db8::11"]);
        let events = site.during(3 * SECOND).await;
        let hop = |address, own| NetEvent::NextHop { address: ip(address), next_hop: expected(own) };
        let relevant: Vec<_> = events
            .into_iter()
            .filter(|event| matches!(event, NetEvent::NextHop { .. } | NetEvent::Neighbour { .. }))
            .collect();
        assert_eq!(relevant, [hop("192.0.2.11", own4), hop("2001:db8::11", own6)]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_a_gateway_is_the_gateway_with_the_routes_mtu() {
    with_site(async |mut site| {
        shell("ip route add 198.51.100.0/24 via 192.0.2.11 mtu 1400");
        shell("ip route add 2001:db8:1::/64 via 2001:db8::11");
        let eth0 = site.netlink.link("eth0").await.unwrap().unwrap();
        site.watch(&["198.51.100.7"]);
        site.resolved("198.51.100.7", SERVER, SECOND).await;
        site.watch(&["198.51.100.7", "2001:db8:1::7"]);
        site.resolved("2001:db8:1::7", SERVER, SECOND).await;
        let by = |gateway, mtu| NextHop::Resolved {
            mac: SERVER,
            ifindex: eth0.ifindex,
            gateway: Some(ip(gateway)),
            mtu,
            source: Some(ip(if gateway.contains(':') { "2001:db8::1" } else { "192.0.2.1" })),
        };
        assert_eq!(site.netlink.next_hop(ip("198.51.100.7")).await, by("192.0.2.11", 1400));
        assert_eq!(site.netlink.next_hop(ip("2001:db8:1::7")).await, by("2001:db8::11", 1500));
        // The route goes, and another comes.
        shell("ip route del 198.51.100.0/24");
        site.unresolved("198.51.100.7", "no route", SECOND).await;
        shell("ip route add 198.51.100.0/24 via 192.0.2.12");
        site.resolved("198.51.100.7", SERVER, SECOND).await;
        assert_eq!(site.netlink.next_hop(ip("198.51.100.7")).await, by("192.0.2.12", 1500));
        // The interface's own MTU is followed as a hop is.
        shell("ip link set eth0 mtu 1460");
        let narrow = by("192.0.2.12", 1460);
        site.wait("the new MTU", SECOND, |event| match event {
            NetEvent::NextHop { address, next_hop } => *address == ip("198.51.100.7") && *next_hop == narrow,
            _ => false,
        })
        .await;
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn own_addresses_are_local_and_what_has_no_way_says_why() {
    with_site(async |site| {
        let addresses = site.netlink.addresses().await.unwrap();
        let eth0 = site.netlink.link("eth0").await.unwrap().unwrap();
        for own in ["192.0.2.1", "2001:db8::1"] {
            assert!(addresses.contains(&(eth0.ifindex, ip(own))), "{addresses:?}");
            assert_eq!(site.netlink.next_hop(ip(own)).await, NextHop::Local);
        }
        shell("ip route add unreachable 198.51.100.1");
        shell("ip route add blackhole 198.51.100.2");
        shell("ip route add 198.51.100.3 dev lo");
        shell("ip route add unreachable 2001:db8:9::1");
        let words = [
            ("203.0.113.1", "no route"),
            ("2001:db8:8::1", "no route"),
            ("198.51.100.1", "unreachable"),
            ("2001:db8:9::1", "unreachable"),
            ("198.51.100.2", "blackhole"),
            ("198.51.100.3", "MAC"),
            ("192.0.2.255", "broadcast"),
        ];
        for (address, words) in words {
            let why = why(site.netlink.next_hop(ip(address)).await);
            assert!(why.contains(words), "{address}: {why}");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_silently_changed_mac_is_followed_within_a_second() {
    with_site(async |mut site| {
        for (watched, control) in [("192.0.2.11", "192.0.2.12"), ("2001:db8::11", "2001:db8::12")] {
            site.watch(&[watched]);
            site.server.move_to(SERVER);
            site.resolved(watched, SERVER, 5 * SECOND).await;
            let mut before = SERVER;
            for round in 0..5u8 {
                // Every round begins elsewhere between two probes.
                tokio::time::sleep(Duration::from_millis(600 + 130 * u64::from(round))).await;
                // Nobody watches this one: it shows whether the change was announced.
                shell(&format!(
                    "ip neighbour replace {control} dev eth0 nud reachable lladdr {}",
                    text(before)
                ));
                let mac = [2, 0, 0, 0, 1, round];
                site.server.move_to(mac);
                let took = site.resolved(watched, mac, SECOND).await;
                println!("{watched} followed after {took:?}");
                match site.netlink.next_hop(ip(control)).await {
                    NextHop::Resolved { mac, .. } => assert_eq!(mac, before, "the change was not silent"),
                    other => panic!("{control}: {other:?}"),
                }
                before = mac;
            }
        }
    });
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_neighbour_that_vanishes_is_unresolved_until_it_is_back() {
    with_site(async |mut site| {
        site.watch(&["192.0.2.11", "192.0.2.12", "192.0.2.99"]);
        site.resolved("192.0.2.11", SERVER, SECOND).await;
        // A neighbour that never was: its first result came with the others'.
        assert!(why(site.netlink.next_hop(ip("192.0.2.99")).await).contains("192.0.2.99"));
        site.during(4 * SECOND).await;
        site.server.shell("ip address del 192.0.2.11/24 dev eth1; ip address replace 192.0.2.12/24 dev eth1");
        let took = site.unresolved("192.0.2.11", "ARP", GIVEN_UP).await;
        assert!(took > SECOND, "given up after {took:?}: one lost answer would do that");
        let events = site.during(4 * SECOND).await;
        let repeats: Vec<_> = events.iter().filter(|e| matches!(e, NetEvent::NextHop { .. })).collect();
        assert!(repeats.is_empty(), "{repeats:?}");
        site.server.shell("ip address add 192.0.2.11/24 dev eth1");
        site.resolved("192.0.2.11", SERVER, 2 * SECOND).await;
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn interfaces_are_followed_through_down_rename_and_removal() {
    with_site(async |mut site| {
        let eth0 = site.netlink.link("eth0").await.unwrap().unwrap();
        assert_eq!((eth0.mac, eth0.mtu, eth0.state), (Some([2, 0, 0, 0, 0, 1]), 1500, LinkState::Up));
        let links = site.netlink.links().await.unwrap();
        assert!(links.contains(&eth0));
        assert_eq!(links.iter().find(|link| link.name == "lo").unwrap().mac, None);
        for none in ["eth9", "", "a-name-of-more-than-fifteen-bytes"] {
            assert_eq!(site.netlink.link(none).await.unwrap(), None, "{none}");
        }

        site.watch(&["192.0.2.11"]);
        site.resolved("192.0.2.11", SERVER, SECOND).await;
        shell("ip link set eth0 down");
        let down = super::Link { state: LinkState::Down, ..eth0.clone() };
        site.wait("eth0 down", SECOND, |event| *event == NetEvent::Link(down.clone())).await;
        site.unresolved("192.0.2.11", "", SECOND).await;
        shell("ip link set eth0 name wan");
        let renamed = super::Link { name: "wan".into(), ..down };
        site.wait("rename", SECOND, |event| *event == NetEvent::Link(renamed.clone())).await;
        shell("ip link set wan up");
        site.resolved("192.0.2.11", SERVER, 2 * SECOND).await;
        // Without carrier the route stays.
        site.server.shell("ip link set eth1 down");
        site.unresolved("192.0.2.11", "down", 2 * SECOND).await;
        site.server.shell("ip link set eth1 up");
        site.resolved("192.0.2.11", SERVER, 3 * SECOND).await;
        shell("ip address add 192.0.2.2/24 dev wan");
        site.wait("addresses", SECOND, |event| *event == NetEvent::Addresses).await;
        shell("ip link del wan");
        let (mut gone, mut unresolved) = (false, false);
        site.wait("removal, and what it does to the next hop", SECOND, |event| {
            gone |= *event == NetEvent::LinkGone { ifindex: eth0.ifindex };
            unresolved |= matches!(event, NetEvent::NextHop { next_hop: NextHop::Unresolved { .. }, .. });
            gone && unresolved
        })
        .await;
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn leaving_a_bridge_is_not_going() {
    with_site(async |mut site| {
        shell("ip link add br0 type bridge; ip link set eth0 master br0");
        shell("ip link set eth0 nomaster; ip link set eth0 mtu 1480");
        let mut gone = Vec::new();
        site.wait("mtu", SECOND, |event| match event {
            NetEvent::LinkGone { ifindex } => {
                gone.push(*ifindex);
                false
            }
            NetEvent::Link(link) => link.mtu == 1480,
            _ => false,
        })
        .await;
        assert!(gone.is_empty(), "{gone:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn permanent_neighbours_stay_what_they_are() {
    with_site(async |mut site| {
        shell("ip neighbour add 192.0.2.50 dev eth0 nud permanent lladdr 02:00:00:00:00:50");
        site.watch(&["192.0.2.50"]);
        site.resolved("192.0.2.50", [2, 0, 0, 0, 0, 0x50], SECOND).await;
        site.during(2 * SECOND).await;
        let entry = shell("ip neighbour show 192.0.2.50 dev eth0");
        assert!(entry.contains("PERMANENT") && entry.contains("02:00:00:00:00:50"), "{entry}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn probes_do_not_take_the_flag_of_a_router() {
    with_site(async |mut site| {
        site.server.shell("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        let entry = "2001:db8::11 dev eth0 lladdr 02:00:00:00:00:11 router nud reachable";
        shell(&format!("ip -6 neighbour replace {entry}"));
        // The monitor sees every state of the entry, each with its flags.
        let monitor = "timeout 3 ip -6 monitor neigh dev eth0 || true";
        let monitor = std::process::Command::new("sh")
            .args(["-c", monitor])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        tokio::time::sleep(SECOND / 2).await;
        site.watch(&["2001:db8::11"]);
        site.resolved("2001:db8::11", SERVER, SECOND).await;
        site.during(3 * SECOND).await;
        let output = String::from_utf8(monitor.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = output.lines().filter(|line| line.starts_with("2001:db8::11 ")).collect();
        assert!(lines.iter().any(|line| line.contains("PROBE")), "not probed: {output}");
        assert!(lines.iter().all(|line| line.contains("router")), "{output}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn lost_announcements_are_said_and_made_up_for() {
    with_site(async |mut site| {
        site.watch(&["192.0.2.11"]);
        site.resolved("192.0.2.11", SERVER, SECOND).await;
        // This blocks the test's only thread: nobody reads while some ten thousand announcements come. The
        // last of them, which concern the watched address, are lost for certain.
        let batch = "for a in $(seq 0 59); do for b in $(seq 1 250); do
            echo route add 198.18.$a.$b dev eth0; done; done | ip -batch -
            ip route add unreachable 192.0.2.11";
        shell(batch);
        site.wait("loss", 2 * SECOND, |event| *event == NetEvent::Lost).await;
        site.unresolved("192.0.2.11", "unreachable", 2 * SECOND).await;
    });
}

/// The interfaces' indices, and a question about addresses by all of them.
async fn ask(site: &mut Site, addresses: &[&str]) -> u32 {
    let eth0 = site.netlink.link("eth0").await.unwrap().unwrap();
    site.netlink.ask(addresses.iter().map(|a| ip(a)).collect(), [eth0.ifindex].into());
    eth0.ifindex
}

async fn responder(site: &mut Site, address: &str, expected: Responder, within: Duration) {
    let what = format!("{address}: {expected:?}");
    site.wait(&what, within, |event| match event {
        NetEvent::Responder { address: of, responder } => *of == ip(address) && *responder == expected,
        _ => false,
    })
    .await;
}

/// A round of questions, where the kernel has to ask twice.
const ROUND: Duration = Duration::from_secs(12);

#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_answers_for_an_address_is_found_out() {
    with_site(async |mut site| {
        site.server.shell("ip address add 203.0.113.5/32 dev eth1");
        let addresses =
            ["192.0.2.11", "192.0.2.99", "203.0.113.5", "203.0.113.6", "2001:db8::11", "2001:db8::99"];
        let ifindex = ask(&mut site, &addresses).await;
        let host = Responder::Host { mac: SERVER, ifindex };
        let mut found = std::collections::BTreeMap::new();
        site.wait("all answers", ROUND, |event| {
            if let NetEvent::Responder { address, responder } = event {
                found.insert(*address, *responder);
            }
            found.len() == addresses.len()
        })
        .await;
        for (address, expected) in [
            ("192.0.2.11", host),
            ("192.0.2.99", Responder::Nobody { on_link: true }),
            ("203.0.113.5", host),
            ("203.0.113.6", Responder::Nobody { on_link: false }),
            ("2001:db8::11", host),
            ("2001:db8::99", Responder::Nobody { on_link: true }),
        ] {
            assert_eq!(found.get(&ip(address)), Some(&expected), "{address}");
        }
        // A new one is asked about at once, not with the next round.
        site.server.shell("ip address add 192.0.2.77/24 dev eth1");
        let all: Vec<&str> = addresses.into_iter().chain(["192.0.2.77"]).collect();
        ask(&mut site, &all).await;
        responder(&mut site, "192.0.2.77", host, 2 * SECOND).await;
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_that_was_answered_for_and_went_is_noticed() {
    with_site(async |mut site| {
        let ifindex = ask(&mut site, &["192.0.2.12"]).await;
        responder(&mut site, "192.0.2.12", Responder::Host { mac: SERVER, ifindex }, ROUND).await;
        site.server.shell("ip address del 192.0.2.12/24 dev eth1");
        // What the kernel has heard counts as long as it holds it for reachable: that ends here at once.
        shell("ip neighbour change 192.0.2.12 dev eth0 nud stale");
        // The set without it, and with it, is a question anew.
        ask(&mut site, &[]).await;
        tokio::time::sleep(SECOND / 2).await;
        ask(&mut site, &["192.0.2.12"]).await;
        responder(&mut site, "192.0.2.12", Responder::Nobody { on_link: true }, ROUND).await;
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_slow_reader_costs_no_memory_and_loses_nothing_for_good() {
    with_site(async |mut site| {
        site.watch(&["192.0.2.11"]);
        site.resolved("192.0.2.11", SERVER, SECOND).await;
        // Nobody takes the events, while the runtime goes on and everything is read from the socket. The changes of
        // the interface fill the way to the reader, and hold the listener up; the routes come on top of that.
        let burst = "for i in $(seq 300); do echo link set eth0 mtu $((1400 + i % 100)); done | ip -batch -
            for a in $(seq 0 39); do for b in $(seq 1 250); do
            echo route add 198.18.$a.$b dev eth0; done; done | ip -batch -
            ip route add unreachable 192.0.2.11";
        // The thread is made by this one, and so in the same namespace.
        tokio::task::spawn_blocking(move || shell(burst)).await.unwrap();
        // The listener, let go, may look the address up before it hears of the loss.
        let (mut lost, mut unresolved) = (false, false);
        site.wait("the loss, and what was lost", 20 * SECOND, |event| {
            lost |= *event == NetEvent::Lost;
            unresolved |= matches!(event, NetEvent::NextHop { next_hop: NextHop::Unresolved { why }, .. }
                if why.contains("unreachable"));
            lost && unresolved
        })
        .await;
    });
}
