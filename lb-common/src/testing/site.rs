//! What the daemon would write: settings, services, destinations and their slots, for tests.

use super::HostTables;
use crate::abi::{
    Destination, FwmarkKey, Interface, MarkRule, Schedule, Service, ServiceKey4, ServiceKey6, Settings,
    destination_flags, interface_flags, mark_conditions, service_flags, settings_flags,
};
use crate::conn::{sctp, tcp};
use crate::family::{Family, V4, V6};
use crate::hash;
use crate::persist::EVERY_PORT;
use crate::sched::{HASH_SLOTS, MH_SIZES, Scheduler};

/// MAC of the interface 1 that [`HostTables::new`] makes.
pub const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Ticks a second.
const HZ: u32 = 250;
/// Services that have slots: a part of all for each.
const EXTENTS: u32 = 16;
/// Size of the tables of mh, where they must fit a small part.
const MH_SIZE: u32 = 251;

/// A service to make.
#[derive(Debug, Clone, Copy)]
pub struct ServiceSpec {
    /// How destinations are chosen.
    pub scheduler: Scheduler,
    /// Flags of `-b`.
    pub scheduler_flags: u8,
    /// Persistence timeout in ticks, 0 without.
    pub persistence: u32,
    /// Mask of the client's address in templates.
    pub netmask: [u8; 16],
    /// One-packet scheduling.
    pub one_packet: bool,
    /// Number of the persistence engine, 0 without.
    pub engine: u8,
}

impl ServiceSpec {
    /// A plain service.
    #[must_use]
    pub const fn new(scheduler: Scheduler) -> Self {
        Self {
            scheduler,
            scheduler_flags: 0,
            persistence: 0,
            netmask: [0xff; 16],
            one_packet: false,
            engine: 0,
        }
    }
}

/// Settings with the kernel's defaults, the prefilter on, and interface 1.
pub(super) fn prepare(tables: &mut HostTables, buckets: u32) {
    let mask = buckets.wrapping_sub(1);
    let mut tcp_timeouts = [0; 16];
    for (timeout, seconds) in tcp_timeouts.iter_mut().zip(tcp::TIMEOUTS) {
        *timeout = seconds * HZ;
    }
    let mut sctp_timeouts = [0; 16];
    for (timeout, seconds) in sctp_timeouts.iter_mut().zip(sctp::TIMEOUTS) {
        *timeout = seconds * HZ;
    }
    tables.settings = Settings {
        hz: HZ,
        buckets4: mask,
        buckets6: mask,
        templates4: mask,
        templates6: mask,
        seed: [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93],
        udp_timeout: 300 * HZ,
        tcp_timeouts,
        sctp_timeouts,
        icmp_interval: HZ,
        minute: 60 * HZ,
        ..Settings::default()
    };
    tables.add_interface(1, DIRECTOR_MAC);
    tables.set_now(1_000_000);
}

/// The slots of destinations (id, weight) in walk order (ipvs-semantics §3).
#[must_use]
pub fn fill(scheduler: Scheduler, members: &[(u32, u32)]) -> Vec<u32> {
    if !scheduler.is_hash() {
        return members.iter().map(|(id, _)| *id).collect();
    }
    if scheduler == Scheduler::Mh {
        let server = |(id, weight): &(u32, u32)| MhServer { id: *id, name: *id, last_weight: *weight };
        let servers: Vec<MhServer> = members.iter().map(server).collect();
        let size = MH_SIZES.into_iter().find(|size| servers.len() < *size as usize).unwrap_or(MH_SIZE);
        return mh_table(size, &servers);
    }
    let mut slots = Vec::new();
    while !members.is_empty() && slots.len() < HASH_SLOTS as usize {
        for (id, weight) in members {
            let share = if scheduler == Scheduler::Sh { (*weight).clamp(1, HASH_SLOTS) } else { 1 };
            slots.extend(core::iter::repeat_n(*id, share as usize));
        }
    }
    slots.truncate(HASH_SLOTS as usize);
    slots
}

/// A destination of a service of mh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MhServer {
    /// Its id.
    pub id: u32,
    /// What the hashes take: address folded to 32 bits in host order, plus port.
    pub name: u32,
    /// Its last weight above 0; 0 where it never had one.
    pub last_weight: u32,
}

/// The table of mh, slowly and by the book (Eisenbud and others, Maglev: A Fast and Reliable Software Network Load
/// Balancer, section 3.4): a whole permutation of the buckets for each destination, which take turns; with the turns of
/// ipvs-semantics section 3.2. Empty where no destination ever had a weight.
///
/// # Panics
/// If `size` is none of [`MH_SIZES`].
#[must_use]
pub fn mh_table(size: u32, servers: &[MhServer]) -> Vec<u32> {
    let known = MH_SIZES.iter().position(|s| *s == size);
    assert!(known.is_some(), "{size} is no size of mh");
    let bits = known.unwrap_or_default() + 8;
    let all: Vec<(u32, u32)> = servers.iter().map(|s| (s.id, s.last_weight)).collect();
    let (divisor, greatest) = weights(&all);
    if greatest == 0 {
        return Vec::new();
    }
    let width = usize::BITS - (greatest as usize / divisor as usize).leading_zeros();
    let shift = (width as usize).saturating_sub(bits / 2);
    let mut left: Vec<_> = servers
        .iter()
        .filter(|s| s.last_weight != 0)
        .map(|s| {
            let offset = u64::from(hash::mh_first(s.name) % size);
            let skip = u64::from(hash::mh_second(s.name) % (size - 1) + 1);
            let permutation =
                (0..u64::from(size)).map(move |j| ((offset + j * skip) % u64::from(size)) as usize);
            let turns = ((s.last_weight / divisor) as usize >> shift).max(1);
            (s.id, turns, permutation)
        })
        .collect();
    let mut table = vec![None; size as usize];
    let mut free = size;
    loop {
        for (id, turns, permutation) in &mut left {
            for _ in 0..*turns {
                if free == 0 {
                    return table.into_iter().flatten().collect();
                }
                let next = permutation.find(|bucket| table.get(*bucket).is_some_and(Option::is_none));
                if let Some(entry) = next.and_then(|bucket| table.get_mut(bucket)) {
                    *entry = Some(*id);
                    free -= 1;
                }
            }
        }
    }
}

/// Greatest common divisor of the weights above 0 (1 without), and the greatest weight.
#[must_use]
pub fn weights(members: &[(u32, u32)]) -> (u32, u32) {
    let max = members.iter().map(|(_, w)| *w).max().unwrap_or(0);
    let divides = |d: &u32| members.iter().all(|(_, w)| w.is_multiple_of(*d));
    (if max == 0 { 1 } else { (1..=max).rev().find(divides).unwrap_or(1) }, max)
}

/// The name of an interface as [`Interface::name`] has it.
#[must_use]
pub fn name_words(name: &str) -> [u64; 2] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    crate::family::words(bytes)
}

/// An address in the first bytes of sixteen as [`MarkRule`] has it.
#[must_use]
pub fn mark_words(address: [u8; 16]) -> [u64; 2] {
    let n = u128::from_be_bytes(address);
    [(n >> 64) as u64, n as u64]
}

/// A rule that gives `mark` to what goes to a network (IPv4: in the first bytes).
#[must_use]
pub fn mark_rule(network: [u8; 16], prefix: u32, mark: u32) -> MarkRule {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
    let destination_mask = mark_words(mask.to_be_bytes());
    MarkRule {
        conditions: mark_conditions::DESTINATION,
        value: mark,
        mask: u32::MAX,
        destination: mark_words((u128::from_be_bytes(network) & mask).to_be_bytes()),
        destination_mask,
        ..MarkRule::default()
    }
}

impl HostTables {
    /// Makes the interface of a kernel index; its name is `eth` and the index.
    pub fn add_interface(&mut self, ifindex: u32, mac: [u8; 6]) {
        let [a, b, c, d, e, f] = mac;
        let mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let name = name_words(&format!("eth{ifindex}"));
        let flags = interface_flags::ATTACHED;
        let interface = Interface { ifindex, flags, mac, mtu: 1500, name, ..Interface::default() };
        self.interfaces.insert(ifindex % crate::abi::INTERFACES, interface);
    }

    /// Writes a destination into the first element that is not in use; its id.
    pub fn add_destination(&mut self, destination: Destination) -> u32 {
        let free = |d: &Destination| d.flags & destination_flags::IN_USE == 0;
        let Some(id) = self.destinations.iter().position(free) else { return crate::abi::NONE };
        if let Some(element) = self.destinations.get_mut(id) {
            *element = destination;
            element.flags |= destination_flags::IN_USE | destination_flags::AVAILABLE;
        }
        let address = match destination.family {
            4 => V4::fold(V4::narrow(&destination.address)),
            _ => V6::fold(V6::narrow(&destination.address)),
        };
        self.concern(address);
        id as u32
    }

    /// Sets the prefilter's bit of an address folded to 32 bits.
    pub fn concern(&mut self, folded: u32) {
        let bit = hash::prefilter_bit(folded);
        if let Some(word) = self.prefilter.get_mut((bit >> 6) as usize) {
            *word |= 1 << (bit & 63);
        }
    }

    /// The value of a service of `id` with these destinations in walk order; writes its slots, and its
    /// scheduler starts from the beginning.
    fn value(&mut self, id: u32, spec: &ServiceSpec, members: &[u32]) -> Service {
        let weight = |id: &u32| self.destinations.get(*id as usize).map_or(0, |d| d.weight);
        let members: Vec<(u32, u32)> = members.iter().map(|id| (*id, weight(id))).collect();
        let (weight_step, weight_max) = weights(&members);
        let slots = fill(spec.scheduler, &members);
        let first_slot = id * (self.slots.len() as u32 / EXTENTS);
        for (member, _) in &members {
            if let Some(destination) = self.destinations.get_mut(*member as usize) {
                destination.service = id;
                // Greater numbers come first in the walk; each has one of its own.
                destination.order = u64::from(u32::MAX - *member);
            }
        }
        for (to, from) in self.slots.iter_mut().skip(first_slot as usize).zip(&slots) {
            *to = *from;
        }
        let mut flags = 0;
        if spec.persistence != 0 {
            flags |= service_flags::PERSISTENT;
        }
        if spec.one_packet {
            flags |= service_flags::ONE_PACKET;
        }
        Service {
            id,
            scheduler: spec.scheduler as u8,
            scheduler_flags: spec.scheduler_flags,
            flags,
            first_slot,
            slots: slots.len() as u32,
            weight_step,
            weight_max,
            start: Schedule::new(1, Schedule::HEAD, 0).0,
            persistence: spec.persistence,
            persistence_seconds: spec.persistence / HZ,
            netmask: spec.netmask,
            engine: spec.engine,
            ..Service::default()
        }
    }

    /// Makes an IPv4 service; port 0 is every port. `id` is below 16.
    pub fn add_service4(
        &mut self,
        id: u32,
        address: [u8; 4],
        port: u16,
        protocol: u8,
        spec: &ServiceSpec,
        members: &[u32],
    ) {
        let mut value = self.value(id, spec, members);
        self.note_port(port, &mut value);
        self.services4.insert(ServiceKey4 { address, port: port.to_be_bytes(), protocol, _pad: 0 }, value);
        self.concern(V4::fold(address));
    }

    /// Makes an IPv6 service.
    pub fn add_service6(
        &mut self,
        id: u32,
        address: [u8; 16],
        port: u16,
        protocol: u8,
        spec: &ServiceSpec,
        members: &[u32],
    ) {
        let mut value = self.value(id, spec, members);
        self.note_port(port, &mut value);
        self.services6.insert(ServiceKey6 { address, port: port.to_be_bytes(), protocol, _pad: 0 }, value);
        self.concern(V6::fold(V6::narrow(&address)));
    }

    /// Sets the rules that give marks, of IPv4 and of IPv6.
    pub fn set_marks(&mut self, four: &[MarkRule], six: &[MarkRule]) {
        self.marks = [four, six].concat();
        let (n, m) = (four.len() as u32, six.len() as u32);
        self.settings.marks = [Settings::mark_word(0, n), Settings::mark_word(n, m)];
    }

    /// Makes the service of a mark, which [`HostTables::set_marks`]' rules give.
    pub fn add_fwmark(&mut self, id: u32, mark: u32, family: u32, spec: &ServiceSpec, members: &[u32]) {
        let mut value = self.value(id, spec, members);
        value.flags |= service_flags::FWMARK;
        value.mark = mark;
        value.prefix |= EVERY_PORT;
        self.fwmarks.insert(FwmarkKey { mark, family }, value);
    }

    /// What a service's port means for it and for the settings.
    fn note_port(&mut self, port: u16, value: &mut Service) {
        match port {
            0 => self.settings.flags |= settings_flags::ANY_PORT,
            21 => self.settings.flags |= settings_flags::FTP,
            _ => return,
        }
        value.prefix |= EVERY_PORT;
    }
}
