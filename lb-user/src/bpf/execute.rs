//! Executes a plan's operations on the maps.

use std::mem::offset_of;

use aya::maps::MapError as AyaError;
use lb_common::abi::{Counters, Counts, Destination, Interface, MarkRule, Service, Settings};

use super::keys::MapKey;
use super::mapped::{Element, Mapped, Shared};
use super::maps::{Memory, Services, access};
use super::{MapError, Maps};
use crate::model::ServiceKey;
use crate::plan::MapOp;

impl Maps {
    /// Executes operations in order, each as its documentation says. An operation that was done before
    /// may be done again.
    ///
    /// # Errors
    /// [`MapError`] of the first operation that failed; those before it are done.
    pub fn execute(&mut self, ops: &[MapOp]) -> Result<(), MapError> {
        ops.iter().try_for_each(|op| self.one(op))
    }

    fn one(&mut self, op: &MapOp) -> Result<(), MapError> {
        match op {
            MapOp::PutDestination { id, value, fresh } => {
                if *fresh {
                    self.zero(*id)?;
                }
                self.memory.destinations.write(*id, value).ok_or_else(|| self.memory.no_destination(*id))
            }
            MapOp::SetFlags { id, flags } => {
                self.memory.set_destination32(*id, offset_of!(Destination, flags), *flags)
            }
            MapOp::SetWeight { id, weight } => {
                if *weight != 0 {
                    self.memory.set_destination32(*id, offset_of!(Destination, last_weight), *weight)?;
                }
                self.memory.set_destination32(*id, offset_of!(Destination, weight), *weight)
            }
            MapOp::SetOptions { id, value } => self.memory.set_options(*id, value),
            MapOp::SetHop { id, hop } => {
                self.memory.set_destination64(*id, offset_of!(Destination, hop), hop.0)
            }
            MapOp::SetMtu { id, mtu } => {
                self.memory.set_destination32(*id, offset_of!(Destination, mtu), *mtu)
            }
            MapOp::SetRemovedAt { id, seconds } => {
                self.memory.set_destination64(*id, offset_of!(Destination, removed_at), *seconds)
            }
            MapOp::PutSlots { first, ids } => self.memory.put_slots(*first, ids),
            MapOp::PutService { key, value } => self.put_service(key, value),
            MapOp::RemoveService { key } => self.remove_service(key),
            MapOp::PutMarks { first, rules } => self.memory.put_marks(*first, rules),
            MapOp::PutPrefilter { words } => words.iter().try_for_each(|(index, word)| {
                let prefilter = &self.memory.prefilter;
                prefilter.store64(*index, 0, *word).ok_or_else(|| outside("PREFILTER", *index, prefilter))
            }),
            MapOp::PutSettings { value } => {
                self.memory.put_settings(value);
                Ok(())
            }
            MapOp::PutInterface { index, value } => self.memory.put_interface(u32::from(*index), value),
        }
    }

    /// Sets counts and counters of a destination to 0.
    fn zero(&mut self, id: u32) -> Result<(), MapError> {
        let counts = &self.memory.counts;
        counts.write(id, &Counts::default()).ok_or_else(|| outside("COUNTS", id, counts))?;
        let of_cpus = self.counters.get(&id, 0).map_err(|error| access("read", "COUNTERS", error))?;
        let zeroes = vec![Element(Counters::default()); of_cpus.len()];
        let zeroes = aya::maps::PerCpuValues::try_from(zeroes)
            .map_err(|error| access("write", "COUNTERS", AyaError::IoError(error)))?;
        self.counters.set(id, zeroes, 0).map_err(|error| access("write", "COUNTERS", error))
    }

    fn put_service(&mut self, key: &ServiceKey, value: &Service) -> Result<(), MapError> {
        fn put<K: Shared>(
            map: &mut Services<K>,
            name: &'static str,
            key: K,
            value: &Service,
        ) -> Result<(), MapError> {
            map.insert(Element(key), Element(*value), 0).map_err(|error| match &error {
                AyaError::SyscallError(e) if e.io_error.raw_os_error() == Some(libc::E2BIG) => {
                    MapError::Full { map: name }
                }
                _ => access("write", name, error),
            })
        }
        match MapKey::from(key) {
            MapKey::V4(key) => put(&mut self.services4, "SERVICES4", key, value),
            MapKey::V6(key) => put(&mut self.services6, "SERVICES6", key, value),
            MapKey::Fwmark(key) => put(&mut self.fwmarks, "FWMARKS", key, value),
        }
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Result<(), MapError> {
        fn remove<K: Shared>(map: &mut Services<K>, name: &'static str, key: K) -> Result<(), MapError> {
            match map.remove(&Element(key)) {
                Err(AyaError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                Ok(()) | Err(AyaError::KeyNotFound) => Ok(()),
                Err(error) => Err(access("remove from", name, error)),
            }
        }
        match MapKey::from(key) {
            MapKey::V4(key) => remove(&mut self.services4, "SERVICES4", key),
            MapKey::V6(key) => remove(&mut self.services6, "SERVICES6", key),
            MapKey::Fwmark(key) => remove(&mut self.fwmarks, "FWMARKS", key),
        }
    }
}

/// The error of an index that a map does not have.
fn outside<T: Shared>(map: &'static str, index: u32, memory: &Mapped<T>) -> MapError {
    MapError::OutOfBounds { map, index, size: memory.len() }
}

impl Memory {
    fn no_destination(&self, id: u32) -> MapError {
        outside("DESTINATIONS", id, &self.destinations)
    }

    fn set_destination32(&self, id: u32, offset: usize, value: u32) -> Result<(), MapError> {
        self.destinations.store32(id, offset, value).ok_or_else(|| self.no_destination(id))
    }

    fn set_destination64(&self, id: u32, offset: usize, value: u64) -> Result<(), MapError> {
        self.destinations.store64(id, offset, value).ok_or_else(|| self.no_destination(id))
    }

    /// Stores what `-e` changes of a destination in use, and evaluates its overload mark anew.
    fn set_options(&self, id: u32, value: &Destination) -> Result<(), MapError> {
        let now = self.destinations.read(id).ok_or_else(|| self.no_destination(id))?;
        let merged = Destination {
            method: value.method,
            upper: value.upper,
            lower: value.lower,
            tunnel_kind: value.tunnel_kind,
            tunnel_port: value.tunnel_port,
            tunnel_flags: value.tunnel_flags,
            tunnel_source: value.tunnel_source,
            ..now
        };
        self.destinations.write(id, &merged).ok_or_else(|| self.no_destination(id))?;
        self.evaluate_overload(id, &merged);
        Ok(())
    }

    /// Sets or clears the overload mark of a destination by its counts (ip_vs_ctl.c:
    /// ip_vs_dest_update_overload); between the two thresholds it stays as it is.
    pub(super) fn evaluate_overload(&self, id: u32, destination: &Destination) {
        let Some(counts) = self.counts.read(id) else { return };
        let total = counts.active.wrapping_add(counts.inactive);
        let (upper, lower) = (destination.upper, destination.lower);
        let below = if lower != 0 { lower } else { upper - upper / 4 };
        let overload = if upper == 0 || total < below {
            0
        } else if total >= upper {
            1
        } else {
            return;
        };
        self.counts.store32(id, offset_of!(Counts, overload), overload);
    }

    fn put_slots(&self, first: u32, ids: &[u32]) -> Result<(), MapError> {
        (first..).zip(ids).try_for_each(|(slot, id)| {
            self.slots.store32(slot, 0, *id).ok_or_else(|| outside("SLOTS", slot, &self.slots))
        })
    }

    fn put_marks(&self, first: u32, rules: &[MarkRule]) -> Result<(), MapError> {
        (first..).zip(rules).try_for_each(|(index, rule)| {
            self.marks.write(index, rule).ok_or_else(|| outside("MARKS", index, &self.marks))
        })
    }

    /// Stores the settings that may change while packets pass; each word is whole for its readers.
    fn put_settings(&self, value: &Settings) {
        let Some(now) = self.settings.read(0) else { return };
        let merged = Settings {
            route_generation: value.route_generation,
            flags: value.flags,
            marks: value.marks,
            udp_timeout: value.udp_timeout,
            tcp_timeouts: value.tcp_timeouts,
            sctp_timeouts: value.sctp_timeouts,
            timeouts_seconds: value.timeouts_seconds,
            reuse_mode: value.reuse_mode,
            icmp_per_second: value.icmp_per_second,
            icmp_burst: value.icmp_burst,
            icmp_interval: value.icmp_interval,
            minute: value.minute,
            drop_entry: value.drop_entry,
            drop_packet: value.drop_packet,
            secure_tcp: value.secure_tcp,
            amemthresh: value.amemthresh,
            am_droprate: value.am_droprate,
            drop_rate: value.drop_rate,
            mh_table_size: value.mh_table_size,
            lblc_expiration: value.lblc_expiration,
            lblcr_expiration: value.lblcr_expiration,
            ..now
        };
        self.settings.write(0, &merged);
    }

    /// Writes an interface. Readers compare its index first, so that one that takes over the element of
    /// another is unknown while it is written.
    fn put_interface(&self, index: u32, value: &Interface) -> Result<(), MapError> {
        let now = self.interfaces.read(index).ok_or_else(|| outside("IFACES", index, &self.interfaces))?;
        if now.ifindex != value.ifindex {
            self.interfaces.store32(index, offset_of!(Interface, ifindex), 0);
        }
        self.interfaces.write(index, value).ok_or_else(|| outside("IFACES", index, &self.interfaces))
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{Hop, destination_flags};

    use super::*;

    fn destination() -> Destination {
        Destination {
            hop: Hop::new([2, 0, 0, 0, 0, 1], 3),
            flags: destination_flags::IN_USE | destination_flags::AVAILABLE,
            weight: 5,
            address: [192, 0, 2, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            method: 3,
            order: 9,
            ..Default::default()
        }
    }

    #[test]
    fn options_leave_hop_flags_weight_and_address() {
        let memory = Memory::anonymous(256, 4);
        memory.destinations.write(2, &destination()).unwrap();
        let edited = Destination { method: 0, upper: 10, lower: 4, tunnel_kind: 1, ..Default::default() };
        memory.set_options(2, &edited).unwrap();
        let expected = Destination { method: 0, upper: 10, lower: 4, tunnel_kind: 1, ..destination() };
        assert_eq!(memory.destinations.read(2), Some(expected));
        assert!(memory.set_options(4, &edited).is_err());
    }

    #[test]
    fn thresholds_are_evaluated_at_once() {
        let memory = Memory::anonymous(256, 1);
        memory.destinations.write(0, &destination()).unwrap();
        let marked = |active, inactive, overload, upper, lower| {
            memory.counts.write(0, &Counts { active, inactive, persistent: 0, overload }).unwrap();
            memory.set_options(0, &Destination { upper, lower, ..Default::default() }).unwrap();
            memory.counts.read(0).unwrap().overload
        };
        assert_eq!(marked(3, 4, 0, 7, 0), 1, "the total reaches the upper threshold");
        assert_eq!(marked(3, 3, 0, 7, 0), 0);
        assert_eq!(marked(3, 3, 1, 7, 0), 1, "6 is not below 7 - 1");
        assert_eq!(marked(3, 2, 1, 7, 0), 0);
        assert_eq!(marked(3, 2, 1, 7, 5), 1);
        assert_eq!(marked(9, 9, 1, 0, 0), 0, "no threshold, no mark");
    }

    #[test]
    fn settings_keep_what_belongs_to_the_tables() {
        let memory = Memory::anonymous(256, 1);
        let before = memory.settings.read(0).unwrap();
        memory.put_settings(&Settings { flags: 3, udp_timeout: 7, ..Settings::default() });
        let after = memory.settings.read(0).unwrap();
        assert_eq!((after.flags, after.udp_timeout), (3, 7));
        assert_eq!((after.seed, after.buckets4, after.hz), (before.seed, before.buckets4, before.hz));
    }

    #[test]
    fn slots_and_interfaces_are_bounded() {
        let memory = Memory::anonymous(256, 1);
        memory.put_slots(254, &[1, 2]).unwrap();
        assert_eq!(memory.slots.read(255), Some(2));
        let error = memory.put_slots(255, &[1, 2]).unwrap_err();
        assert!(matches!(error, MapError::OutOfBounds { map: "SLOTS", index: 256, size: 256 }));
        let value =
            Interface { ifindex: 4099, flags: 1, mac: 0x0605_0403_0201, mtu: 1500, ..Default::default() };
        memory.put_interface(3, &value).unwrap();
        assert_eq!(memory.interfaces.read(3), Some(value));
    }
}
