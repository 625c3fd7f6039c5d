//! Next hops and changes against the kernel, in namespaces of the test's own.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_user::model::NextHop;
use lb_user::netlink::{LinkState, NetEvent, Netlink};
use support::{Namespace, pair};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// A director `192.0.2.1` and a real server `192.0.2.11`, both also 2001:db8::, on one link.
fn site() -> (Namespace, Namespace) {
    let (here, there) = pair();
    for (namespace, n) in [(&here, "1"), (&there, "11")] {
        namespace.run(&format!("ip addr add 192.0.2.{n}/24 dev eth0"));
        namespace.run(&format!("ip addr add 2001:db8::{n}/64 dev eth0"));
    }
    there.run("ip link set eth0 address 02:00:00:00:00:11");
    here.enter();
    (here, there)
}

fn within<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), test).await.unwrap() })
}

/// The next event that `wanted` takes something from.
async fn next<T>(events: &mut Receiver<NetEvent>, wanted: impl Fn(&NetEvent) -> Option<T>) -> T {
    loop {
        let event = events.recv().await.unwrap();
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

/// The director's address of the same family.
fn own(as_of: IpAddr) -> Option<IpAddr> {
    if as_of.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().ok()
}

async fn next_hop_of(events: &mut Receiver<NetEvent>, of: &str) -> NextHop {
    let of: IpAddr = of.parse().unwrap();
    next(events, |event| match event {
        NetEvent::NextHop { address, next_hop } if *address == of => Some(next_hop.clone()),
        _ => None,
    })
    .await
}

/// Waits for a next hop that is resolved; its MAC.
async fn mac_of(events: &mut Receiver<NetEvent>, of: &str) -> [u8; 6] {
    loop {
        if let NextHop::Resolved { mac, .. } = next_hop_of(events, of).await {
            return mac;
        }
    }
}

fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|a| a.parse().unwrap()).collect()
}

const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 0x11];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_next_hop_is_local_resolved_or_says_why_not() {
    let (here, there) = site();
    within(async {
        let netlink = Netlink::new().unwrap();
        assert_eq!(netlink.next_hop("192.0.2.1".parse().unwrap()).await, NextHop::Local);
        assert_eq!(netlink.next_hop("127.0.0.1".parse().unwrap()).await, NextHop::Local);
        assert_eq!(netlink.next_hop("2001:db8::1".parse().unwrap()).await, NextHop::Local);
        let eth0 = netlink.link("eth0").await.unwrap().unwrap();
        assert_eq!((eth0.mtu, eth0.state), (1500, LinkState::Up));
        assert!(eth0.mac.is_some());
        assert_eq!(netlink.link("eth9").await.unwrap(), None);
        let addresses = netlink.addresses().await.unwrap();
        assert!(addresses.contains(&(eth0.ifindex, "192.0.2.1".parse().unwrap())), "{addresses:?}");
        for address in ["192.0.2.11", "2001:db8::11"] {
            let address = address.parse().unwrap();
            // The first look makes the kernel ask.
            let begun = Instant::now();
            let resolved = loop {
                match netlink.next_hop(address).await {
                    NextHop::Unresolved { why } => assert!(why.contains("has not answered"), "{why}"),
                    resolved => break resolved,
                }
                assert!(begun.elapsed() < Duration::from_secs(2));
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            let expected = NextHop::Resolved {
                mac: SERVER,
                ifindex: eth0.ifindex,
                gateway: None,
                mtu: 1500,
                source: own(address),
            };
            assert_eq!(resolved, expected);
        }
        let unresolved = |hop| match hop {
            NextHop::Unresolved { why } => why,
            hop => panic!("{hop:?}"),
        };
        let why = unresolved(netlink.next_hop("203.0.113.1".parse().unwrap()).await);
        assert_eq!(why, "no route to 203.0.113.1");
        here.run("ip route add 203.0.113.0/24 via 192.0.2.11 mtu 1400");
        here.run("ip route add blackhole 198.51.100.0/24");
        let gateway = Some("192.0.2.11".parse().unwrap());
        let source = own("192.0.2.11".parse().unwrap());
        let expected = NextHop::Resolved { mac: SERVER, ifindex: eth0.ifindex, gateway, mtu: 1400, source };
        assert_eq!(netlink.next_hop("203.0.113.1".parse().unwrap()).await, expected);
        let why = unresolved(netlink.next_hop("198.51.100.1".parse().unwrap()).await);
        assert!(why.contains("blackhole"), "{why}");
        there.run("ip link set eth0 down");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let why = unresolved(netlink.next_hop("192.0.2.12".parse().unwrap()).await);
        assert!(why.contains("`eth0`") && why.contains("down"), "{why}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_changed_mac_is_followed_within_a_second() {
    let (_here, there) = site();
    within(async {
        let mut netlink = Netlink::new().unwrap();
        let mut events = netlink.events().unwrap();
        assert!(netlink.events().is_none());
        netlink.watch(set(&["192.0.2.11", "2001:db8::11"]));
        assert_eq!(mac_of(&mut events, "192.0.2.11").await, SERVER);
        for n in 0x21..0x26 {
            // In silence: no gratuitous ARP, no unsolicited advertisement.
            there.run(&format!("ip link set eth0 address 02:00:00:00:00:{n:02x}"));
            let begun = Instant::now();
            let mac = mac_of(&mut events, "192.0.2.11").await;
            assert_eq!(mac, [2, 0, 0, 0, 0, n]);
            assert!(begun.elapsed() < Duration::from_secs(1), "IPv4: {:?}", begun.elapsed());
            let began = begun;
            // The other family follows on its own.
            let mut six = [0; 6];
            while six != [2, 0, 0, 0, 0, n] {
                let known = netlink.next_hop("2001:db8::11".parse().unwrap()).await;
                if let NextHop::Resolved { mac, .. } = known {
                    six = mac;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(began.elapsed() < Duration::from_secs(1), "IPv6: {:?}", began.elapsed());
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_server_that_goes_away_and_comes_back_is_reported() {
    let (here, there) = site();
    within(async {
        let mut netlink = Netlink::new().unwrap();
        let mut events = netlink.events().unwrap();
        netlink.watch(set(&["192.0.2.11", "192.0.2.1"]));
        assert_eq!(next_hop_of(&mut events, "192.0.2.1").await, NextHop::Local);
        assert_eq!(mac_of(&mut events, "192.0.2.11").await, SERVER);
        // It no longer answers, on a link that stays up.
        there.run("ip addr del 192.0.2.11/24 dev eth0");
        let NextHop::Unresolved { why } = next_hop_of(&mut events, "192.0.2.11").await else {
            panic!("still there")
        };
        assert!(why.contains("does not answer ARP"), "{why}");
        there.run("ip addr add 192.0.2.11/24 dev eth0");
        let begun = Instant::now();
        assert_eq!(mac_of(&mut events, "192.0.2.11").await, SERVER);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        // Its route goes away, and comes back by another way.
        here.run("ip addr add 198.51.100.1/24 dev eth0");
        there.run("ip addr add 198.51.100.11/24 dev eth0");
        here.run("ip route add 192.0.2.11/32 via 198.51.100.11");
        loop {
            let hop = next_hop_of(&mut events, "192.0.2.11").await;
            if let NextHop::Resolved { gateway: Some(gateway), .. } = hop {
                assert_eq!(gateway, "198.51.100.11".parse::<IpAddr>().unwrap());
                break;
            }
        }
        here.run("ip link set eth0 down");
        assert!(matches!(next_hop_of(&mut events, "192.0.2.11").await, NextHop::Unresolved { .. }));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_neighbour_that_answers_is_not_reported_again_and_again() {
    let (_here, _there) = site();
    within(async {
        let mut netlink = Netlink::new().unwrap();
        let mut events = netlink.events().unwrap();
        netlink.watch(set(&["192.0.2.11"]));
        assert_eq!(mac_of(&mut events, "192.0.2.11").await, SERVER);
        let mut quiet = Vec::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
        while let Ok(Some(event)) = tokio::time::timeout_at(deadline, events.recv()).await {
            quiet.push(event);
        }
        quiet.retain(|event| matches!(event, NetEvent::NextHop { .. } | NetEvent::Neighbour { .. }));
        assert!(quiet.len() <= 1, "{quiet:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn changes_of_interfaces_addresses_and_routes_are_reported() {
    let (here, _there) = site();
    within(async {
        let mut netlink = Netlink::new().unwrap();
        let mut events = netlink.events().unwrap();
        // What is there beforehand is learnt in silence.
        tokio::time::sleep(Duration::from_millis(200)).await;
        here.run("ip link set eth0 mtu 1400");
        let link = next(&mut events, |event| match event {
            NetEvent::Link(link) if link.name == "eth0" => Some(link.clone()),
            _ => None,
        })
        .await;
        assert_eq!(link.mtu, 1400);
        here.run("ip addr add 198.51.100.1/32 dev lo");
        next(&mut events, |event| (*event == NetEvent::Addresses).then_some(())).await;
        here.run("ip route add 203.0.113.0/24 via 192.0.2.11");
        next(&mut events, |event| (*event == NetEvent::Routes).then_some(())).await;
        here.run("ip neigh add 192.0.2.77 dev eth0 lladdr 02:00:00:00:00:77");
        let mac = next(&mut events, |event| match event {
            NetEvent::Neighbour { address, mac, .. } if address.to_string() == "192.0.2.77" => Some(*mac),
            _ => None,
        })
        .await;
        assert_eq!(mac, Some([2, 0, 0, 0, 0, 0x77]));
        here.run("ip neigh del 192.0.2.77 dev eth0");
        let mac = next(&mut events, |event| match event {
            NetEvent::Neighbour { address, mac, .. } if address.to_string() == "192.0.2.77" => Some(*mac),
            _ => None,
        })
        .await;
        assert_eq!(mac, None);
        here.run("ip link del eth0");
        next(&mut events, |event| match event {
            NetEvent::LinkGone { ifindex } if *ifindex == link.ifindex => Some(()),
            _ => None,
        })
        .await;
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_leaves_a_bridge_is_not_gone() {
    let (here, _there) = site();
    within(async {
        let mut netlink = Netlink::new().unwrap();
        let mut events = netlink.events().unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        here.run("ip link add br0 type bridge");
        here.run("ip link set eth0 master br0");
        here.run("ip link set eth0 nomaster");
        here.run("ip link del br0");
        let eth0 = netlink.link("eth0").await.unwrap().unwrap().ifindex;
        let gone = next(&mut events, |event| match event {
            NetEvent::LinkGone { ifindex } => Some(*ifindex),
            _ => None,
        })
        .await;
        assert_ne!(gone, eth0, "only the bridge is");
    });
}
