//! Settings, counts and everything else the data path reads or writes beside tables of flows.

/// The director's settings: the one element of map `SETTINGS` (ARRAY, mmapable). Writer: the daemon.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// [`super::ABI_VERSION`].
    pub abi: u32,
    /// Ticks per second (the kernel's CONFIG_HZ).
    pub hz: u32,
    /// Changed whenever routes or neighbours change; replies find their next hop anew.
    pub route_generation: u32,
    /// [`settings_flags`].
    pub flags: u32,
    /// Mask of the IPv4 connection table's bucket number (buckets - 1).
    pub buckets4: u32,
    /// Mask of the IPv6 connection table's bucket number.
    pub buckets6: u32,
    /// Mask of the IPv4 template table's bucket number.
    pub templates4: u32,
    /// Mask of the IPv6 template table's bucket number.
    pub templates6: u32,
    /// Secret odd multipliers of the tables' hashes, drawn when the maps are made.
    pub seed: [u64; 4],
    /// The lists of rules that give marks, IPv4 and IPv6: first element in map `MARKS` in the high half,
    /// rules in the low one. A list is written where none is read, then its word is replaced
    /// ([`Self::mark_list`]).
    pub marks: [u64; 2],
    /// UDP timeout, ticks.
    pub udp_timeout: u32,
    /// TCP timeouts by state ([`crate::conn::tcp`]), ticks.
    pub tcp_timeouts: [u32; 16],
    /// SCTP timeouts by state, ticks.
    pub sctp_timeouts: [u32; 16],
    /// The three timeouts of `--set` as given, seconds: TCP, TCP FIN, UDP.
    pub timeouts_seconds: [u32; 3],
    /// `conn_reuse_mode`.
    pub reuse_mode: u32,
    /// ICMP errors a second for all clients together (`icmp_msgs_per_sec`).
    pub icmp_per_second: u32,
    /// Burst of the above (`icmp_msgs_burst`).
    pub icmp_burst: u32,
    /// Ticks per token of one client (`icmp_ratelimit`).
    pub icmp_interval: u32,
    /// Sixty seconds in ticks.
    pub minute: u32,
    /// `drop_entry`: 0 off, 1 armed, 2 armed and active, 3 always active.
    pub drop_entry: u32,
    /// `drop_packet`, as `drop_entry`.
    pub drop_packet: u32,
    /// `secure_tcp`, as `drop_entry`.
    pub secure_tcp: u32,
    /// `amemthresh`: pages of available memory below which memory is short.
    pub amemthresh: u32,
    /// `am_droprate`.
    pub am_droprate: u32,
    /// What `drop_packet` does now: one of so many packets that would open a connection is dropped, 0 for none.
    pub drop_rate: u32,
    /// Size of the tables of mh that have no size of their own; 0: the kernel's default.
    pub mh_table_size: u32,
    /// `lblc_expiration`, ticks: an address of lblc that was not used for so long is forgotten.
    pub lblc_expiration: u32,
    /// `lblcr_expiration`, ticks: the same of lblcr, and a set that did not change for so long loses its most
    /// loaded destination.
    pub lblcr_expiration: u32,
    /// Room for the settings of later versions.
    pub _reserved: [u32; 58],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            abi: super::ABI_VERSION,
            hz: 0,
            route_generation: 0,
            flags: 0,
            buckets4: 0,
            buckets6: 0,
            templates4: 0,
            templates6: 0,
            seed: [0; 4],
            marks: [0; 2],
            udp_timeout: 0,
            tcp_timeouts: [0; 16],
            sctp_timeouts: [0; 16],
            timeouts_seconds: [0; 3],
            reuse_mode: 1,
            icmp_per_second: 1000,
            icmp_burst: 50,
            icmp_interval: 0,
            minute: 0,
            drop_entry: 0,
            drop_packet: 0,
            secure_tcp: 0,
            amemthresh: 1024,
            am_droprate: 10,
            drop_rate: 0,
            mh_table_size: 0,
            lblc_expiration: 0,
            lblcr_expiration: 0,
            _reserved: [0; 58],
        }
    }
}

impl Settings {
    /// A word of [`Self::marks`].
    #[inline(always)]
    #[must_use]
    pub const fn mark_word(first: u32, rules: u32) -> u64 {
        (first as u64) << 32 | rules as u64
    }

    /// The list of rules of a family: first element, and how many.
    #[inline(always)]
    #[must_use]
    pub fn mark_list(&self, ipv6: bool) -> (u32, u32) {
        let [four, six] = &self.marks;
        // SAFETY: a reference is valid and aligned; one load, because the daemon may replace the word.
        let word = unsafe { super::load_u64(if ipv6 { six } else { four }) };
        ((word >> 32) as u32, word as u32)
    }
}

/// Bits of [`Settings::flags`].
pub mod settings_flags {
    /// A TCP service of port 21 exists (ip_vs_ctl.c: ftpsvc_counter).
    pub const FTP: u32 = 1;
    /// A service of port 0 exists (ip_vs_ctl.c: nullsvc_counter).
    pub const ANY_PORT: u32 = 2;
    /// The prefilter is off: a mark rule concerns more addresses than its bits tell apart.
    pub const NO_PREFILTER: u32 = 4;
    /// `sloppy_tcp`.
    pub const SLOPPY_TCP: u32 = 8;
    /// `expire_quiescent_template`.
    pub const EXPIRE_QUIESCENT_TEMPLATE: u32 = 16;
    /// `sloppy_sctp`.
    pub const SLOPPY_SCTP: u32 = 32;
    /// `secure_tcp` is active: TCP states go by the second table.
    pub const SECURE_TCP: u32 = 64;
    /// `expire_nodest_conn`.
    pub const EXPIRE_NODEST: u32 = 128;
    /// `expire_nodest_conn_udp` (ours): a datagram whose destination was removed is scheduled anew.
    pub const EXPIRE_NODEST_UDP: u32 = 256;
    /// `keep_extended_template` (ours): an extended template keeps its 60 s, as the kernel's does.
    pub const KEEP_EXTENDED_TEMPLATE: u32 = 512;
}

/// An interface of the director: element of map `INTERFACES` (ARRAY, mmapable), by ifindex modulo
/// [`super::INTERFACES`]. Writer: the daemon.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interface {
    /// Kernel index, 0: not in use.
    pub ifindex: u32,
    /// [`interface_flags`].
    pub flags: u32,
    /// MAC, also the source of frames that leave by it: first byte lowest, upper 16 bits 0.
    pub mac: u64,
    /// A second MAC that is ours (VRRP virtual MAC) in the same form, 0 where there is none.
    pub second_mac: u64,
    /// MTU, bytes of IP.
    pub mtu: u32,
    /// 0.
    pub _reserved: u32,
    /// Name, filled up with zeros, as two words in the order of memory.
    pub name: [u64; 2],
    /// 0.
    pub _room: [u64; 2],
}

/// Bits of [`Interface::flags`].
pub mod interface_flags {
    /// The program is attached there.
    pub const ATTACHED: u32 = 1;
}

/// Connections of one destination: element of map `COUNTS` (ARRAY, mmapable), by destination id.
/// Changed by atomic additions only, of the XDP program and of the daemon's sweep.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Active connections (ipvs-semantics §5.3).
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// 1 while it is over its upper threshold.
    pub overload: u32,
}

/// Counters of one destination on one CPU: element of map `COUNTERS` (PERCPU_ARRAY), by destination id.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Bytes of IP from clients.
    pub in_bytes: u64,
    /// Packets from the real server.
    pub out_packets: u64,
    /// Bytes of IP from the real server.
    pub out_bytes: u64,
    /// 0.
    pub _reserved: [u64; 3],
}

/// State of a scheduler: element of map `SCHEDULES` (ARRAY, mmapable), by service id.
///
/// Generation of the slots it speaks of in bits 48 to 63, position in the slots in bits 24 to 47
/// (the slot used last; all ones: before the first), current weight of wrr in bits 0 to 23.
/// Changed by compare-and-swap.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule(pub u64);

impl Schedule {
    /// The position before the first slot (the kernel's list head).
    pub const HEAD: u32 = 0x00ff_ffff;

    /// A state from its parts; position and weight are cut to 24 bits.
    #[inline(always)]
    #[must_use]
    pub const fn new(generation: u16, position: u32, weight: u32) -> Self {
        Self((generation as u64) << 48 | ((position & 0xff_ffff) as u64) << 24 | (weight & 0xff_ffff) as u64)
    }

    /// Generation of the slots.
    #[inline(always)]
    #[must_use]
    pub const fn generation(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The slot used last, [`Self::HEAD`] before the first.
    #[inline(always)]
    #[must_use]
    pub const fn position(self) -> u32 {
        (self.0 >> 24) as u32 & 0xff_ffff
    }

    /// Current weight of wrr.
    #[inline(always)]
    #[must_use]
    pub const fn weight(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }
}

/// A token bucket: element of map `ICMP_LIMITS` (ARRAY); element [`super::ICMP_BUCKETS`] is the one of all clients,
/// and of the one after it `tokens` are the packets that [`Settings::drop_rate`] let through since the last drop.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IcmpBucket {
    /// Tokens, ticks of one client; messages times ticks per second for all.
    pub tokens: u32,
    /// When tokens were added, ticks.
    pub last: u32,
}

/// Kinds of [`Event`].
pub mod event_kind {
    /// The next hop towards `address` by `ifindex` has no MAC: please resolve it.
    pub const NEIGHBOUR_WANTED: u32 = 1;
}

/// A record of map `EVENTS` (RINGBUF), to the daemon. Lost when the ring is full.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Event {
    /// [`event_kind`].
    pub kind: u32,
    /// Interface, 0 unknown.
    pub ifindex: u32,
    /// Address, network order (IPv4: the first four bytes).
    pub address: [u8; 16],
    /// 4 or 6.
    pub family: u32,
    /// 0.
    pub _pad: u32,
}
