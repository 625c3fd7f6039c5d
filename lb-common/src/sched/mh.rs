//! mh: Maglev hashing (ip_vs_mh.c). The slots are the table, which user space builds.

use super::Subject;
use super::select::{FALLBACK, PORT, usable};
use crate::abi::{NONE, Service};
use crate::hash;
use crate::tables::{Tables, Walk};

/// mh with its fallback (ip_vs_mh.c: ip_vs_mh_get, ip_vs_mh_get_fallback).
#[derive(Clone, Copy)]
struct Fallback {
    first: u32,
    size: u32,
    /// Client address and port as the hash takes them.
    key: u32,
    /// Bucket that was tried first.
    start: u32,
    id: u32,
}

impl Walk for Fallback {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let Some(offset) = self.start.wrapping_add(i).checked_rem(self.size) else { return true };
        let hash = hash::mh_first(self.key.wrapping_add(offset));
        let Some(bucket) = hash.checked_rem(self.size) else { return true };
        let Some(id) = tables.slot(self.first.wrapping_add(bucket)) else { return true };
        if usable(tables, id).is_none() {
            return false;
        }
        self.id = id;
        true
    }
}

/// The destination's id, [`NONE`] without. Not inlined: a stack frame of its own.
#[inline(never)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service, subject: &Subject) -> u32 {
    let port = if service.scheduler_flags & PORT != 0 { subject.client_port } else { 0 };
    let key = subject.client.wrapping_add(u32::from(port));
    let Some(bucket) = hash::mh_first(key).checked_rem(service.slots) else { return NONE };
    let Some(id) = tables.slot(service.first_slot.wrapping_add(bucket)) else { return NONE };
    if usable(tables, id).is_some() {
        return id;
    }
    // The walk over a large table is long: not where it cannot find anyone.
    if service.scheduler_flags & FALLBACK == 0 || service.weight_max == 0 {
        return NONE;
    }
    let mut walk = Fallback { first: service.first_slot, size: service.slots, key, start: bucket, id: NONE };
    tables.walk(service.slots, &mut walk);
    walk.id
}
