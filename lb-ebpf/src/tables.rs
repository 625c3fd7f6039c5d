//! Maps of the kernel as `lb-common` sees them.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_jiffies64, bpf_loop, bpf_xdp_load_bytes};
use lb_common::abi::{
    self, Connection4, Connection6, Counts, Destination, Entry4, Entry6, FwmarkKey, Hop, ICMP_BUCKETS,
    INTERFACES, IcmpBucket, Interface, Locality, LocalityKey, LocalityRef, MarkRule, Schedule, Service,
    ServiceKey4, ServiceKey6, Settings,
};
use lb_common::family::{Family, V4, V6};
use lb_common::frame::Frame;
use lb_common::limit::{self, Limit};
use lb_common::reason::Reason;
use lb_common::sip::MAX_PAYLOAD;
use lb_common::tables::{Count, Direction, FlowTable, Opening, Route, Store, Tables, Walk};

use crate::maps;
use crate::{events, route};

/// The maps, and the context for the helpers that want it.
pub struct KernelTables {
    ctx: *mut xdp_md,
}

impl KernelTables {
    /// The maps for the frame of `ctx`.
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }
}

/// A field of the element of `COUNTS`.
#[inline(always)]
fn counts(id: u32) -> Option<*mut Counts> {
    maps::COUNTS.get_ptr_mut(id)
}

/// Element of `SCRATCH` that holds a walk.
const WALK: u32 = 2;

/// Element of `SCRATCH` that holds a new element of `LOCALITY`.
const NEW_LOCALITY: u32 = 3;

/// Element of `SCRATCH` that holds the id of the destination to encapsulate for, and a number to forget.
const HANDED: u32 = 4;

/// Hands the id of a destination to the program that is called next.
#[inline(always)]
pub fn hand_over(id: u32) -> Option<()> {
    let cell = maps::SCRATCH.get_ptr_mut(HANDED)?;
    // SAFETY: this CPU's own memory.
    unsafe { core::ptr::write_volatile(cell.cast::<u32>(), id) };
    Some(())
}

/// The id that was handed over.
#[inline(always)]
pub fn handed_over() -> Option<u32> {
    let cell = maps::SCRATCH.get_ptr_mut(HANDED)?;
    // SAFETY: this CPU's own memory.
    Some(unsafe { core::ptr::read_volatile(cell.cast::<u32>()) })
}

/// The same number, of which the verifier knows nothing.
#[inline(always)]
pub fn forget(number: u32) -> u32 {
    let Some(cell) = maps::SCRATCH.get_ptr_mut(HANDED) else { return 0 };
    // SAFETY: this CPU's own memory.
    abi::through(unsafe { &mut (*cell)[1] }, u64::from(number)) as u32
}

/// The callback of `bpf_loop`: 0 goes on, 1 ends.
unsafe extern "C" fn step<W: Walk>(i: u32, _: *mut core::ffi::c_void) -> i64 {
    // A walk reads maps only, never the frame.
    let tables = KernelTables { ctx: core::ptr::null_mut() };
    let Some(cell) = maps::SCRATCH.get_ptr_mut(WALK) else { return 1 };
    // SAFETY: `walk` below put it there, and large enough is the memory by its assertion.
    i64::from(unsafe { &mut *cell.cast::<W>() }.step(&tables, i))
}

impl Tables for KernelTables {
    #[inline(always)]
    fn now(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_jiffies64() as u32 }
    }

    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        maps::SETTINGS.get(0)
    }

    #[inline(always)]
    fn interface(&self, index: u32) -> Option<&Interface> {
        let interface = maps::IFACES.get(index & (INTERFACES - 1))?;
        (interface.ifindex == index).then_some(interface)
    }

    #[inline(always)]
    fn interface_at(&self, index: u16) -> Option<&Interface> {
        maps::IFACES.get(u32::from(index))
    }

    #[inline(always)]
    fn prefilter(&self, word: u32) -> u64 {
        maps::PREFILTER.get(word).map_or(0, |w| *w)
    }

    #[inline(always)]
    fn mark_rule(&self, n: u32) -> Option<&MarkRule> {
        maps::MARKS.get(n)
    }

    #[inline(always)]
    fn fwmark(&self, key: &FwmarkKey) -> Option<&Service> {
        // SAFETY: the daemon replaces values whole; a value read while it is replaced stays valid for
        // the run of the program (RCU).
        unsafe { maps::FWMARKS.get(key) }
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        maps::SLOTS.get(index).copied()
    }

    #[inline(always)]
    fn destination(&self, id: u32) -> Option<&Destination> {
        maps::DESTINATIONS.get(id)
    }

    #[inline(always)]
    fn load(&self, id: u32) -> (u32, u32, bool) {
        let Some(counts) = counts(id) else { return (0, 0, true) };
        // SAFETY: an element of the array, whose fields others change atomically.
        unsafe {
            (
                abi::load_u32(&raw const (*counts).active),
                abi::load_u32(&raw const (*counts).inactive),
                abi::load_u32(&raw const (*counts).overload) != 0,
            )
        }
    }

    #[inline(always)]
    fn add_count(&self, id: u32, which: Count, delta: u32) -> u32 {
        let Some(counts) = counts(id) else { return 0 };
        // SAFETY: as above.
        unsafe {
            match which {
                Count::Active => abi::add_u32(&raw mut (*counts).active, delta),
                Count::Inactive => abi::add_u32(&raw mut (*counts).inactive, delta),
                Count::Persistent => abi::add_u32(&raw mut (*counts).persistent, delta),
            };
            abi::load_u32(&raw const (*counts).active)
                .wrapping_add(abi::load_u32(&raw const (*counts).inactive))
        }
    }

    #[inline(always)]
    fn set_overload(&self, id: u32, overloaded: bool) {
        if let Some(counts) = counts(id) {
            // SAFETY: as above.
            unsafe { abi::store_u32(&raw mut (*counts).overload, u32::from(overloaded)) };
        }
    }

    #[inline(always)]
    fn schedule(&self, service: u32) -> Schedule {
        maps::SCHEDULES.get_ptr(service).map_or(Schedule(0), |p| {
            // SAFETY: as above.
            Schedule(unsafe { abi::load_u64(p.cast()) })
        })
    }

    #[inline(always)]
    fn swap_schedule(&self, service: u32, old: Schedule, new: Schedule) -> bool {
        maps::SCHEDULES.get_ptr_mut(service).is_some_and(|p| {
            // SAFETY: as above.
            unsafe { abi::cas_u64(p.cast(), old.0, new.0) }
        })
    }

    #[inline(always)]
    fn locality(&self, key: &LocalityKey) -> Option<LocalityRef> {
        // SAFETY: an element of the map, in memory that stays the map's for the run of the program (RCU). Where the
        // daemon takes it away meanwhile, another CPU may get it for another key: what is read is held to the service
        // before it is used, and a member written there is refused in the same way.
        maps::LOCALITY.get_ptr_mut(key).map(|p| unsafe { LocalityRef::new(p) })
    }

    #[inline(always)]
    fn remember(&self, key: &LocalityKey, member: u64, now: u32) {
        let Some(cell) = maps::SCRATCH.get_ptr_mut(NEW_LOCALITY) else { return };
        let cell = cell.cast::<Locality>();
        // SAFETY: this CPU's own memory, large enough and aligned (asserted below), and used here alone. Members beyond
        // the first are whatever lies there: their number says that they are not in use.
        let value = unsafe {
            (*cell).count = 1;
            (*cell).last_used = now;
            (*cell).modified = now;
            (*cell)._pad = 0;
            if let Some(first) = (*cell).members.first_mut() {
                *first = member;
            }
            &*cell
        };
        // Full: the next packet to the address is scheduled anew.
        let _ = maps::LOCALITY.insert(key, value, 0);
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn account(&self, destination: u32, direction: Direction, bytes: u32) {
        let Some(counters) = maps::COUNTERS.get_ptr_mut(destination) else { return };
        // SAFETY: this CPU's own element; XDP does not interrupt itself.
        unsafe {
            match direction {
                Direction::In => {
                    (*counters).in_packets += 1;
                    (*counters).in_bytes += u64::from(bytes);
                }
                Direction::Out => {
                    (*counters).out_packets += 1;
                    (*counters).out_bytes += u64::from(bytes);
                }
            }
        }
    }

    #[inline(always)]
    fn account_connection(&self, destination: u32) {
        if let Some(counters) = maps::COUNTERS.get_ptr_mut(destination) {
            // SAFETY: as above.
            unsafe { (*counters).connections += 1 };
        }
    }

    #[inline(always)]
    fn count(&self, reason: Reason) {
        if let Some(counter) = maps::REASON_COUNTS.get_ptr_mut(reason as u32) {
            // SAFETY: this CPU's own element.
            unsafe { *counter += 1 };
        }
    }

    #[inline(always)]
    fn icmp_allowed(&self, client: u32) -> bool {
        let Some(settings) = self.settings() else { return false };
        let now = self.now();
        take(limit::bucket(client), Limit::of_client(settings), now)
            && take(ICMP_BUCKETS, Limit::of_all(settings), now)
    }

    #[inline(always)]
    fn forget(&self, number: u32) -> u32 {
        forget(number)
    }

    #[inline(always)]
    fn is_shed(&self, rate: u32) -> bool {
        let Some(bucket) = maps::ICMP_LIMITS.get_ptr_mut(ICMP_BUCKETS + 1) else { return false };
        // SAFETY: an element of the array. Approximate under races of CPUs, like the kernel's.
        unsafe {
            let seen = &raw mut (*bucket).tokens;
            let (after, shed) = limit::turn(abi::load_u32(seen), rate);
            abi::store_u32(seen, after);
            shed
        }
    }

    #[inline(always)]
    fn load_payload<Fr: Frame>(&self, _: &Fr, at: u32, length: u32) -> bool {
        let Some(payload) = maps::PAYLOAD.get_ptr_mut(0) else { return false };
        if length == 0 || length > MAX_PAYLOAD {
            return false;
        }
        let mut n = u64::from(length - 1);
        // Opaque to the compiler, which knows the range already and would drop the mask; the verifier wants to see it,
        // and that of 6.1 learns nothing of a comparison with 0.
        // SAFETY: a move of a register to itself.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) n, options(pure, nomem, nostack)) };
        let n = (n & u64::from(MAX_PAYLOAD - 1)) + 1;
        // SAFETY: the context is valid while the program runs, and the element has room for so many bytes.
        unsafe { bpf_xdp_load_bytes(self.ctx, at, payload.cast(), n as u32) == 0 }
    }

    #[inline(always)]
    fn payload(&self, at: u32) -> u8 {
        let Some(payload) = maps::PAYLOAD.get_ptr(0) else { return 0 };
        // SAFETY: the mask keeps it inside; this CPU's own element.
        unsafe { *payload.cast::<u8>().add((at & (MAX_PAYLOAD - 1)) as usize) }
    }

    #[inline(always)]
    fn walk<W: Walk>(&self, count: u32, walk: &mut W) {
        const { assert!(size_of::<W>() <= size_of::<maps::Scratch>()) };
        let Some(cell) = maps::SCRATCH.get_ptr_mut(WALK) else { return };
        let cell = cell.cast::<W>();
        // The kernel puts the loop's code in place of the call and compares all 64 bits, while to the compiler the upper
        // half of a 32-bit argument is whatever the register held.
        let mut count = u64::from(count);
        // SAFETY: a move of a register to itself: the widening stays.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) count, options(pure, nomem, nostack)) };
        // The walk lies in a map while it goes on: kernels before 6.7 check a callback as if it ran once, and
        // would take branches away that only a later step takes, if its state were on the stack.
        // SAFETY: this CPU's own memory, large enough, in use once at a time; the callback has the signature
        // that bpf_loop calls.
        unsafe {
            core::ptr::copy_nonoverlapping(core::ptr::from_ref(walk), cell, 1);
            bpf_loop(count as u32, step::<W> as *mut core::ffi::c_void, core::ptr::null_mut(), 0);
            // Copied in place: a value in between would be on the stack as well.
            core::ptr::copy_nonoverlapping(cell, core::ptr::from_mut(walk), 1);
        }
    }
}

/// Takes the tokens of a message from a bucket; whether they were there. Approximate under races of CPUs,
/// like the kernel's.
#[inline(always)]
fn take(index: u32, limit: Limit, now: u32) -> bool {
    let Some(bucket) = maps::ICMP_LIMITS.get_ptr_mut(index) else { return false };
    // SAFETY: an element of the array.
    let before = unsafe {
        IcmpBucket {
            tokens: abi::load_u32(&raw const (*bucket).tokens),
            last: abi::load_u32(&raw const (*bucket).last),
        }
    };
    let (after, allowed) = limit.take(before, now);
    // SAFETY: as above.
    unsafe {
        abi::store_u32(&raw mut (*bucket).tokens, after.tokens);
        abi::store_u32(&raw mut (*bucket).last, after.last);
    }
    allowed
}

impl Store<V4> for KernelTables {
    type Entry = Entry4;
    type Scratch<'a> = &'a mut Opening<V4>;

    #[inline(always)]
    fn scratch(&self) -> Option<&mut Opening<V4>> {
        let p = maps::SCRATCH.get_ptr_mut(0)?;
        // SAFETY: this CPU's own memory, large enough and aligned (asserted below); the program takes it
        // once at a time.
        Some(unsafe { &mut *p.cast() })
    }

    #[inline(always)]
    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry4> {
        let p = match table {
            FlowTable::Connections => maps::CONNECTIONS4.get_ptr_mut(index)?,
            FlowTable::Templates => maps::TEMPLATES4.get_ptr_mut(index)?,
        };
        // SAFETY: way 0 of a bucket of the array, valid for the program's run.
        Some(unsafe { Entry4::new(p.cast::<Connection4>()) })
    }

    #[inline(always)]
    fn service(&self, address: [u8; 4], port: [u8; 2], protocol: u8) -> Option<&Service> {
        // SAFETY: as for fwmark.
        unsafe { maps::SERVICES4.get(ServiceKey4 { address, port, protocol, _pad: 0 }) }
    }

    #[inline(always)]
    fn route(&self, source: [u8; 4], client: [u8; 4]) -> Route {
        let source = [u64::from(u32::from_ne_bytes(source)), 0];
        let client = [u64::from(u32::from_ne_bytes(client)), 0];
        hop(route::towards(self.ctx, &client, &source, 0))
    }

    #[inline(always)]
    fn want_neighbour(&self, client: [u8; 4]) {
        events::want_neighbour(u64::from(V4::fold(client)), 0, 4);
    }
}

impl Store<V6> for KernelTables {
    type Entry = Entry6;
    type Scratch<'a> = &'a mut Opening<V6>;

    #[inline(always)]
    fn scratch(&self) -> Option<&mut Opening<V6>> {
        let p = maps::SCRATCH.get_ptr_mut(1)?;
        // SAFETY: this CPU's own memory, large enough and aligned (asserted below); the program takes it
        // once at a time.
        Some(unsafe { &mut *p.cast() })
    }

    #[inline(always)]
    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry6> {
        let p = match table {
            FlowTable::Connections => maps::CONNECTIONS6.get_ptr_mut(index)?,
            FlowTable::Templates => maps::TEMPLATES6.get_ptr_mut(index)?,
        };
        // SAFETY: as for IPv4.
        Some(unsafe { Entry6::new(p.cast::<Connection6>()) })
    }

    #[inline(always)]
    fn service(&self, address: [u64; 2], port: [u8; 2], protocol: u8) -> Option<&Service> {
        let key = ServiceKey6 { address: V6::wide(address), port, protocol, _pad: 0 };
        // SAFETY: as for fwmark.
        unsafe { maps::SERVICES6.get(key) }
    }

    #[inline(always)]
    fn route(&self, source: [u64; 2], client: [u64; 2]) -> Route {
        hop(route::towards(self.ctx, &client, &source, 1))
    }

    #[inline(always)]
    fn want_neighbour(&self, client: [u64; 2]) {
        let [high, low] = client;
        events::want_neighbour(high, low, 6);
    }
}

#[inline(always)]
fn hop(number: u64) -> Route {
    let hop = Hop(number);
    if hop.is_resolved() { Route::Hop(hop) } else { Route::Unresolved }
}

const _: () = assert!(size_of::<Opening<V4>>() <= size_of::<maps::Scratch>());
const _: () = assert!(size_of::<Opening<V6>>() <= size_of::<maps::Scratch>());
const _: () = assert!(size_of::<Locality>() <= size_of::<maps::Scratch>());
