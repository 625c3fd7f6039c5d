//! The flood of the namespace tests: a program that makes each frame a packet from another source and throws it into a
//! veth, and one at the far end that takes what the director makes of them. Never in the shipped object.
//!
//! BPF_PROG_TEST_RUN runs [`flood`] on live frames: what it redirects is really sent. The kernel takes a frame back when it
//! was dropped somewhere, with whatever was written into it, so that each run writes every byte.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod frame;
/// What [`frame`] asks of the maps; frames are only written here, never summed.
mod tables {
    /// The same number.
    pub fn forget(number: u32) -> u32 {
        number
    }
}

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_redirect};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use lb_common::frame::Frame;

use crate::frame::KernelFrame;

/// Bytes of every frame.
const LENGTH: usize = 60;
/// Every source is in 10.0.0.0/8, which nobody else has.
const NET: u8 = 10;
/// The least source port.
const FIRST_PORT: u16 = 1024;

/// A frame from source 10.0.0.0, port 0, with checksums of that, and where the checksum of its transport header is.
#[repr(C, align(8))]
pub struct Template {
    frame: [u64; 8],
    checksum_at: u64,
}

/// What is sent: the first so many templates (a power of two, less one) by turns at random, into an interface.
#[repr(C)]
pub struct Plan {
    mask: u32,
    ifindex: u32,
}

/// Written by the test.
#[map]
static TEMPLATES: Array<Template> = Array::with_max_entries(16, 0);
/// Written by the test: one element.
#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
/// Frames of the flood that the director sent on: one element.
#[map]
static TAKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// A checksum after the sum of the words it is about has grown (RFC 1624).
#[inline(always)]
fn grown(checksum: u16, by: u32) -> u16 {
    let mut sum = u32::from(!checksum) + by;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[inline(always)]
fn fill(frame: &mut KernelFrame, template: &Template) -> Option<()> {
    let mut i = 0;
    while i < LENGTH / 8 {
        frame.put(i as u32 * 8, template.frame[i])?;
        i += 1;
    }
    frame.put(56, template.frame[7] as u32)?;
    // SAFETY: a helper without arguments.
    let (host, port) = unsafe { (bpf_get_prandom_u32(), bpf_get_prandom_u32()) };
    let port = port as u16;
    let port = if port < FIRST_PORT { port + FIRST_PORT } else { port };
    // Words as they lie in the frame: sums of 16-bit words do not mind the byte order.
    let source = host << 8 | u32::from(NET);
    let (high, low, port) = (source as u16, (source >> 16) as u16, port.to_be());
    frame.put(26, source)?;
    frame.put(34, port)?;
    let host = u32::from(high.wrapping_sub(u16::from(NET))) + u32::from(low);
    let checksum = frame.get::<u16>(24)?;
    frame.put(24, grown(checksum, host))?;
    let at = template.checksum_at as u32;
    let checksum = frame.get::<u16>(at)?;
    frame.put(at, grown(checksum, host + u32::from(port)))
}

/// Sends the next packet.
#[xdp]
#[inline(always)]
pub fn flood(ctx: XdpContext) -> u32 {
    let Some(plan) = PLAN.get(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a helper without arguments.
    let which = unsafe { bpf_get_prandom_u32() } & plan.mask;
    let Some(template) = TEMPLATES.get(which) else { return xdp_action::XDP_ABORTED };
    if fill(&mut KernelFrame::new(ctx.ctx), template).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect(plan.ifindex, 0) as u32 }
}

/// Takes what is from or to a source of the flood, and passes the rest.
#[xdp]
#[inline(always)]
pub fn sink(ctx: XdpContext) -> u32 {
    let frame = KernelFrame::new(ctx.ctx);
    let ours = |at| frame.get::<u8>(at) == Some(NET);
    if frame.get::<u16>(12) != Some(0x0800_u16.to_be()) || !(ours(26) || ours(30)) {
        return xdp_action::XDP_PASS;
    }
    if let Some(taken) = TAKEN.get_ptr_mut(0) {
        // SAFETY: this CPU's element.
        unsafe { *taken += 1 };
    }
    xdp_action::XDP_DROP
}

/// The helpers used are for programs of such a licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
