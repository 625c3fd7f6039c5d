//! Every map: key, value, writer, reader. Sizes here are the least; the daemon sets the real ones at
//! load. Layouts are `lb_common::abi`; names are at most 15 bytes (the kernel cuts them).

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf};
use lb_common::abi::{
    Bucket4, Bucket6, Counters, Counts, Destination, FwmarkKey, ICMP_BUCKETS, INTERFACES, IcmpBucket,
    Interface, Locality, LocalityKey, MARK_ELEMENTS, MarkRule, PREFILTER_BITS, REASONS, Schedule, Service,
    ServiceKey4, ServiceKey6, Settings,
};
use lb_common::sip::MAX_PAYLOAD;

/// IPv4 connection entries. Written by the program and by the daemon's sweep; entries leave by expiry.
#[map]
pub static CONNECTIONS4: Array<Bucket4> = Array::with_max_entries(256, BPF_F_MMAPABLE);
/// IPv6 connection entries.
#[map]
pub static CONNECTIONS6: Array<Bucket6> = Array::with_max_entries(256, BPF_F_MMAPABLE);
/// IPv4 persistence templates.
#[map]
pub static TEMPLATES4: Array<Bucket4> = Array::with_max_entries(256, BPF_F_MMAPABLE);
/// IPv6 persistence templates.
#[map]
pub static TEMPLATES6: Array<Bucket6> = Array::with_max_entries(256, BPF_F_MMAPABLE);
/// IPv4 virtual services. Written by the daemon.
#[map]
pub static SERVICES4: HashMap<ServiceKey4, Service> = HashMap::with_max_entries(64, 0);
/// IPv6 virtual services. Written by the daemon.
#[map]
pub static SERVICES6: HashMap<ServiceKey6, Service> = HashMap::with_max_entries(64, 0);
/// Virtual services of firewall marks. Written by the daemon.
#[map]
pub static FWMARKS: HashMap<FwmarkKey, Service> = HashMap::with_max_entries(64, 0);
/// Rules that give marks. Written by the daemon.
#[map]
pub static MARKS: Array<MarkRule> = Array::with_max_entries(MARK_ELEMENTS, BPF_F_MMAPABLE);
/// Scheduler tables: extents of destination ids. Written by the daemon.
#[map]
pub static SLOTS: Array<u32> = Array::with_max_entries(1024, BPF_F_MMAPABLE);
/// Destinations by id. Written by the daemon.
#[map]
pub static DESTINATIONS: Array<Destination> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// Connections of destinations, by id: atomic additions of the program and of the daemon's sweep.
#[map]
pub static COUNTS: Array<Counts> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// Counters of destinations, by id, one of each CPU. Written by the program.
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(64, 0);
/// Scheduler states by service id: compare-and-swap of the program; read by the daemon.
#[map]
pub static SCHEDULES: Array<Schedule> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// Addresses that lblc and lblcr remember, with their destinations. Written by the program; entries leave by the daemon,
/// as ip_vs_lblc.c and ip_vs_lblcr.c have it. Full: addresses go without.
#[map]
pub static LOCALITY: HashMap<LocalityKey, Locality> = HashMap::with_max_entries(64, BPF_F_NO_PREALLOC);
/// Settings: one element. Written by the daemon.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Interfaces by ifindex modulo their number. Written by the daemon.
#[map]
pub static IFACES: Array<Interface> = Array::with_max_entries(INTERFACES, BPF_F_MMAPABLE);
/// The prefilter's bitmap. Written by the daemon.
#[map]
pub static PREFILTER: Array<u64> = Array::with_max_entries(PREFILTER_BITS / 64, BPF_F_MMAPABLE);
/// Packets by reason, of each CPU. Written by the program.
#[map]
pub static REASON_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(REASONS, 0);
/// Token buckets of ICMP errors; after those of the clients the one of all clients, and the counter of
/// `drop_packet`. Written by the program.
#[map]
pub static ICMP_LIMITS: Array<IcmpBucket> = Array::with_max_entries(ICMP_BUCKETS + 2, 0);
/// The programs that are tail-called, by `lb_common::abi::programs`. Written by the daemon.
#[map]
pub static OPENERS: ProgramArray = ProgramArray::with_max_entries(lb_common::abi::programs::COUNT, 0);
/// Room for a connection that is being opened.
pub type Scratch = [u64; 48];
/// Room for connections that are being opened, IPv4 and IPv6, for a walk over slots, for a new element of map
/// `LOCALITY`, and for what one program hands to the next, of each CPU. Written by the program.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(5, 0);
/// The payload that a persistence engine reads, of each CPU. Written by the program.
#[map]
pub static PAYLOAD: PerCpuArray<Payload> = PerCpuArray::with_max_entries(1, 0);
/// Payload of one packet.
pub type Payload = [u8; MAX_PAYLOAD as usize];
/// Events to the daemon.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);
