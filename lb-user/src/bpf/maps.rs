//! The maps, open and typed.

use std::os::fd::AsFd as _;
use std::path::Path;

use aya::maps::{HashMap, Map, MapData, PerCpuArray, ProgramArray};
use aya::programs::ProgramFd;
use lb_common::abi::{
    Bucket4, Bucket6, Counters, Counts, Destination, FwmarkKey, Interface, Locality, LocalityKey, MarkRule,
    Schedule, Service, ServiceKey4, ServiceKey6, Settings, WAYS,
};
use lb_common::flow_table;
use lb_common::reason::Reason;

use super::mapped::{Element, Mapped, Shared};
use super::pins::{self, Pinned};
use super::specs::{Spec, specs};
use super::{LoadError, MapError, Sizes};

/// The maps that lie in our address space.
pub(super) struct Memory {
    pub(super) connections4: Mapped<Bucket4>,
    pub(super) connections6: Mapped<Bucket6>,
    pub(super) templates4: Mapped<Bucket4>,
    pub(super) templates6: Mapped<Bucket6>,
    pub(super) slots: Mapped<u32>,
    pub(super) destinations: Mapped<Destination>,
    pub(super) counts: Mapped<Counts>,
    pub(super) schedules: Mapped<Schedule>,
    pub(super) settings: Mapped<Settings>,
    pub(super) interfaces: Mapped<Interface>,
    pub(super) prefilter: Mapped<u64>,
    pub(super) marks: Mapped<MarkRule>,
}

/// A HASH of services.
pub(super) type Services<K> = HashMap<MapData, Element<K>, Element<Service>>;

/// Every map of a data path, open and, where it can be, mapped.
pub struct Maps {
    pub(super) memory: Memory,
    pub(super) services4: Services<ServiceKey4>,
    pub(super) services6: Services<ServiceKey6>,
    pub(super) fwmarks: Services<FwmarkKey>,
    /// The descriptor of the same map, which aya's type keeps to itself.
    pub(super) localities_data: MapData,
    pub(super) localities: HashMap<MapData, Element<LocalityKey>, Element<Locality>>,
    pub(super) counters: PerCpuArray<MapData, Element<Counters>>,
    reason_counts: PerCpuArray<MapData, u64>,
    openers: ProgramArray<MapData>,
    /// What the maps of services hold at most.
    pub(super) services: u32,
}

impl Maps {
    /// Opens pinned maps, for reading beside a daemon or without one; makes and loads nothing.
    ///
    /// # Errors
    /// [`LoadError`] where they are not there, or not of this version.
    pub fn open_pinned(maps_dir: &Path) -> Result<Self, LoadError> {
        let mut specs = specs(&Sizes::default());
        match pins::inspect(maps_dir, &specs)? {
            Pinned::Nothing => return Err(LoadError::NotPinned { path: maps_dir.to_path_buf() }),
            Pinned::Some { missing } => {
                return Err(LoadError::MapMissing { dir: maps_dir.to_path_buf(), map: missing });
            }
            Pinned::All(elements) => {
                for (spec, elements) in specs.iter_mut().zip(elements) {
                    spec.elements = elements;
                }
            }
        }
        Ok(Self::open(maps_dir, &specs)?)
    }

    /// Opens the pinned maps of a directory that was inspected.
    pub(super) fn open(dir: &Path, specs: &[Spec]) -> Result<Self, MapError> {
        let opener = Opener { dir, specs };
        Ok(Self {
            memory: Memory {
                connections4: opener.mapped("CONNECTIONS4")?,
                connections6: opener.mapped("CONNECTIONS6")?,
                templates4: opener.mapped("TEMPLATES4")?,
                templates6: opener.mapped("TEMPLATES6")?,
                slots: opener.mapped("SLOTS")?,
                destinations: opener.mapped("DESTINATIONS")?,
                counts: opener.mapped("COUNTS")?,
                schedules: opener.mapped("SCHEDULES")?,
                settings: opener.mapped("SETTINGS")?,
                interfaces: opener.mapped("IFACES")?,
                prefilter: opener.mapped("PREFILTER")?,
                marks: opener.mapped("MARKS")?,
            },
            services4: opener.typed("SERVICES4")?,
            services6: opener.typed("SERVICES6")?,
            fwmarks: opener.typed("FWMARKS")?,
            localities_data: opener.data("LOCALITY")?,
            localities: opener.typed("LOCALITY")?,
            counters: opener.typed("COUNTERS")?,
            reason_counts: opener.typed("REASON_COUNTS")?,
            openers: opener.typed("OPENERS")?,
            services: opener.elements("SERVICES4"),
        })
    }

    /// The layout version in pinned settings: 0 where they were never finished, `None` without any.
    pub(super) fn abi_of(dir: &Path) -> Result<Option<u32>, MapError> {
        if !dir.join("SETTINGS").exists() {
            return Ok(None);
        }
        let specs = specs(&Sizes::default());
        let settings: Mapped<Settings> = Opener { dir, specs: &specs }.mapped("SETTINGS")?;
        Ok(settings.read(0).map(|settings| settings.abi))
    }

    /// Masks of the tables' bucket numbers: IPv4 and IPv6 connections, IPv4 and IPv6 templates.
    pub(super) fn masks(&self) -> [u32; 4] {
        let Memory { connections4, connections6, templates4, templates6, .. } = &self.memory;
        [connections4.len(), connections6.len(), templates4.len(), templates6.len()].map(flow_table::mask)
    }

    /// Writes the settings of new maps, the version after everything else.
    pub(super) fn initialise(&self, settings: &Settings) {
        let unfinished = Settings { abi: 0, ..*settings };
        self.memory.settings.write(0, &unfinished);
        self.memory.settings.store32(0, 0, settings.abi);
    }

    /// Puts a program behind the director's tail calls.
    pub(super) fn set_opener(&mut self, place: u32, program: &ProgramFd) -> Result<(), MapError> {
        self.openers.set(place, program, 0).map_err(|error| access("write", "OPENERS", error))
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.memory.settings.read(0).unwrap_or_default()
    }

    /// Connections of a destination; `None` beyond the map's size.
    #[must_use]
    pub fn counts(&self, id: u32) -> Option<Counts> {
        self.memory.counts.read(id)
    }

    /// Counters of destinations, summed over the CPUs, in the order of `ids`. One system call each.
    ///
    /// # Errors
    /// [`MapError`] where one lies beyond the map.
    pub fn counters(&self, ids: &[u32]) -> Result<Vec<Counters>, MapError> {
        ids.iter()
            .map(|&id| {
                let of_cpus = self.counters.get(&id, 0).map_err(|error| access("read", "COUNTERS", error))?;
                Ok(of_cpus.iter().fold(Counters::default(), |sum, Element(cpu)| Counters {
                    connections: sum.connections.wrapping_add(cpu.connections),
                    in_packets: sum.in_packets.wrapping_add(cpu.in_packets),
                    in_bytes: sum.in_bytes.wrapping_add(cpu.in_bytes),
                    out_packets: sum.out_packets.wrapping_add(cpu.out_packets),
                    out_bytes: sum.out_bytes.wrapping_add(cpu.out_bytes),
                    _reserved: [0; 3],
                }))
            })
            .collect()
    }

    /// Packets of a destination so far, both directions, and its connections.
    pub(super) fn packets(&self, id: u32) -> Option<u64> {
        let counters = self.counters(&[id]).ok()?.pop()?;
        Some(counters.in_packets.wrapping_add(counters.out_packets).wrapping_add(counters.connections))
    }

    /// Packets by reason, summed over the CPUs, those of 0 too.
    ///
    /// # Errors
    /// [`MapError`] where the map cannot be read.
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>, MapError> {
        Reason::ALL
            .iter()
            .map(|&reason| {
                let of_cpus = self
                    .reason_counts
                    .get(&(reason as u32), 0)
                    .map_err(|error| access("read", "REASON_COUNTS", error))?;
                Ok((reason, of_cpus.iter().sum()))
            })
            .collect()
    }

    /// Slots of the IPv4 and of the IPv6 connection table, those of the overflow buckets included.
    #[must_use]
    pub fn connection_slots(&self) -> (u64, u64) {
        let slots = |buckets: u32| u64::from(buckets) * u64::from(WAYS);
        (slots(self.memory.connections4.len()), slots(self.memory.connections6.len()))
    }
}

/// An error of a system call on a map.
pub(super) fn access(doing: &'static str, map: &'static str, error: aya::maps::MapError) -> MapError {
    match error {
        aya::maps::MapError::OutOfBounds { index, max_entries: size } => {
            MapError::OutOfBounds { map, index, size }
        }
        error => MapError::Access { doing, map, source: Box::new(error) },
    }
}

/// Opens pinned maps of known sizes.
pub(super) struct Opener<'a> {
    /// Directory of the pins.
    pub(super) dir: &'a Path,
    /// What is there.
    pub(super) specs: &'a [Spec],
}

impl Opener<'_> {
    fn elements(&self, name: &'static str) -> u32 {
        self.specs.iter().find(|spec| spec.name == name).map_or(0, |spec| spec.elements)
    }

    fn data(&self, map: &'static str) -> Result<MapData, MapError> {
        let failed = |error: aya::maps::MapError| MapError::Open { map, source: Box::new(error) };
        MapData::from_pin(self.dir.join(map)).map_err(failed)
    }

    fn mapped<T: Shared>(&self, map: &'static str) -> Result<Mapped<T>, MapError> {
        let data = self.data(map)?;
        Mapped::of_map(data.fd().as_fd(), self.elements(map))
            .map_err(|error| MapError::Open { map, source: Box::new(error) })
    }

    pub(super) fn typed<T: TryFrom<Map, Error = aya::maps::MapError>>(
        &self,
        map: &'static str,
    ) -> Result<T, MapError> {
        let failed = |error: aya::maps::MapError| MapError::Open { map, source: Box::new(error) };
        Map::from_map_data(self.data(map)?).and_then(T::try_from).map_err(failed)
    }
}

#[cfg(test)]
impl Memory {
    /// Maps of this process alone: tables of so many buckets, and settings to go with them.
    pub(super) fn anonymous(buckets: u32, destinations: u32) -> Self {
        let elements = flow_table::elements(buckets);
        let memory = Self {
            connections4: Mapped::anonymous(elements),
            connections6: Mapped::anonymous(elements),
            templates4: Mapped::anonymous(elements),
            templates6: Mapped::anonymous(elements),
            slots: Mapped::anonymous(256),
            destinations: Mapped::anonymous(destinations),
            counts: Mapped::anonymous(destinations),
            schedules: Mapped::anonymous(16),
            settings: Mapped::anonymous(1),
            interfaces: Mapped::anonymous(lb_common::abi::INTERFACES),
            prefilter: Mapped::anonymous(lb_common::abi::PREFILTER_BITS / 64),
            marks: Mapped::anonymous(lb_common::abi::MARK_ELEMENTS),
        };
        let mask = buckets - 1;
        let mut tcp_timeouts = [0; 16];
        for (timeout, seconds) in tcp_timeouts.iter_mut().zip(lb_common::conn::tcp::TIMEOUTS) {
            *timeout = seconds * 1000;
        }
        let settings = Settings {
            hz: 1000,
            flags: lb_common::abi::settings_flags::NO_PREFILTER,
            buckets4: mask,
            buckets6: mask,
            templates4: mask,
            templates6: mask,
            seed: [
                0x9e37_79b9_7f4a_7c15,
                0xbf58_476d_1ce4_e5b9,
                0x94d0_49bb_1331_11eb,
                0xd6e8_feb8_6659_fd93,
            ],
            udp_timeout: 300_000,
            tcp_timeouts,
            minute: 60_000,
            ..Settings::default()
        };
        memory.settings.write(0, &settings).unwrap();
        memory
    }
}
