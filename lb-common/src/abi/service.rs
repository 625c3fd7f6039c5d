//! Virtual services, destinations and marks as the maps hold them.
//!
//! Writer: the daemon alone, by executing a plan. Readers: the XDP program, listings. The values carry
//! all that is configured, so that a restarted daemon finds every rule in the maps.

/// Key of map `SERVICES4` (HASH): a virtual service of IPv4.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServiceKey4 {
    /// Virtual address, network order.
    pub address: [u8; 4],
    /// Port, network order; 0 is every port.
    pub port: [u8; 2],
    /// IP protocol.
    pub protocol: u8,
    /// 0.
    pub _pad: u8,
}

/// Key of map `SERVICES6` (HASH): a virtual service of IPv6.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServiceKey6 {
    /// Virtual address, network order.
    pub address: [u8; 16],
    /// Port, network order; 0 is every port.
    pub port: [u8; 2],
    /// IP protocol.
    pub protocol: u8,
    /// 0.
    pub _pad: u8,
}

/// Key of map `FWMARKS` (HASH): a virtual service by firewall mark.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FwmarkKey {
    /// The mark, host order.
    pub mark: u32,
    /// 4 or 6.
    pub family: u32,
}

/// Bits of [`Service::flags`].
pub mod service_flags {
    /// Persistent service.
    pub const PERSISTENT: u8 = 1;
    /// One-packet scheduling.
    pub const ONE_PACKET: u8 = 2;
    /// The configuration file owns it; otherwise an operator does.
    pub const CONFIGURATION: u8 = 4;
    /// It is a service of a firewall mark.
    pub const FWMARK: u8 = 8;
}

/// Value of the service maps.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Service {
    /// Its id: index of map `SCHEDULES` and of the daemon's bookkeeping.
    pub id: u32,
    /// [`crate::sched::Scheduler`].
    pub scheduler: u8,
    /// Scheduler flags of `-b`: bits 0 to 2.
    pub scheduler_flags: u8,
    /// [`service_flags`].
    pub flags: u8,
    /// Number of the persistence engine, 0 for none.
    pub engine: u8,
    /// First slot of its extent in map `SLOTS`.
    pub first_slot: u32,
    /// Slots of its extent; 0: no destination.
    pub slots: u32,
    /// Schedulers: greatest common divisor of all weights above 0 (wrr), at least 1.
    pub weight_step: u32,
    /// Schedulers: greatest weight.
    pub weight_max: u32,
    /// [`super::Schedule`] to start from when the map's word is of another generation.
    pub start: u64,
    /// Persistence timeout, ticks.
    pub persistence: u32,
    /// Persistence timeout as configured, seconds.
    pub persistence_seconds: u32,
    /// Mask of the client address in templates, network order (IPv4: the first four bytes).
    pub netmask: [u8; 16],
    /// Firewall mark of the service, 0 otherwise.
    pub mark: u32,
    /// Prefix length of an IPv6 netmask, as configured.
    pub prefix: u32,
    /// A number of the scheduler's own. mh: size of its table as configured, 0 for the default
    /// ([`super::Settings::mh_table_size`]). lblc, lblcr: [`super::LocalityKey::epoch`]. The others: 0.
    pub scheduler_word: u32,
    /// 0.
    pub _reserved: u32,
}

/// Where a frame goes next: MAC of the next hop in the low 48 bits (first byte lowest), index of the
/// leaving [`super::Interface`] in the high 16. 0: unresolved.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hop(pub u64);

impl Hop {
    /// No next hop.
    pub const UNRESOLVED: Self = Self(0);

    /// A next hop from its parts.
    #[inline(always)]
    #[must_use]
    pub const fn new(mac: [u8; 6], interface: u16) -> Self {
        let [a, b, c, d, e, f] = mac;
        let [g, h] = interface.to_le_bytes();
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// MAC of the next hop.
    #[inline(always)]
    #[must_use]
    pub const fn mac(self) -> [u8; 6] {
        let [a, b, c, d, e, f, _, _] = self.0.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Index of the leaving interface in map `INTERFACES`.
    #[inline(always)]
    #[must_use]
    pub const fn interface(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// Whether it is known.
    #[inline(always)]
    #[must_use]
    pub const fn is_resolved(self) -> bool {
        self.0 != 0
    }
}

/// Bits of [`Destination::flags`].
pub mod destination_flags {
    /// In its service; cleared when it is removed (its entry then waits as trash).
    pub const AVAILABLE: u32 = 1;
    /// The director's own stack serves it.
    pub const LOCAL: u32 = 2;
    /// The configuration file owns it; otherwise an operator does.
    pub const CONFIGURATION: u32 = 4;
    /// The entry is in use (available or trash).
    pub const IN_USE: u32 = 8;
    /// The service is of a firewall mark.
    pub const FWMARK: u32 = 16;
    /// The service's clients speak IPv6.
    pub const SERVICE_IPV6: u32 = 32;
    /// A tunnel in whose openers the maximum segment size is lowered to what fits.
    pub const MSS_CLAMP: u32 = 1 << 16;
}

/// Bits of [`Destination::tunnel_flags`]; those above hold how many low bits of the outer source address vary by
/// flow, 0 to 32.
pub mod tunnel_flags {
    /// The encapsulation has a checksum (`--tun-csum`).
    pub const CHECKSUM: u8 = 1;
    /// The same, configured as `--tun-remcsum`: on the wire it is `--tun-csum`, because a packet that is forwarded
    /// has its own checksum complete (ip_vs_xmit.c: only CHECKSUM_PARTIAL is left to the far end).
    pub const REMOTE: u8 = 2;
    /// Shift of the number of varying bits.
    pub const VARYING: u8 = 2;
}

/// A destination of a virtual service: element of map `DESTINATIONS` (ARRAY, mmapable), by destination id.
///
/// `weight`, `last_weight`, `hop`, `mtu` and `flags` change in place, each by one aligned store; everything else is
/// written while no slot names the destination. What forwarding a packet reads lies in the first 64 bytes, one line of
/// the CPU's cache.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destination {
    /// Next hop.
    pub hop: Hop,
    /// [`destination_flags`].
    pub flags: u32,
    /// Weight, 0 quiesces.
    pub weight: u32,
    /// Address, network order (IPv4: the first four bytes).
    pub address: [u8; 16],
    /// Port, network order; 0 keeps the packet's.
    pub port: [u8; 2],
    /// 4 or 6.
    pub family: u8,
    /// [`crate::fwd::ForwardingMethod`].
    pub method: u8,
    /// MTU towards it (of the route, else of the leaving interface), bytes of IP; 0 where its way is not known, and
    /// of the director itself.
    pub mtu: u32,
    /// Outer source address of tunnels, network order, of the destination's family; all zeroes: unknown.
    pub tunnel_source: [u8; 16],
    /// UDP port of GUE, network order.
    pub tunnel_port: [u8; 2],
    /// Encapsulation: 0 ipip, 1 gue, 2 gre ([`crate::fwd::TunnelKind`]).
    pub tunnel_kind: u8,
    /// [`tunnel_flags`].
    pub tunnel_flags: u8,
    /// Upper threshold on all its connections, 0 for none.
    pub upper: u32,
    /// Lower threshold: the overload mark is taken off below it (0: below three quarters of the upper one).
    pub lower: u32,
    /// Id of its service; of trash: of the service it had.
    pub service: u32,
    /// Place in the walk order: greater numbers come first.
    pub order: u64,
    /// Key of its service, for finding it again as trash: virtual address, network order.
    pub service_address: [u8; 16],
    /// Port of its service, network order.
    pub service_port: [u8; 2],
    /// Protocol of its service.
    pub service_protocol: u8,
    /// 0.
    pub _pad: u8,
    /// Mark of its service.
    pub service_mark: u32,
    /// When it was removed (trash), seconds of CLOCK_BOOTTIME.
    pub removed_at: u64,
    /// The last weight that was not 0: the shares of mh are made of it (ip_vs.h: last_weight).
    pub last_weight: u32,
    /// 0.
    pub _pad2: u32,
    /// 0.
    pub _reserved: [u64; 1],
}

const _: () = assert!(core::mem::offset_of!(Destination, upper) == 60);
