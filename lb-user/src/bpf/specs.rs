//! The maps of this version: names, kinds and sizes. What is pinned is held to this before it is used,
//! because aya 0.14 takes a pinned map whatever its parameters.

use aya::maps::MapType;
use lb_common::abi::{
    Bucket4, Bucket6, Counters, Counts, Destination, FwmarkKey, ICMP_BUCKETS, INTERFACES, IcmpBucket,
    Interface, Locality, LocalityKey, MARK_ELEMENTS, MarkRule, PREFILTER_BITS, REASONS, Schedule, Service,
    ServiceKey4, ServiceKey6, Settings, WAYS, programs,
};
use lb_common::flow_table::elements;

use super::Sizes;

/// BPF_F_MMAPABLE (include/uapi/linux/bpf.h).
const MMAPABLE: u32 = 1 << 10;

/// BPF_F_NO_PREALLOC: elements take memory when they come.
const NO_PREALLOC: u32 = 1;

/// Addresses that lblc and lblcr of all services remember: 14 MiB where they are in use.
const LOCALITIES: u32 = 65_536;

/// Smallest table of buckets.
const BUCKETS_MIN: u32 = 256;
/// Largest one: a slot's index, overflow buckets included, is 32 bits.
const BUCKETS_MAX: u32 = 1 << 28;

/// Bytes of map `EVENTS`.
const EVENTS_BYTES: u32 = 64 * 1024;

/// A map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spec {
    /// Name, of the object and of the pin.
    pub(super) name: &'static str,
    /// Type.
    pub(super) kind: MapType,
    /// Bytes of a key.
    pub(super) key: u32,
    /// Bytes of a value.
    pub(super) value: u32,
    /// Flags.
    pub(super) flags: u32,
    /// Elements.
    pub(super) elements: u32,
    /// Whether another number of elements can be lived with.
    pub(super) sizeable: bool,
}

/// Buckets of a table that is at most 3/8 full with so many entries, without its overflow buckets.
pub(super) fn buckets(connections: u32) -> u32 {
    let wanted = (u64::from(connections) * 8).div_ceil(3 * u64::from(WAYS));
    u32::try_from(wanted.next_power_of_two()).unwrap_or(BUCKETS_MAX).clamp(BUCKETS_MIN, BUCKETS_MAX)
}

/// Every map that is pinned, with the sizes that a configuration asks for. Maps `SCRATCH` and `PAYLOAD` are not:
/// nothing in them outlives a packet.
pub(super) fn specs(sizes: &Sizes) -> Vec<Spec> {
    let buckets4 = buckets(sizes.connections);
    let buckets6 = buckets(sizes.connections6.unwrap_or(sizes.connections / 4));
    let templates = |buckets: u32| (buckets / 2).max(BUCKETS_MIN);
    // Ids of services are one row of numbers for the three maps of services together.
    let schedules = sizes.services.saturating_mul(3);
    vec![
        array::<Bucket4>("CONNECTIONS4", MMAPABLE, elements(buckets4)).sized(),
        array::<Bucket6>("CONNECTIONS6", MMAPABLE, elements(buckets6)).sized(),
        array::<Bucket4>("TEMPLATES4", MMAPABLE, elements(templates(buckets4))).sized(),
        array::<Bucket6>("TEMPLATES6", MMAPABLE, elements(templates(buckets6))).sized(),
        hash::<ServiceKey4, Service>("SERVICES4", sizes.services).sized(),
        hash::<ServiceKey6, Service>("SERVICES6", sizes.services).sized(),
        hash::<FwmarkKey, Service>("FWMARKS", sizes.services).sized(),
        array::<MarkRule>("MARKS", MMAPABLE, MARK_ELEMENTS),
        array::<u32>("SLOTS", MMAPABLE, sizes.slots).sized(),
        array::<Destination>("DESTINATIONS", MMAPABLE, sizes.destinations).sized(),
        array::<Counts>("COUNTS", MMAPABLE, sizes.destinations).sized(),
        Spec { kind: MapType::PerCpuArray, ..array::<Counters>("COUNTERS", 0, sizes.destinations).sized() },
        array::<Schedule>("SCHEDULES", MMAPABLE, schedules).sized(),
        Spec { flags: NO_PREALLOC, ..hash::<LocalityKey, Locality>("LOCALITY", LOCALITIES) },
        array::<Settings>("SETTINGS", MMAPABLE, 1),
        array::<Interface>("IFACES", MMAPABLE, INTERFACES),
        array::<u64>("PREFILTER", MMAPABLE, PREFILTER_BITS / 64),
        Spec { kind: MapType::PerCpuArray, ..array::<u64>("REASON_COUNTS", 0, REASONS) },
        array::<IcmpBucket>("ICMP_LIMITS", 0, ICMP_BUCKETS + 2),
        Spec { kind: MapType::ProgramArray, ..array::<u32>("OPENERS", 0, programs::COUNT) },
        Spec { kind: MapType::RingBuf, key: 0, value: 0, ..array::<u32>("EVENTS", 0, EVENTS_BYTES) },
    ]
}

impl Spec {
    const fn sized(self) -> Self {
        Self { sizeable: true, ..self }
    }
}

const fn array<V>(name: &'static str, flags: u32, elements: u32) -> Spec {
    let value = size_of::<V>() as u32;
    Spec { name, kind: MapType::Array, key: 4, value, flags, elements, sizeable: false }
}

const fn hash<K, V>(name: &'static str, elements: u32) -> Spec {
    Spec { kind: MapType::Hash, key: size_of::<K>() as u32, ..array::<V>(name, 0, elements) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_three_eighths_of_the_slots_are_in_use() {
        for n in [1, 255, 256, 10_000, 262_144, 1_000_000, 16_000_000] {
            let slots = u64::from(buckets(n)) * u64::from(WAYS);
            assert!(u64::from(n) * 8 <= slots * 3, "{n}: {slots}");
            assert!(buckets(n).is_power_of_two());
        }
        assert_eq!(buckets(0), BUCKETS_MIN);
        assert_eq!(buckets(u32::MAX), BUCKETS_MAX);
    }

    #[test]
    fn names_fit_the_kernel_and_are_used_once() {
        let specs = specs(&Sizes::default());
        for spec in &specs {
            assert!(spec.name.len() <= 15, "{}", spec.name);
            assert_eq!(specs.iter().filter(|other| other.name == spec.name).count(), 1);
        }
    }
}
