//! What `cargo xtask bench` measures the director with: the same programs, and beside them the yardstick
//! (one lookup in a HASH) and programs that give each run a fresh frame. Never in the shipped object.
//!
//! BPF_PROG_TEST_RUN repeats a program on one frame and does not put the frame back. So the program it
//! repeats is one of the feeders here: it writes the header words back, or those of the next flow, and
//! tail-calls what [`TARGET`] names. The same feeder with program `empty` as target is what it costs itself.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod events;
mod frame;
mod maps;
mod programs;
mod route;
mod tables;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, HashMap, ProgramArray};
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{self, FlowKey4};
use lb_common::family::V4;
use lb_common::flow_table::{self, Entry as _, Table as _};
use lb_common::frame::{Frame, Raw};
use lb_common::tables::{FlowTable, Tables as _, View};

use crate::frame::KernelFrame;
use crate::tables::KernelTables;

/// The frame that feeders write back. Written by the bench.
#[repr(C, align(8))]
pub struct Original([u8; 128]);

/// Which flow comes next, and how many there are (a power of two, less one); of `unwrapped4`, how many bytes are put in
/// front. Written by feeder and bench.
#[repr(C)]
pub struct Position {
    next: u64,
    mask: u64,
}

/// Value of the yardstick: with the key, an entry of a connection table.
#[repr(C)]
pub struct Value([u64; 6]);

/// The frame to write back: one element.
#[map]
static ORIGINAL: Array<Original> = Array::with_max_entries(1, 0);
/// Source address and port of each flow (first two words of a key), in the order of the visits.
#[map]
static FLOWS: Array<u64> = Array::with_max_entries(1, 0);
/// Where feeder `flows` is: one element.
#[map]
static POSITION: Array<Position> = Array::with_max_entries(1, 0);
/// Buckets whose entries feeder `anew` frees: IPv4 connections.
#[map]
static FREED: Array<[u32; 2]> = Array::with_max_entries(1, 0);
/// What the feeders call: one program.
#[map]
static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// The yardstick's table with one entry.
#[map]
static ONE: HashMap<FlowKey4, Value> = HashMap::with_max_entries(1024, 0);
/// The yardstick's table with as many entries as there are flows.
#[map]
static MANY: HashMap<FlowKey4, Value> = HashMap::with_max_entries(1024, 0);

/// Writes a word of the original frame back. `None` ends the run: the frame is too short.
#[inline(always)]
fn restore<T: Raw>(frame: &mut KernelFrame, original: &Original, at: usize) -> Option<()> {
    // SAFETY: every caller's place lies inside the 128 bytes; BPF on x86 reads words at any address.
    let word = unsafe { *(&raw const original.0).cast::<u8>().add(at).cast::<T>() };
    frame.put(at as u32, word)
}

/// What a director may have changed in front of IPv4 addresses. The words are as wide as those it reads, or
/// wider: the CPU passes a store on to a later load only if it holds all of the load.
#[inline(always)]
fn restore_front(frame: &mut KernelFrame, original: &Original) -> Option<()> {
    restore::<u64>(frame, original, 0)?;
    restore::<u32>(frame, original, 8)?;
    // Time to live, protocol, header checksum.
    restore::<u32>(frame, original, 22)
}

/// An IPv4 frame without options.
#[inline(always)]
fn restore4(frame: &mut KernelFrame) -> Option<()> {
    let original = ORIGINAL.get(0)?;
    restore_front(frame, original)?;
    restore::<u64>(frame, original, 26)?;
    restore::<u32>(frame, original, 34)?;
    // Checksums of UDP and TCP.
    restore::<u16>(frame, original, 40)?;
    restore::<u16>(frame, original, 50)
}

/// An IPv6 frame.
#[inline(always)]
fn restore6(frame: &mut KernelFrame) -> Option<()> {
    let original = ORIGINAL.get(0)?;
    restore::<u64>(frame, original, 0)?;
    restore::<u32>(frame, original, 8)?;
    // Version to hop limit.
    restore::<u64>(frame, original, 14)?;
    restore::<u64>(frame, original, 22)?;
    restore::<u64>(frame, original, 30)?;
    restore::<u64>(frame, original, 38)?;
    restore::<u64>(frame, original, 46)?;
    restore::<u32>(frame, original, 54)?;
    restore::<u16>(frame, original, 60)?;
    restore::<u16>(frame, original, 70)
}

/// The IPv4 frame with the addresses and ports of the next flow; its checksums are wrong, which nobody looks at.
#[inline(always)]
fn next4(frame: &mut KernelFrame) -> Option<()> {
    let original = ORIGINAL.get(0)?;
    restore_front(frame, original)?;
    let position = POSITION.get_ptr_mut(0)?;
    // SAFETY: an element of the array; one run at a time.
    let now = unsafe {
        let now = (*position).next;
        (*position).next = now + 1;
        now & (*position).mask
    };
    let flow = *FLOWS.get(now as u32)?;
    // SAFETY: as in `restore`.
    let (destination, port) = unsafe {
        let bytes = (&raw const original.0).cast::<u8>();
        (*bytes.add(30).cast::<u32>(), *bytes.add(36).cast::<u16>())
    };
    frame.put(26, (flow as u32 as u64) | u64::from(destination) << 32)?;
    frame.put(34, (flow >> 32) as u32 & 0xffff | u32::from(port) << 16)
}

/// Frees the entries of the buckets in [`FREED`], counted or not: the frame's connection is new again.
#[inline(always)]
fn free() -> Option<()> {
    let buckets = FREED.get(0)?;
    let mut i = 0;
    while i < 2 {
        let bucket = maps::CONNECTIONS4.get_ptr_mut(buckets[i])?;
        let mut way = 0;
        while way < abi::WAYS as usize {
            // SAFETY: an element of the array; a free slot's word keeps nothing but its generation.
            unsafe {
                let word = &raw mut (*bucket).ways[way].word;
                abi::store_u32(word, abi::load_u32(word) & 0xffff_0000);
            }
            way += 1;
        }
        i += 1;
    }
    Some(())
}

#[inline(always)]
fn feed(ctx: &XdpContext, prepared: Option<()>) -> u32 {
    if prepared.is_some() {
        // SAFETY: a jump, or nothing where the bench has not put a program there.
        unsafe { TARGET.tail_call(ctx, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// The same IPv4 frame each time.
#[xdp]
#[inline(always)]
pub fn again4(ctx: XdpContext) -> u32 {
    let prepared = restore4(&mut KernelFrame::new(ctx.ctx));
    feed(&ctx, prepared)
}

/// The same IPv4 frame each time, what was put in front of it taken away: as many bytes as [`POSITION`] says.
#[xdp]
#[inline(always)]
pub fn unwrapped4(ctx: XdpContext) -> u32 {
    let prepared = unwrap4(&ctx);
    feed(&ctx, prepared)
}

#[inline(always)]
fn unwrap4(ctx: &XdpContext) -> Option<()> {
    let overhead = POSITION.get(0)?.next as i32 & 63;
    // SAFETY: the context is valid; the frame is looked at anew afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, overhead) } != 0 {
        return None;
    }
    let mut frame = KernelFrame::new(ctx.ctx);
    restore4(&mut frame)?;
    // EtherType and what follows, where the outer header was.
    restore::<u32>(&mut frame, ORIGINAL.get(0)?, 12)
}

/// Puts as many bytes in front as [`POSITION`] says, and nothing else: what feeder `unwrapped4` is measured with.
#[xdp]
#[inline(always)]
pub fn grown(ctx: XdpContext) -> u32 {
    let overhead = POSITION.get(0).map_or(0, |position| position.next as i32 & 63);
    // SAFETY: the context is valid.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -overhead) } == 0 {
        xdp_action::XDP_TX
    } else {
        xdp_action::XDP_ABORTED
    }
}

/// Puts bytes in front and takes them away again.
#[xdp]
#[inline(always)]
pub fn moved(ctx: XdpContext) -> u32 {
    // SAFETY: the context is valid.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -20) | bpf_xdp_adjust_head(ctx.ctx, 20) } == 0 {
        xdp_action::XDP_TX
    } else {
        xdp_action::XDP_ABORTED
    }
}

/// The same IPv6 frame each time.
#[xdp]
#[inline(always)]
pub fn again6(ctx: XdpContext) -> u32 {
    let prepared = restore6(&mut KernelFrame::new(ctx.ctx));
    feed(&ctx, prepared)
}

/// The same IPv4 frame each time, its connection taken away.
#[xdp]
#[inline(always)]
pub fn anew4(ctx: XdpContext) -> u32 {
    let prepared = free().and_then(|()| restore4(&mut KernelFrame::new(ctx.ctx)));
    feed(&ctx, prepared)
}

/// Another flow each time.
#[xdp]
#[inline(always)]
pub fn flows4(ctx: XdpContext) -> u32 {
    let prepared = next4(&mut KernelFrame::new(ctx.ctx));
    feed(&ctx, prepared)
}

/// The flow of an IPv4 TCP frame, parsed as little as can be.
#[inline(always)]
fn parse(frame: &KernelFrame) -> Option<FlowKey4> {
    if frame.get::<u16>(12)? != 0x0800_u16.to_be()
        || frame.get::<u8>(14)? != 0x45
        || frame.get::<u8>(23)? != 6
    {
        return None;
    }
    let ports = frame.get::<u32>(34)?;
    Some(FlowKey4 { addresses: frame.get::<u64>(26)?, rest: u64::from(ports) | 6 << 32 })
}

/// The yardstick, L: parses, looks one key up in a preallocated HASH, and sends the frame back.
#[xdp]
#[inline(always)]
pub fn lookup(ctx: XdpContext) -> u32 {
    let Some(key) = parse(&KernelFrame::new(ctx.ctx)) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the value is only tested for being there.
    if unsafe { ONE.get(key) }.is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_ABORTED }
}

/// H: a hit among as many entries as there are flows, with two fields of the entry written.
#[xdp]
#[inline(always)]
pub fn hit(ctx: XdpContext) -> u32 {
    let Some(key) = parse(&KernelFrame::new(ctx.ctx)) else { return xdp_action::XDP_ABORTED };
    let Some(value) = MANY.get_ptr_mut(key) else { return xdp_action::XDP_ABORTED };
    // SAFETY: an element of the table; nobody deletes it.
    unsafe {
        (*value).0[0] += 1;
        (*value).0[1] = key.rest;
    }
    xdp_action::XDP_TX
}

/// Parses alone: what [`hit`] costs beside the lookup.
#[xdp]
#[inline(always)]
pub fn parsed(ctx: XdpContext) -> u32 {
    match parse(&KernelFrame::new(ctx.ctx)) {
        // Both words are used, so that both are read.
        Some(key) if key.addresses ^ key.rest != 0 => xdp_action::XDP_TX,
        _ => xdp_action::XDP_ABORTED,
    }
}

/// A hit in the director's own table of connections, with nothing around it.
#[xdp]
#[inline(always)]
pub fn bucket(ctx: XdpContext) -> u32 {
    let tables = KernelTables::new(ctx.ctx);
    let (Some(key), Some(settings)) = (parse(&KernelFrame::new(ctx.ctx)), tables.settings()) else {
        return xdp_action::XDP_ABORTED;
    };
    let view = View::<V4, _>::new(&tables, settings, FlowTable::Connections);
    let Some(found) = flow_table::find(&view, &key, view.place(&key)) else { return xdp_action::XDP_ABORTED };
    found.entry.set_last_seen(found.entry.last_seen());
    xdp_action::XDP_TX
}
