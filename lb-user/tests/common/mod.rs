//! The data path in the kernel, beside the same tables on the host: what the fixtures and the differential
//! test run on.
//!
//! Needs root and a bpffs; works in a network namespace of its own, so that the machine's routes and
//! neighbours have no part in it. Takes away what it pinned, also after a failure.
#![allow(dead_code, reason = "each of the test programs uses its part")]

#[path = "../../../lb-common/tests/shared/fixtures/mod.rs"]
pub(crate) mod fixtures;
#[path = "../../../lb-common/tests/shared/frames.rs"]
pub(crate) mod frames;
#[path = "../../../lb-common/tests/shared/random/mod.rs"]
pub(crate) mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::{Array, HashMap, Map, MapData};
use lb_common::abi::{
    Bucket4, Bucket6, FwmarkKey, ICMP_BUCKETS, IcmpBucket, Locality, LocalityKey, Memory, Plain, Schedule,
    ServiceKey4, ServiceKey6, destination_flags,
};
use lb_common::family::{Family as _, V6};
use lb_common::flow_table::elements;
use lb_common::limit;
use lb_common::reason::Reason;
use lb_common::run::Action;
use lb_common::tables::Tables as _;
use lb_common::testing::HostTables;
use lb_user::bpf::{Dataplane, OpenOptions, ProgramName, Run, Sizes, remove_maps};
use lb_user::model::{Fwmark, Protocol, ServiceKey};
use lb_user::plan::MapOp;
use nix::sched::{CloneFlags, unshare};

/// Destinations, services and slots: those of [`HostTables`].
const DESTINATIONS: u32 = 64;
const SERVICES: u32 = 64;
const SLOTS: u32 = 4096;
/// Buckets of the kernel's tables: the fewest there can be.
pub(crate) const BUCKETS: u32 = 256;

/// Interfaces that tests make.
const INTERFACES: [u16; 2] = [1, random::OTHER_IFINDEX as u16];

/// The pins of one test, taken away when it ends.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        Self(PathBuf::from(format!("/sys/fs/bpf/lb-test-{}-{n}", std::process::id())))
    }

    fn maps(&self) -> PathBuf {
        self.0.join("maps")
    }

    fn links(&self) -> PathBuf {
        self.0.join("links")
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = remove_maps(&self.maps());
        let _ = std::fs::remove_dir(self.links());
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The data path in the kernel.
pub(crate) struct Kernel {
    dataplane: Dataplane,
    connections4: Array<MapData, [u64; 32]>,
    connections6: Array<MapData, [u64; 64]>,
    templates4: Array<MapData, [u64; 32]>,
    templates6: Array<MapData, [u64; 64]>,
    settings: Array<MapData, [u64; 64]>,
    schedules: Array<MapData, [u64; 1]>,
    limits: Array<MapData, [u64; 1]>,
    localities: HashMap<MapData, [u32; 6], [u64; 18]>,
    /// Services in the maps.
    services: Vec<ServiceKey>,
    /// Destinations that were written.
    destinations: u32,
    /// Whether rules that give marks were written.
    marks: bool,
    /// Token buckets that were used.
    used: BTreeSet<u32>,
    /// Reasons counted before the tables were loaded.
    reasons: Vec<u64>,
    _pins: Pins,
}

fn array<const N: usize>(dir: &Path, name: &str) -> Array<MapData, [u64; N]> {
    let data = MapData::from_pin(dir.join(name)).unwrap();
    Array::try_from(Map::from_map_data(data).unwrap()).unwrap()
}

fn hash<const K: usize, const V: usize>(dir: &Path, name: &str) -> HashMap<MapData, [u32; K], [u64; V]> {
    let data = MapData::from_pin(dir.join(name)).unwrap();
    HashMap::try_from(Map::from_map_data(data).unwrap()).unwrap()
}

/// The words of a key of map `LOCALITY`.
fn locality_words(key: &LocalityKey) -> [u32; 6] {
    let word = |i: usize| u32::from_ne_bytes(key.address[4 * i..4 * i + 4].try_into().unwrap());
    [key.service, key.epoch, word(0), word(1), word(2), word(3)]
}

/// What of an element of map `LOCALITY` says something.
fn remembered(l: &Locality) -> (u32, u32, Vec<u64>) {
    (l.last_used, l.modified, l.members[..l.count as usize].to_vec())
}

/// Writes the buckets of a table with `mask` + 1 of them, and its overflow buckets.
fn write<T: Plain, const N: usize>(to: &mut Array<MapData, [u64; N]>, from: &Memory<T>, mask: u32) {
    for i in 0..elements(mask + 1) {
        let words: [u64; N] = from.read(i).unwrap().to_words().try_into().unwrap();
        to.set(i, words, 0).unwrap();
    }
}

/// Says what differs, if anything does.
fn compare<T: PartialEq + Debug>(what: &str, host: &T, kernel: &T) -> Result<(), String> {
    if host == kernel { Ok(()) } else { Err(format!("{what}:\n  host   {host:?}\n  kernel {kernel:?}")) }
}

/// Compares the buckets of a table, way by way in words.
fn compare_table<T: Plain + Debug, const N: usize>(
    what: &str,
    host: &Memory<T>,
    kernel: &Array<MapData, [u64; N]>,
    mask: u32,
) -> Result<(), String> {
    for i in 0..elements(mask + 1) {
        let (host, kernel) = (host.read(i).unwrap(), kernel.get(&i, 0).unwrap());
        if host.to_words() != kernel {
            return compare(
                &format!("bucket {i} of {what}"),
                &format!("{host:x?}"),
                &format!("{:x?}", T::from_words(&kernel)),
            );
        }
    }
    Ok(())
}

impl Kernel {
    /// Opens a data path of its own, in a network namespace of its own (this thread's from now on).
    pub(crate) fn open() -> Self {
        Self::with_room(DESTINATIONS, SLOTS)
    }

    /// The same with other numbers of destinations and slots ([`HostTables::with_room`]).
    pub(crate) fn with_room(destinations: u32, slots: u32) -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of its own: run as root");
        let pins = Pins::new();
        let options = OpenOptions {
            bpffs: PathBuf::from("/sys/fs/bpf"),
            maps_dir: pins.maps(),
            links_dir: pins.links(),
            sizes: Sizes { connections: 1, connections6: None, services: SERVICES, destinations, slots },
        };
        let dataplane = Dataplane::open(&options).expect("the data path in the kernel");
        let dir = pins.maps();
        let connections4 = array(&dir, "CONNECTIONS4");
        assert_eq!(connections4.len(), elements(BUCKETS));
        Self {
            dataplane,
            connections4,
            connections6: array(&dir, "CONNECTIONS6"),
            templates4: array(&dir, "TEMPLATES4"),
            templates6: array(&dir, "TEMPLATES6"),
            settings: array(&dir, "SETTINGS"),
            schedules: array(&dir, "SCHEDULES"),
            limits: array(&dir, "ICMP_LIMITS"),
            localities: hash(&dir, "LOCALITY"),
            services: Vec::new(),
            destinations: 0,
            marks: false,
            used: BTreeSet::new(),
            reasons: Vec::new(),
            _pins: pins,
        }
    }

    /// How many instructions this kernel's verifier looked at, of the programs that open connections: it gives up at a
    /// million.
    pub(crate) fn verified(&mut self) -> [u32; 3] {
        [ProgramName::Director, ProgramName::Open4, ProgramName::Open6]
            .map(|program| self.dataplane.facts(program).unwrap().verified)
    }

    /// Ticks a second of this kernel.
    pub(crate) fn hz(&self) -> u32 {
        self.dataplane.clock().hz()
    }

    /// Makes the maps those of the host; what the data path itself writes there must be untouched.
    pub(crate) fn load(&mut self, host: &HostTables) {
        self.put_flows(host);
        let words: [u64; 64] = host.settings.to_words().try_into().unwrap();
        self.settings.set(0, words, 0).unwrap();
        for id in 0..SERVICES {
            self.schedules.set(id, [host.schedule(id).0], 0).unwrap();
        }
        for index in std::mem::take(&mut self.used) {
            self.limits.set(index, [0], 0).unwrap();
        }
        self.configure(host, true);
        self.reasons = self.all_reasons();
    }

    /// Makes what the daemon writes as on the host, but for the settings; the destinations' counts start from 0
    /// where they are `fresh`.
    pub(crate) fn configure(&mut self, host: &HostTables, fresh: bool) {
        let mut ops: Vec<MapOp> = self.services.drain(..).map(|key| MapOp::RemoveService { key }).collect();
        let in_use =
            host.destinations.iter().filter(|d| d.flags & destination_flags::IN_USE != 0).count() as u32;
        for (id, value) in (0..in_use.max(self.destinations)).zip(&host.destinations) {
            ops.push(MapOp::PutDestination { id, value: Box::new(*value), fresh });
        }
        self.destinations = in_use;
        ops.push(MapOp::PutSlots { first: 0, ids: host.slots.clone() });
        if self.marks || !host.marks.is_empty() {
            ops.push(MapOp::PutMarks { first: 0, rules: host.marks.as_slice().into() });
        }
        self.marks = !host.marks.is_empty();
        ops.push(MapOp::PutPrefilter { words: (0..).zip(host.prefilter.iter().copied()).collect() });
        for index in INTERFACES {
            let value = host.interfaces.get(&u32::from(index)).copied().unwrap_or_default();
            ops.push(MapOp::PutInterface { index, value });
        }
        for (key, value) in services(host) {
            self.services.push(key);
            ops.push(MapOp::PutService { key, value: Box::new(value) });
        }
        self.execute(&ops);
    }

    /// Makes the tables of flows those of the host.
    pub(crate) fn put_flows(&mut self, host: &HostTables) {
        let settings = &host.settings;
        write(&mut self.connections4, &host.connections4, settings.buckets4);
        write(&mut self.connections6, &host.connections6, settings.buckets6);
        write(&mut self.templates4, &host.templates4, settings.templates4);
        write(&mut self.templates6, &host.templates6, settings.templates6);
        for (key, _) in self.dataplane.maps().localities().unwrap() {
            self.localities.remove(&locality_words(&key)).unwrap();
        }
        for (key, value) in host.localities() {
            let words: [u64; 18] = value.to_words().try_into().unwrap();
            self.localities.insert(locality_words(&key), words, 0).unwrap();
        }
    }

    /// Does what a plan says.
    pub(crate) fn execute(&mut self, ops: &[MapOp]) {
        self.dataplane.execute(ops).unwrap();
    }

    /// The tick now.
    pub(crate) fn tick(&mut self) -> u32 {
        let run = self.dataplane.run_program(ProgramName::Clock, &[0; 64], 0, 1).unwrap();
        u32::from_ne_bytes(run.frame[..4].try_into().unwrap())
    }

    /// Runs the director over a frame; the first and the last tick it can have seen.
    pub(crate) fn run(&mut self, frame: &[u8], ifindex: u32) -> (Run, u32, u32) {
        self.used.extend([ICMP_BUCKETS, ICMP_BUCKETS + 1, limit::bucket(source(frame))]);
        let first = self.tick();
        let run = self.dataplane.run(frame, ifindex, 1).unwrap();
        (run, first, self.tick())
    }

    /// Connections of each destination so far.
    pub(crate) fn connections(&self) -> Vec<u64> {
        let ids: Vec<u32> = (0..self.destinations).collect();
        self.dataplane.maps().counters(&ids).unwrap().iter().map(|c| c.connections).collect()
    }

    fn all_reasons(&self) -> Vec<u64> {
        self.dataplane.maps().reasons().unwrap().into_iter().map(|(_, n)| n).collect()
    }

    /// Packets by reason since the tables were loaded.
    pub(crate) fn reasons(&self) -> Vec<(Reason, u64)> {
        let counts = self.all_reasons().into_iter().zip(&self.reasons).map(|(now, before)| now - before);
        Reason::ALL.iter().copied().zip(counts).collect()
    }

    /// Whether the maps are as on the host.
    pub(crate) fn compare(&mut self, host: &HostTables) -> Result<(), String> {
        let reasons: Vec<_> = Reason::ALL.iter().copied().zip(host.reasons()).collect();
        let counted = |all: Vec<(Reason, u64)>| all.into_iter().filter(|(_, n)| *n != 0).collect::<Vec<_>>();
        compare("reasons", &counted(reasons), &counted(self.reasons()))?;
        let settings = &host.settings;
        compare_table("CONNECTIONS4", &host.connections4, &self.connections4, settings.buckets4)?;
        compare_table("CONNECTIONS6", &host.connections6, &self.connections6, settings.buckets6)?;
        compare_table("TEMPLATES4", &host.templates4, &self.templates4, settings.templates4)?;
        compare_table("TEMPLATES6", &host.templates6, &self.templates6, settings.templates6)?;
        let maps = self.dataplane.maps();
        let theirs: BTreeMap<_, _> =
            maps.localities().unwrap().iter().map(|(key, value)| (*key, remembered(value))).collect();
        let ours = host.localities().iter().map(|(key, value)| (*key, remembered(value))).collect();
        compare("localities", &ours, &theirs)?;
        let ids: Vec<u32> = (0..self.destinations).collect();
        for (&id, counters) in ids.iter().zip(maps.counters(&ids).unwrap()) {
            compare(&format!("counts of {id}"), &host.counts(id), &maps.counts(id).unwrap())?;
            compare(&format!("counters of {id}"), &host.counters(id), &counters)?;
        }
        for (_, service) in services(host) {
            let id = service.id;
            let kernel = Schedule(self.schedules.get(&id, 0).unwrap()[0]);
            compare(&format!("schedule of {id}"), &host.schedule(id), &kernel)?;
        }
        for index in &self.used {
            let kernel = IcmpBucket::from_words(&self.limits.get(index, 0).unwrap()).unwrap();
            compare(&format!("tokens of {index}"), &host.limit(*index), &kernel)?;
        }
        Ok(())
    }
}

/// The services of the host's maps, as a plan names them.
fn services(host: &HostTables) -> impl Iterator<Item = (ServiceKey, lb_common::abi::Service)> {
    let key = |address: IpAddr, port: [u8; 2], protocol| ServiceKey::Address {
        protocol: Protocol::from_number(protocol).unwrap(),
        address: SocketAddr::new(address, u16::from_be_bytes(port)),
    };
    let four = host.services4.iter().map(move |(k, v)| {
        let ServiceKey4 { address, port, protocol, .. } = *k;
        (key(address.into(), port, protocol), *v)
    });
    let six = host.services6.iter().map(move |(k, v)| {
        let ServiceKey6 { address, port, protocol, .. } = *k;
        (key(address.into(), port, protocol), *v)
    });
    let marks = host.fwmarks.iter().map(|(k, v)| {
        let FwmarkKey { mark, family } = *k;
        (ServiceKey::Fwmark(Fwmark { mark, ipv6: family == 6 }), *v)
    });
    four.chain(six).chain(marks)
}

/// Source address of a frame, folded to 32 bits.
fn source(frame: &[u8]) -> u32 {
    let word = |at: usize| frame.get(at..at + 8).map_or(0, |b| u64::from_ne_bytes(b.try_into().unwrap()));
    if frame.get(12) == Some(&0x86) { V6::fold([word(22), word(30)]) } else { word(26) as u32 }
}

/// XDP's number of an action (include/uapi/linux/bpf.h: enum xdp_action).
pub(crate) fn number(action: Action) -> u32 {
    match action {
        Action::Drop | Action::Admit | Action::Encapsulate(_) => 1,
        Action::Pass | Action::Open | Action::Other | Action::Related | Action::Engine => 2,
        Action::Transmit => 3,
        Action::Redirect(_) => 4,
    }
}

/// The layouts that the arrays above hold.
const _: () = assert!(size_of::<Bucket4>() == 32 * 8 && size_of::<Bucket6>() == 64 * 8);
