//! The data path's adapter against the kernel: maps, programs, links.
#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use lb_common::abi::{Destination, Hop, MarkRule, Schedule, Service, destination_flags};
use lb_common::reason::Reason;
use lb_user::bpf::{
    AttachError, AttachMode, Clock, Dataplane, Listing, LoadError, Maps, ProgramName, Step, Sweeper,
    attached_interfaces, detach_all, remove_maps,
};
use lb_user::model::{Fwmark, Protocol, ServiceKey};
use lb_user::plan::{Capacity, MapOp};
use support::{Bpffs, Namespace, pair, run};

const XDP_PASS: u32 = 2;
/// One IPv4 rule at element 9.
const ONE_RULE: [u64; 2] = [9 << 32 | 1, 0];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn maps_are_made_once_and_adopted_afterwards() {
    let bpffs = Bpffs::new();
    let mut options = bpffs.options();
    let mut first = Dataplane::open(&options).unwrap();
    assert!(!first.adopted());
    let settings = first.maps().settings();
    assert_eq!((settings.abi, settings.hz), (lb_common::ABI_VERSION, first.clock().hz()));
    assert!(settings.seed.iter().all(|word| word % 2 == 1), "{:?}", settings.seed);
    assert_eq!(settings.tcp_timeouts[1], 900 * settings.hz);
    let now = first.clock().now();
    std::thread::sleep(Duration::from_millis(500));
    let passed = first.clock().now().wrapping_sub(now);
    assert!(passed.abs_diff(settings.hz / 2) <= settings.hz / 20 + 2, "{passed} ticks of {}", settings.hz);
    let ops = plan();
    first.execute(&ops).unwrap();
    drop(first);

    options.sizes.destinations = 4096;
    let second = Dataplane::open(&options).unwrap();
    assert!(second.adopted());
    assert_eq!(second.maps().settings(), lb_common::abi::Settings { marks: ONE_RULE, ..settings });
    let warnings = second.warnings().join("\n");
    assert!(warnings.contains("DESTINATIONS has 64 elements, the configuration asks for 4096"), "{warnings}");
    assert!(second.clock().now().wrapping_sub(now) >= settings.hz / 2, "one tick for both");
    assert_eq!(second.observe().unwrap().services.len(), 3);
}

/// A plan with one of everything.
fn plan() -> Vec<MapOp> {
    let value = Destination {
        flags: destination_flags::IN_USE | destination_flags::AVAILABLE,
        weight: 1,
        address: [192, 0, 2, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ..Default::default()
    };
    let service = |id| Box::new(Service { id, first_slot: 8 * id, slots: 2, ..Default::default() });
    let address = |a: &str| ServiceKey::Address { protocol: Protocol::Tcp, address: a.parse().unwrap() };
    vec![
        MapOp::PutDestination { id: 5, value: Box::new(value), fresh: true },
        MapOp::PutSlots { first: 0, ids: vec![5, 5] },
        MapOp::PutSlots { first: 8, ids: vec![5, 6] },
        MapOp::PutService { key: address("198.51.100.1:80"), value: service(0) },
        MapOp::PutService { key: address("[2001:db8::1]:80"), value: service(1) },
        MapOp::PutService { key: ServiceKey::Fwmark(Fwmark { mark: 7, ipv6: false }), value: service(2) },
        MapOp::PutMarks { first: 9, rules: [MarkRule { value: 7, ..Default::default() }].into() },
        MapOp::PutPrefilter { words: vec![(3, 0xff)] },
        MapOp::PutSettings { value: Box::new(lb_common::abi::Settings { marks: ONE_RULE, ..unchanged() }) },
    ]
}

/// Settings as they are made.
fn unchanged() -> lb_common::abi::Settings {
    let bpffs = Bpffs::new();
    Dataplane::open(&bpffs.options()).unwrap().maps().settings()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_executed_is_observed() {
    let bpffs = Bpffs::new();
    let mut dataplane = Dataplane::open(&bpffs.options()).unwrap();
    dataplane.execute(&plan()).unwrap();
    let observed = dataplane.observe().unwrap();
    assert_eq!(observed.destinations.len(), 1);
    let (id, destination) = observed.destinations[0];
    assert_eq!((id, destination.weight, destination.address[3]), (5, 1, 11));
    let keys: Vec<String> = observed.services.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["198.51.100.1:80/tcp", "[2001:db8::1]:80/tcp", "fwmark 7"]);
    assert_eq!(observed.slots, [vec![5, 5], vec![5, 6], vec![0, 0]]);
    assert_eq!(observed.schedules, [(0, Schedule(0)), (1, Schedule(0)), (2, Schedule(0))]);
    assert_eq!(observed.marks.each_ref().map(Vec::len), [1, 0]);
    assert_eq!(observed.marks[0][0].value, 7);
    assert_eq!(observed.prefilter[3], 0xff);
    assert_eq!(observed.capacity, Capacity { services: 16, destinations: 64, slots: 1024 });

    let hop = Hop::new([2, 0, 0, 0, 0, 9], 3);
    let gone = MapOp::RemoveService { key: observed.services[0].0 };
    let changes = [
        MapOp::SetWeight { id: 5, weight: 9 },
        MapOp::SetHop { id: 5, hop },
        MapOp::SetRemovedAt { id: 5, seconds: 12 },
        gone.clone(),
        gone,
    ];
    dataplane.execute(&changes).unwrap();
    // As lbadm sees it while lbd is down.
    let observed = Maps::open_pinned(&bpffs.options().maps_dir).unwrap().observe().unwrap();
    let (_, destination) = observed.destinations[0];
    assert_eq!((destination.weight, destination.hop, destination.removed_at), (9, hop, 12));
    assert_eq!(observed.services.len(), 2);
    assert!(dataplane.execute(&[MapOp::SetWeight { id: 64, weight: 1 }]).is_err());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_full_map_of_services_says_so() {
    let bpffs = Bpffs::new();
    let mut dataplane = Dataplane::open(&bpffs.options()).unwrap();
    let put = |port| MapOp::PutService {
        key: ServiceKey::Address { protocol: Protocol::Udp, address: ([192, 0, 2, 1], port).into() },
        value: Box::default(),
    };
    let ops: Vec<MapOp> = (1..=17).map(put).collect();
    let error = dataplane.execute(&ops).unwrap_err().to_string();
    assert!(error.contains("SERVICES4 is full"), "{error}");
    assert_eq!(dataplane.observe().unwrap().services.len(), 16);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pins_of_another_version_are_refused_and_unfinished_ones_made_anew() {
    let bpffs = Bpffs::new();
    let options = bpffs.options();
    let maps_dir = &options.maps_dir;
    drop(Dataplane::open(&options).unwrap());

    std::fs::remove_file(maps_dir.join("MARKS")).unwrap();
    let error = Dataplane::open(&options).err().unwrap();
    assert!(matches!(error, LoadError::MapMissing { map: "MARKS", .. }), "{error}");
    assert!(error.to_string().contains("lbadm detach"), "{error}");

    // A map of another kind in the place of one of ours.
    std::fs::rename(maps_dir.join("COUNTERS"), maps_dir.join("MARKS")).unwrap();
    let error = Dataplane::open(&options).err().unwrap();
    assert!(matches!(&error, LoadError::MapDiffers { what: "type", .. }), "{error}");

    std::fs::remove_file(maps_dir.join("MARKS")).unwrap();
    std::fs::remove_file(maps_dir.join("SETTINGS")).unwrap();
    let dataplane = Dataplane::open(&options).unwrap();
    assert!(!dataplane.adopted());
    assert!(dataplane.warnings().join("\n").contains("never finished"), "{:?}", dataplane.warnings());
    drop(dataplane);
    remove_maps(maps_dir).unwrap();
    assert!(matches!(Maps::open_pinned(maps_dir), Err(LoadError::NotPinned { .. })));
    remove_maps(maps_dir).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_place_outside_of_a_bpffs_is_refused() {
    let bpffs = Bpffs::new();
    let mut options = bpffs.options();
    options.maps_dir = "/tmp/lb-not-a-bpffs".into();
    let error = Dataplane::open(&options).err().unwrap();
    assert!(matches!(error, LoadError::NotBpffs { .. }), "{error}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_run_and_count() {
    let bpffs = Bpffs::new();
    let mut dataplane = Dataplane::open(&bpffs.options()).unwrap();
    let mut arp = [0xff; 60];
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let result = dataplane.run(&arp, 0, 3).unwrap();
    assert_eq!((result.action, result.frame), (XDP_PASS, arp.to_vec()));
    let reasons = dataplane.maps().reasons().unwrap();
    assert!(reasons.contains(&(Reason::NotIp, 3)), "{reasons:?}");
    let lo = nix::net::if_::if_nametoindex("lo").unwrap();
    assert_eq!(dataplane.run(&arp, lo, 1).unwrap().action, XDP_PASS, "with an interface");
    let result = dataplane.run_program(ProgramName::Empty, &arp, 0, 1000).unwrap();
    assert_eq!(result.action, 3);
    let behind = ProgramName::TAIL_CALLED.map(|(_, program)| program);
    for program in [ProgramName::Director].into_iter().chain(behind) {
        let facts = dataplane.facts(program).unwrap();
        assert!(facts.verified > 100 && facts.id != 0 && facts.machine_bytes > 0, "{facts:?}");
    }
    assert!(Clock::alone().unwrap().now().abs_diff(dataplane.clock().now()) <= 2);
    // Nothing is in the tables.
    let now = dataplane.clock().now();
    let mut sweeper = Sweeper::new();
    while sweeper.step(dataplane.maps(), now) == Step::More {}
    assert_eq!(sweeper.statistics(), &lb_user::bpf::PassStatistics::default());
    assert_eq!(Listing::new().next_chunk(dataplane.maps(), now, 100), []);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn links_are_pinned_adopted_and_taken_off() {
    let bpffs = Bpffs::new();
    let options = bpffs.options();
    let (here, _there) = pair();
    here.enter();
    let mut first = Dataplane::open(&options).unwrap();
    let attached = first.attach("eth0").unwrap();
    assert_eq!((attached.mode, attached.adopted, attached.refusal), (AttachMode::Native, false, None));
    drop(first);
    assert_eq!(program_on(&here), Some(attached.program), "goes on without its daemon");

    let mut second = Dataplane::open(&options).unwrap();
    let again = second.attach("eth0").unwrap();
    assert_eq!((again.mode, again.adopted), (AttachMode::Native, true));
    assert_ne!(again.program, attached.program);
    assert_eq!(program_on(&here), Some(again.program));
    assert_eq!(attached_interfaces(&options.links_dir).unwrap(), ["eth0"]);

    // Another director's data path on the same interface.
    let other = Bpffs::new();
    let error = Dataplane::open(&other.options()).unwrap().attach("eth0").unwrap_err();
    assert!(matches!(error, AttachError::Occupied { .. }), "{error}");
    assert_eq!(program_on(&here), Some(again.program));

    let error = second.attach("eth9").unwrap_err();
    assert!(matches!(error, AttachError::NoInterface { .. }), "{error}");

    second.detach("eth0").unwrap();
    assert_eq!(program_on(&here), None);
    second.detach("eth0").unwrap();
    let attached = second.attach("eth0").unwrap();
    assert!(!attached.adopted);
    assert_eq!(detach_all(&options.links_dir).unwrap(), ["eth0"]);
    assert_eq!(program_on(&here), None);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_made_anew_gets_a_new_link() {
    let bpffs = Bpffs::new();
    let (here, there) = pair();
    here.enter();
    let mut dataplane = Dataplane::open(&bpffs.options()).unwrap();
    let before = dataplane.attach("eth0").unwrap();
    here.run("ip link del eth0");
    run(&format!("ip link add eth0 netns {} type veth peer name eth0 netns {}", here.name(), there.name()));
    let after = dataplane.attach("eth0").unwrap();
    assert_ne!(after.ifindex, before.ifindex);
    assert!(!after.adopted);
    assert_eq!(program_on(&here), Some(after.program));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_driver_without_xdp_gets_the_generic_mode() {
    let bpffs = Bpffs::new();
    let here = Namespace::new();
    here.run("ip link add br0.7 type bridge");
    here.enter();
    let options = bpffs.options();
    let mut dataplane = Dataplane::open(&options).unwrap();
    let attached = dataplane.attach("br0.7").unwrap();
    assert_eq!(attached.mode.to_string(), "xdp generic");
    assert!(attached.refusal.is_some());
    let again = dataplane.attach("br0.7").unwrap();
    assert_eq!((again.mode, again.adopted), (AttachMode::Generic, true));
    assert_eq!(detach_all(&options.links_dir).unwrap(), ["br0.7"]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pin_of_another_namespace_is_not_taken_over() {
    let bpffs = Bpffs::new();
    let (here, there) = pair();
    let options = bpffs.options();
    here.enter();
    let mut dataplane = Dataplane::open(&options).unwrap();
    let mine = dataplane.attach("eth0").unwrap();
    there.enter();
    let theirs = dataplane.attach("eth0").unwrap();
    // The two ends of a pair made across namespaces may have the same index.
    assert!(!theirs.adopted, "{mine:?} {theirs:?}");
    assert_eq!(program_on(&there), Some(theirs.program));
}

/// The kernel id of the XDP program on `eth0`, as `ip link` tells.
fn program_on(namespace: &Namespace) -> Option<u32> {
    let output = std::process::Command::new("ip")
        .args(["-n", namespace.name(), "-details", "link", "show", "dev", "eth0"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace().skip_while(|word| *word != "prog/xdp");
    words.nth(2).map(|id| id.parse().unwrap())
}
