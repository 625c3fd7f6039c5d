//! Packets through the kernel's programs, seen by the daemon's walk, listing and events.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::net::IpAddr;
use std::time::Duration;

use etherparse::PacketBuilder;
use lb_common::abi::{
    Counts, Destination, Hop, Interface, Schedule, Service, Settings, destination_flags, settings_flags,
};
use lb_common::sched::Scheduler;
use lb_user::bpf::{Dataplane, Listing, LocalityKeeper, Step, Sweeper};
use lb_user::model::{ForwardingMethod, Protocol, ServiceKey};
use lb_user::plan::MapOp;
use support::{Bpffs, pair};

const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const CLIENT: [u8; 4] = [203, 0, 113, 9];
const VIRTUAL: [u8; 4] = [198, 51, 100, 1];
const SERVER: [u8; 4] = [192, 0, 2, 11];

/// A NAT service with one destination, whose packets come and go by interface `ifindex`.
fn service(ifindex: u32, settings: Settings) -> Vec<MapOp> {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&SERVER);
    let destination = Destination {
        hop: Hop::new(SERVER_MAC, u16::try_from(ifindex).unwrap()),
        flags: destination_flags::IN_USE | destination_flags::AVAILABLE,
        weight: 1,
        address,
        port: 8080_u16.to_be_bytes(),
        family: 4,
        method: ForwardingMethod::Masq as u8,
        ..Default::default()
    };
    let service = Service {
        slots: 1,
        weight_step: 1,
        start: Schedule::new(1, Schedule::HEAD, 0).0,
        ..Default::default()
    };
    let interface = Interface {
        ifindex,
        flags: 1,
        mac: u64::from_le_bytes([2, 0, 0, 0, 0, 1, 0, 0]),
        mtu: 1500,
        ..Default::default()
    };
    let key = ServiceKey::Address { protocol: Protocol::Tcp, address: (VIRTUAL, 80).into() };
    let settings = Settings { flags: settings_flags::NO_PREFILTER, ..settings };
    vec![
        MapOp::PutInterface { index: u16::try_from(ifindex).unwrap(), value: interface },
        MapOp::PutDestination { id: 0, value: Box::new(destination), fresh: true },
        MapOp::PutSlots { first: 0, ids: vec![0] },
        MapOp::PutService { key, value: Box::new(service) },
        MapOp::PutSettings { value: Box::new(settings) },
    ]
}

/// A segment of the client's.
fn segment(syn: bool) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], MAC).ipv4(CLIENT, VIRTUAL, 64);
    let tcp = builder.tcp(4000, 80, 1, 1000);
    let mut bytes = Vec::new();
    if syn { tcp.syn() } else { tcp.ack(1) }.write(&mut bytes, &[]).unwrap();
    bytes
}

/// The real server's answer.
fn answer() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(SERVER_MAC, MAC).ipv4(SERVER, CLIENT, 64);
    let mut bytes = Vec::new();
    builder.tcp(8080, 4000, 1, 1000).syn().ack(1).write(&mut bytes, &[]).unwrap();
    bytes
}

fn listed(dataplane: &Dataplane, now: u32) -> Vec<String> {
    let views = Listing::new().next_chunk(dataplane.maps(), now, 10);
    let text = |view: &lb_user::api::ConnectionView| {
        let (client, to, real) = (view.client, view.virtual_address, view.destination);
        format!("{client} {to} {real} {}", view.state)
    };
    views.iter().map(text).collect()
}

fn sweep(dataplane: &Dataplane, now: u32) -> u64 {
    let mut sweeper = Sweeper::new();
    while sweeper.step(dataplane.maps(), now) == Step::More {}
    sweeper.statistics().live4
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_connection_of_the_kernel_is_listed_counted_and_taken_away() {
    let bpffs = Bpffs::new();
    let options = bpffs.options();
    let (here, _there) = pair();
    here.enter();
    let ifindex = nix::net::if_::if_nametoindex("eth0").unwrap();
    let mut dataplane = Dataplane::open(&options).unwrap();
    let settings = dataplane.maps().settings();
    dataplane.execute(&service(ifindex, settings)).unwrap();

    let opened = dataplane.run(&segment(true), ifindex, 1).unwrap();
    assert_eq!(opened.action, XDP_TX);
    assert_eq!(opened.frame[..6], SERVER_MAC);
    let now = dataplane.clock().now();
    assert_eq!(listed(&dataplane, now), ["203.0.113.9:4000 198.51.100.1:80 192.0.2.11:8080 SYN_RECV"]);
    dataplane.run(&segment(false), ifindex, 3).unwrap();
    let counts = dataplane.maps().counts(0).unwrap();
    assert_eq!(counts, Counts { active: 1, ..Counts::default() });
    let counters = dataplane.maps().counters(&[0]).unwrap()[0];
    assert_eq!(counters.connections, 1);
    assert!(counters.in_packets >= 2, "{counters:?}");

    // A restarted lbd has it all.
    drop(dataplane);
    let mut dataplane = Dataplane::open(&options).unwrap();
    assert!(dataplane.adopted());
    assert_eq!(dataplane.maps().counters(&[0]).unwrap()[0], counters);
    let now = dataplane.clock().now();
    assert_eq!(listed(&dataplane, now), ["203.0.113.9:4000 198.51.100.1:80 192.0.2.11:8080 ESTABLISHED"]);
    assert_eq!(sweep(&dataplane, now), 2);
    let later = now.wrapping_add(901 * dataplane.clock().hz());
    assert_eq!(sweep(&dataplane, later), 0);
    assert_eq!(dataplane.maps().counts(0), Some(Counts::default()));
    assert_eq!(listed(&dataplane, now), Vec::<String>::new());

    // What comes next is a connection of its own, as if there had been none.
    dataplane.run(&segment(true), ifindex, 1).unwrap();
    assert_eq!(dataplane.maps().counters(&[0]).unwrap()[0].connections, 2);

    // Fresh: nothing is left of it.
    let fresh = MapOp::PutDestination { id: 0, value: Box::default(), fresh: true };
    dataplane.execute(&[fresh]).unwrap();
    assert_eq!(dataplane.maps().counters(&[0]).unwrap()[0].connections, 0);
    assert_eq!(dataplane.maps().counts(0), Some(Counts::default()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_program_asks_for_the_way_to_a_client() {
    let bpffs = Bpffs::new();
    let (here, _there) = pair();
    // A client on link that nobody has spoken to.
    here.run("ip addr add 203.0.113.1/24 dev eth0");
    here.run("sysctl -qw net.ipv4.conf.eth0.forwarding=1");
    here.enter();
    let ifindex = nix::net::if_::if_nametoindex("eth0").unwrap();
    let mut dataplane = Dataplane::open(&bpffs.options()).unwrap();
    let settings = dataplane.maps().settings();
    dataplane.execute(&service(ifindex, settings)).unwrap();
    assert_eq!(dataplane.run(&segment(true), ifindex, 1).unwrap().action, XDP_TX);
    // Whatever the client's opening packet taught is out of date.
    let now = dataplane.maps().settings();
    let value = Box::new(Settings { route_generation: now.route_generation + 1, ..now });
    dataplane.execute(&[MapOp::PutSettings { value }]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut events = dataplane.take_events().unwrap().unwrap();
        assert!(dataplane.take_events().unwrap().is_none());
        let action = dataplane.run(&answer(), ifindex, 1).unwrap().action;
        let wanted = tokio::time::timeout(Duration::from_secs(5), events.next()).await;
        let wanted = wanted.unwrap_or_else(|_| unreachable!("no event; action {action}")).unwrap();
        assert_eq!(wanted.address, IpAddr::from(CLIENT));
        assert!(action == XDP_DROP || action == XDP_TX, "{action}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_lblc_remembers_goes_with_its_service() {
    let bpffs = Bpffs::new();
    let (here, _there) = pair();
    here.enter();
    let ifindex = nix::net::if_::if_nametoindex("eth0").unwrap();
    let mut dataplane = Dataplane::open(&bpffs.options()).unwrap();
    let settings = dataplane.maps().settings();
    assert_eq!(settings.lblc_expiration, 24 * 60 * 60 * dataplane.clock().hz());
    let mut ops = service(ifindex, settings);
    for op in &mut ops {
        if let MapOp::PutService { value, .. } = op {
            (value.scheduler, value.scheduler_word) = (Scheduler::Lblc as u8, 7);
        }
    }
    dataplane.execute(&ops).unwrap();
    assert_eq!(dataplane.run(&segment(true), ifindex, 1).unwrap().action, XDP_TX);
    let remembered = dataplane.maps().localities().unwrap();
    let (key, value) = remembered[0];
    assert_eq!((remembered.len(), key.service, key.epoch), (1, 0, 7));
    assert_eq!((&key.address[..4], value.count, value.members[0]), (&VIRTUAL[..], 1, 0));

    // Its service is there: it stays. One of the same id, made anew: it goes.
    let keep = |dataplane: &mut Dataplane, epoch| {
        let services = [((0, epoch), settings.lblc_expiration)].into();
        dataplane.keep_localities(&mut LocalityKeeper::new(), &services).unwrap();
        dataplane.maps().localities().unwrap().len()
    };
    assert_eq!(keep(&mut dataplane, 7), 1);
    assert_eq!(keep(&mut dataplane, 8), 0);
}
