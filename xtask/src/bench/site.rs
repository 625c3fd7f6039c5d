//! The director that is measured: its maps filled as the daemon would fill them, its programs loaded.

use std::{collections::BTreeMap, mem::offset_of};

use anyhow::{Context, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray, ProgramArray},
    programs::{ProgramFd, Xdp},
};
use lb_common::abi::programs::{
    ADMIT4, ADMIT6, ENCAP4, ENCAP6, ENGINE4, ENGINE6, OPEN4, OPEN6, OTHER4, OTHER6, RELATED4, RELATED6,
};
use lb_common::{
    abi::{Connection4, Counters, Counts, FlowKey4, Hop, Interface, Settings, WAYS, connection_flags},
    conn::tcp,
    family::{Family, Ports, V4, V6},
    flow_table::{Place, elements},
    hash,
    reason::Reason,
};

use super::{
    frames::{self, CLIENT, CLIENT_PORT, REAL, REAL_PORT, VIP, VIP6},
    meter,
    value::{self, Bytes, Value},
};

/// Port of the DR service of both families.
pub(super) const DR: u16 = 80;
/// Port of the NAT service.
pub(super) const NAT: u16 = 8080;
/// Port of the UDP service.
pub(super) const UDP: u16 = 53;
/// Port of the service whose destination is behind IPIP.
pub(super) const IPIP: u16 = 81;
/// Port of the service whose destination is behind GUE, and GUE's own.
pub(super) const GUE: u16 = 82;
/// Destinations of every service but NAT's and the tunnels', which have one: the frames from its real server are known so.
pub(super) const DESTINATIONS: u32 = 4;
/// Buckets of the IPv4 connection table: 2 M slots, a quarter of them in use with 512 K flows. The daemon plans for
/// three eighths at most.
pub(super) const BUCKETS: u32 = 1 << 19;
const FEW_BUCKETS: u32 = 1 << 14;
/// Entries that the yardstick's large table has room for: made for 512 K flows as well.
const MANY: u32 = 1 << 19;
/// Kernel index of the loopback device: a test run without context comes in by it.
const LOOPBACK: u32 = 1;
/// Multipliers of the hashes; any odd numbers do.
const SEED: [u64; 4] =
    [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0xD6E8_FEB8_6659_FD93];
const HZ: u32 = 1000;

/// Programs of the director, as in the shipped object.
pub(super) const DIRECTOR: [&str; 16] = [
    "director", "open4", "open6", "admit4", "admit6", "other4", "other6", "engine4", "engine6", "encap4",
    "encap6", "related4", "related6", "clock", "empty", "pass",
];
/// What is measured beside them.
const PROBES: [&str; 11] = [
    "again4",
    "again6",
    "anew4",
    "flows4",
    "unwrapped4",
    "lookup",
    "hit",
    "bucket",
    "parsed",
    "grown",
    "moved",
];

/// The loaded object and its maps.
pub(super) struct Site {
    ebpf: Ebpf,
    target: ProgramArray<MapData>,
    fds: BTreeMap<&'static str, ProgramFd>,
    original: Bytes<128>,
    pub(super) flows: Bytes<8>,
    pub(super) position: Bytes<16>,
    freed: Bytes<8>,
    connections: Bytes<256>,
    counts: Bytes<16>,
    counters: PerCpuArray<MapData, [u8; 64]>,
    reasons: PerCpuArray<MapData, u64>,
    pub(super) many: HashMap<MapData, [u8; 16], [u8; 48]>,
    buckets: u32,
    /// Keeps the openers' array, whose programs would go with it.
    _openers: ProgramArray<MapData>,
}

impl Site {
    /// Loads the object and configures its director. `small` leaves out the room for many flows.
    ///
    /// # Errors
    /// When the kernel refuses a map or a program, with the verifier's words.
    pub(super) fn open(object: &[u8], small: bool) -> Result<Self> {
        let buckets = if small { FEW_BUCKETS } else { BUCKETS };
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("CONNECTIONS4", elements(buckets))
            .map_max_entries("CONNECTIONS6", elements(FEW_BUCKETS))
            .map_max_entries("FLOWS", if small { 1 } else { super::flows::MOST })
            .map_max_entries("MANY", if small { 1024 } else { MANY })
            .load(object)
            .context("the maps of the eBPF object cannot be made")?;
        let mut fds = BTreeMap::new();
        for name in DIRECTOR.into_iter().chain(PROBES) {
            // An earlier object may lack a program that was added since; the case that needs it fails.
            let Ok(program) = program_mut(&mut ebpf, name) else { continue };
            program.load().with_context(|| format!("the kernel refuses program {name}"))?;
            fds.insert(name, program.fd()?.try_clone()?);
        }
        let mut openers = program_array(&mut ebpf, "OPENERS")?;
        for (place, name) in [
            (OPEN4, "open4"),
            (OPEN6, "open6"),
            (ADMIT4, "admit4"),
            (ADMIT6, "admit6"),
            (OTHER4, "other4"),
            (OTHER6, "other6"),
            (ENGINE4, "engine4"),
            (ENGINE6, "engine6"),
            (ENCAP4, "encap4"),
            (ENCAP6, "encap6"),
            (RELATED4, "related4"),
            (RELATED6, "related6"),
        ] {
            if let Some(fd) = fds.get(name) {
                openers.set(place, fd, 0)?;
            }
        }
        configure(&mut ebpf, buckets)?;
        let take =
            |ebpf: &mut Ebpf, name: &str| ebpf.take_map(name).with_context(|| format!("no map {name}"));
        let mut site = Self {
            target: program_array(&mut ebpf, "TARGET")?,
            fds,
            original: value::array(&mut ebpf, "ORIGINAL")?,
            flows: value::array(&mut ebpf, "FLOWS")?,
            position: value::array(&mut ebpf, "POSITION")?,
            freed: value::array(&mut ebpf, "FREED")?,
            connections: value::array(&mut ebpf, "CONNECTIONS4")?,
            counts: value::array(&mut ebpf, "COUNTS")?,
            counters: PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)?,
            reasons: PerCpuArray::try_from(take(&mut ebpf, "REASON_COUNTS")?)?,
            many: HashMap::try_from(take(&mut ebpf, "MANY")?)?,
            buckets,
            ebpf,
            _openers: openers,
        };
        let mut one: HashMap<MapData, [u8; 16], [u8; 48]> = HashMap::try_from(take(&mut site.ebpf, "ONE")?)?;
        one.insert(key_bytes((CLIENT, CLIENT_PORT), (VIP, DR)), [0; 48], 0)?;
        Ok(site)
    }

    /// A loaded program.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn program(&self, name: &str) -> Result<&Xdp> {
        let program =
            self.ebpf.program(name).with_context(|| format!("the eBPF object has no program {name}"))?;
        Ok(program.try_into()?)
    }

    /// Runs a program by itself; nanoseconds a run.
    ///
    /// # Errors
    /// When it does not return XDP_TX.
    pub(super) fn alone(&self, program: &str, frame: &[u8], repeat: u32) -> Result<f64> {
        let (nanoseconds, action) = meter::time(self.program(program)?, frame, repeat)?;
        if action != XDP_TX {
            bail!("program {program} returned {action}");
        }
        Ok(nanoseconds)
    }

    /// Runs `target` by way of `feeder`, which puts the frame back each time; nanoseconds a run and the last action.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn fed(
        &mut self,
        feeder: &str,
        target: &str,
        frame: &[u8],
        repeat: u32,
    ) -> Result<(f64, u32)> {
        let fd = self.fds.get(target).with_context(|| format!("no program {target}"))?;
        self.target.set(0, fd, 0)?;
        self.original.set(0, Value::<128>::new().with(0, frame).0, 0)?;
        meter::time(self.program(feeder)?, frame, repeat)
    }

    /// The same with a frame that `target` puts `overhead` bytes in front of, which are taken away again each time.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn unwrapped(
        &mut self,
        target: &str,
        frame: &[u8],
        overhead: u16,
        repeat: u32,
    ) -> Result<(f64, u32)> {
        let fd = self.fds.get(target).with_context(|| format!("no program {target}"))?;
        self.target.set(0, fd, 0)?;
        self.original.set(0, Value::<128>::new().with(0, frame).0, 0)?;
        self.position.set(0, Value::<16>::new().u64(0, overhead.into()).0, 0)?;
        let wrapped = [vec![0; overhead.into()], frame.to_vec()].concat();
        meter::time(self.program("unwrapped4")?, &wrapped, repeat)
    }

    /// Packets forwarded so far, both ways, all destinations.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub(super) fn forwarded(&self) -> Result<u64> {
        let mut sum = 0;
        for id in 0..DESTINATIONS * 3 + 3 {
            for cpu in self.counters.get(&id, 0)?.iter() {
                for at in [offset_of!(Counters, in_packets), offset_of!(Counters, out_packets)] {
                    sum += word(cpu, at);
                }
            }
        }
        Ok(sum)
    }

    /// Packets that went to the stack or away for `reason` so far.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub(super) fn refused(&self, reason: Reason) -> Result<u64> {
        Ok(self.reasons.get(&(reason as u32), 0)?.iter().sum())
    }

    /// What was refused so far, for an error.
    pub(super) fn refusals(&self) -> String {
        let named = Reason::ALL.iter().filter_map(|&reason| {
            let n = self.refused(reason).ok().filter(|&n| n > 0)?;
            Some(format!("{} {n}", reason.name()))
        });
        named.collect::<Vec<_>>().join(", ")
    }

    /// Active connections of the destinations of the DR service.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub(super) fn active(&self) -> Result<u64> {
        (0..DESTINATIONS)
            .map(|id| Ok(word(&self.counts.get(&id, 0)?, offset_of!(Counts, active)) & 0xffff_ffff))
            .sum()
    }

    /// Empties the connection table and the counts.
    ///
    /// # Errors
    /// When a map cannot be written.
    pub(super) fn clear(&mut self) -> Result<()> {
        for bucket in 0..elements(self.buckets) {
            self.connections.set(bucket, [0; 256], 0)?;
        }
        for id in 0..DESTINATIONS * 3 + 3 {
            self.counts.set(id, [0; 16], 0)?;
        }
        Ok(())
    }

    /// Tells feeder `anew4` whose connection to free.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub(super) fn free_between_runs(&mut self, keys: [FlowKey4; 2]) -> Result<()> {
        let buckets = keys.map(|key| self.place(&key).home.to_ne_bytes()).concat();
        self.freed.set(0, Value::<8>::new().with(0, &buckets).0, 0)?;
        Ok(())
    }

    fn place(&self, key: &FlowKey4) -> Place {
        Place::new(V4::hash(key, &SEED), self.buckets - 1)
    }

    /// Gives the reply entry of the NAT connection its next hop, as the first packet does where there is a route.
    ///
    /// # Errors
    /// When there is no such entry.
    pub(super) fn know_the_way_back(&mut self) -> Result<()> {
        let key = flow((REAL, REAL_PORT), (CLIENT, CLIENT_PORT), 6);
        let bucket = self.place(&key).home;
        let mut bytes = self.connections.get(&bucket, 0)?;
        let size = size_of::<Connection4>();
        let is_it = |at: usize| {
            word(&bytes, at + offset_of!(Connection4, key)) == key.addresses
                && word(&bytes, at + offset_of!(Connection4, key) + 8) == key.rest
        };
        let way = (0..WAYS as usize).map(|way| way * size).find(|&at| is_it(at));
        let way = way.context("the NAT connection has no reply entry")?;
        let flags = connection_flags::REPLY | connection_flags::HOP_KNOWN;
        bytes = Value(bytes)
            .with(way + offset_of!(Connection4, flags), &flags.to_ne_bytes())
            .u64(way + offset_of!(Connection4, link), hop().0)
            .0;
        self.connections.set(bucket, bytes, 0)?;
        Ok(())
    }
}

/// `XDP_PASS` and `XDP_TX` (include/uapi/linux/bpf.h).
pub(super) const XDP_PASS: u32 = 2;
pub(super) const XDP_TX: u32 = 3;

/// The key of a flow.
pub(super) fn flow(from: ([u8; 4], u16), to: ([u8; 4], u16), protocol: u8) -> FlowKey4 {
    V4::key(from.0, to.0, Ports::new(from.1, to.1), protocol)
}

/// The same as the yardstick's tables hold it.
pub(super) fn key_bytes(from: ([u8; 4], u16), to: ([u8; 4], u16)) -> [u8; 16] {
    let key = flow(from, to, 6);
    Value::<16>::new().u64(0, key.addresses).u64(8, key.rest).0
}

/// The double word at `at`; 0 past the end.
fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    word.map_or(0, u64::from_ne_bytes)
}

/// The next hop of every destination.
pub(super) fn hop() -> Hop {
    Hop::new(frames::NEXT, LOOPBACK as u16)
}

fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the eBPF object has no program {name}"))?;
    Ok(program.try_into()?)
}

fn program_array(ebpf: &mut Ebpf, name: &str) -> Result<ProgramArray<MapData>> {
    let map = ebpf.take_map(name).with_context(|| format!("the eBPF object has no map {name}"))?;
    Ok(ProgramArray::try_from(map)?)
}

/// Writes settings, interface, prefilter, services and destinations.
fn configure(ebpf: &mut Ebpf, buckets: u32) -> Result<()> {
    let seed: Vec<u8> = SEED.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let timeouts: Vec<u8> =
        tcp::TIMEOUTS.iter().flat_map(|seconds| (seconds * HZ * 60).to_ne_bytes()).collect();
    let settings = Value::<{ size_of::<Settings>() }>::new()
        .u32(offset_of!(Settings, abi), lb_common::ABI_VERSION)
        .u32(offset_of!(Settings, hz), HZ)
        .u32(offset_of!(Settings, buckets4), buckets - 1)
        .u32(offset_of!(Settings, buckets6), FEW_BUCKETS - 1)
        .with(offset_of!(Settings, seed), &seed)
        .with(offset_of!(Settings, tcp_timeouts), &timeouts)
        .u32(offset_of!(Settings, udp_timeout), 300 * HZ * 60)
        .u32(offset_of!(Settings, reuse_mode), 1);
    value::array(ebpf, "SETTINGS")?.set(0, settings.0, 0)?;

    let [a, b, c, d, e, f] = frames::OURS;
    let interface = Value::<{ size_of::<Interface>() }>::new()
        .u32(offset_of!(Interface, ifindex), LOOPBACK)
        .u64(offset_of!(Interface, mac), u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
        .u32(offset_of!(Interface, mtu), 1500);
    value::array(ebpf, "IFACES")?.set(LOOPBACK, interface.0, 0)?;

    let mut prefilter: Bytes<8> = value::array(ebpf, "PREFILTER")?;
    let vip6 = V6::fold(lb_common::family::words(VIP6));
    for folded in [V4::fold(VIP), V4::fold(REAL), vip6] {
        let bit = hash::prefilter_bit(folded);
        let old = u64::from_ne_bytes(prefilter.get(&(bit >> 6), 0)?);
        prefilter.set(bit >> 6, (old | 1 << (bit & 63)).to_ne_bytes(), 0)?;
    }
    super::services::write(ebpf)
}
