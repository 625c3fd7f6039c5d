//! The programs: each does what `lb_common::run` says.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::programs::{
    ENCAP4, ENCAP6, ENGINE4, ENGINE6, OPEN4, OPEN6, OTHER4, OTHER6, RELATED4, RELATED6,
};
use lb_common::family::{V4, V6};
use lb_common::frame::Frame as _;
use lb_common::reason::Reason;
use lb_common::run::{Action, encapsulate, engine, open, other, related, run};
use lb_common::tables::Tables as _;

use crate::frame::KernelFrame;
use crate::maps;
use crate::tables::{KernelTables, hand_over, handed_over};

/// The director: every frame of its interfaces comes here first.
#[xdp]
#[inline(always)]
pub fn director(ctx: XdpContext) -> u32 {
    let action = run(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx));
    // The first nibble of the network header tells programs of the two families apart: `run` has checked the rest.
    match action {
        Action::Open => match version(&ctx) {
            4 => tail_call::<OPEN4>(&ctx),
            6 => tail_call::<OPEN6>(&ctx),
            _ => {}
        },
        Action::Related => match version(&ctx) {
            4 => tail_call::<RELATED4>(&ctx),
            6 => tail_call::<RELATED6>(&ctx),
            _ => {}
        },
        Action::Other => match version(&ctx) {
            4 => tail_call::<OTHER4>(&ctx),
            6 => tail_call::<OTHER6>(&ctx),
            _ => {}
        },
        Action::Encapsulate(id) => {
            if hand_over(id).is_some() {
                match version(&ctx) {
                    4 => tail_call::<ENCAP4>(&ctx),
                    6 => tail_call::<ENCAP6>(&ctx),
                    _ => {}
                }
            }
            return missing(&ctx);
        }
        action => return act(action),
    }
    xdp_action::XDP_PASS
}

/// A program that the daemon has not put there: the packet cannot be forwarded.
#[inline(always)]
fn missing(ctx: &XdpContext) -> u32 {
    KernelTables::new(ctx.ctx).count(Reason::Internal);
    xdp_action::XDP_DROP
}

/// IP version of a frame whose link header was read.
#[inline(always)]
fn version(ctx: &XdpContext) -> u8 {
    KernelFrame::new(ctx.ctx).get::<u8>(14).map_or(0, |b| b >> 4)
}

/// Jumps to another program; comes back where the daemon has not put it there.
#[inline(always)]
fn tail_call<const PROGRAM: u32>(ctx: &XdpContext) {
    // Written out, so that each call keeps a number of its own: the kernel makes such a call a direct jump, and one with
    // a number from a register an indirect one, which the CPU's mitigations make dear.
    // SAFETY: the helper's arguments, and what a helper may change; r0 is not written.
    unsafe {
        core::arch::asm!(
            "r3 = {program}",
            "call 12",
            program = const PROGRAM,
            inout("r1") ctx.ctx => _,
            inout("r2") &raw const maps::OPENERS => _,
            out("r3") _, out("r4") _, out("r5") _, out("r0") _,
        );
    }
}

/// Opens IPv4 connections: the director's tail call for frames without one.
#[xdp]
#[inline(always)]
pub fn open4(ctx: XdpContext) -> u32 {
    let action = open::<V4, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx));
    if action == Action::Engine {
        tail_call::<ENGINE4>(&ctx);
        return missing(&ctx);
    }
    opened::<ENCAP4>(&ctx, action)
}

/// Opens IPv6 connections.
#[xdp]
#[inline(always)]
pub fn open6(ctx: XdpContext) -> u32 {
    let action = open::<V6, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx));
    if action == Action::Engine {
        tail_call::<ENGINE6>(&ctx);
        return missing(&ctx);
    }
    opened::<ENCAP6>(&ctx, action)
}

/// Does what one of them says; `ENCAP` is the program that encapsulates packets of its family.
#[inline(always)]
fn opened<const ENCAP: u32>(ctx: &XdpContext, action: Action) -> u32 {
    let Action::Encapsulate(id) = action else { return act(action) };
    if hand_over(id).is_some() {
        tail_call::<ENCAP>(ctx);
    }
    missing(ctx)
}

/// Opens IPv4 connections of services with a persistence engine: the opener's tail call for them.
#[xdp]
#[inline(always)]
pub fn engine4(ctx: XdpContext) -> u32 {
    opened::<ENCAP4>(
        &ctx,
        engine::<V4, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx)),
    )
}

/// Opens IPv6 connections of services with a persistence engine.
#[xdp]
#[inline(always)]
pub fn engine6(ctx: XdpContext) -> u32 {
    opened::<ENCAP6>(
        &ctx,
        engine::<V6, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx)),
    )
}

/// Directs IPv4 packets that are neither TCP, UDP nor ICMP: the director's tail call for them.
#[xdp]
#[inline(always)]
pub fn other4(ctx: XdpContext) -> u32 {
    let action =
        other::<V4, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx));
    if action == Action::Open {
        tail_call::<OPEN4>(&ctx);
    }
    opened::<ENCAP4>(&ctx, action)
}

/// Directs IPv6 packets that are neither TCP, UDP nor ICMP.
#[xdp]
#[inline(always)]
pub fn other6(ctx: XdpContext) -> u32 {
    let action =
        other::<V6, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx));
    if action == Action::Open {
        tail_call::<OPEN6>(&ctx);
    }
    opened::<ENCAP6>(&ctx, action)
}

/// Encapsulates IPv4 packets: a tail call of the director and of the opener.
#[xdp]
#[inline(always)]
pub fn encap4(ctx: XdpContext) -> u32 {
    let Some(id) = handed_over() else { return missing(&ctx) };
    act(encapsulate::<V4, _, _>(
        &KernelTables::new(ctx.ctx),
        &mut KernelFrame::new(ctx.ctx),
        ingress(&ctx),
        id,
    ))
}

/// Encapsulates IPv6 packets.
#[xdp]
#[inline(always)]
pub fn encap6(ctx: XdpContext) -> u32 {
    let Some(id) = handed_over() else { return missing(&ctx) };
    act(encapsulate::<V6, _, _>(
        &KernelTables::new(ctx.ctx),
        &mut KernelFrame::new(ctx.ctx),
        ingress(&ctx),
        id,
    ))
}

/// Directs ICMP over IPv4: errors about connections.
#[xdp]
#[inline(always)]
pub fn related4(ctx: XdpContext) -> u32 {
    opened::<ENCAP4>(
        &ctx,
        related::<V4, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx)),
    )
}

/// The same over IPv6.
#[xdp]
#[inline(always)]
pub fn related6(ctx: XdpContext) -> u32 {
    opened::<ENCAP6>(
        &ctx,
        related::<V6, _, _>(&KernelTables::new(ctx.ctx), &mut KernelFrame::new(ctx.ctx), ingress(&ctx)),
    )
}

#[inline(always)]
fn ingress(ctx: &XdpContext) -> u32 {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.ctx).ingress_ifindex }
}

#[inline(always)]
fn act(action: Action) -> u32 {
    match action {
        Action::Pass | Action::Open | Action::Related | Action::Other | Action::Engine => {
            xdp_action::XDP_PASS
        }
        Action::Drop | Action::Encapsulate(_) => xdp_action::XDP_DROP,
        Action::Transmit => xdp_action::XDP_TX,
        // SAFETY: a helper without pointers.
        Action::Redirect(to) => unsafe { bpf_redirect(to, 0) as u32 },
    }
}

/// Measures nothing but the call: what every figure of the bench is net of.
#[xdp]
#[inline(always)]
pub fn empty(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Passes everything: for the far end of a veth pair, whose driver delivers redirected frames only to
/// an interface that has a program.
#[xdp]
#[inline(always)]
pub fn pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Writes jiffies and the monotonic clock into the frame, so that the daemon learns the tick rate and
/// its present value: bytes 0 to 7 jiffies, 8 to 15 nanoseconds.
#[xdp]
#[inline(always)]
pub fn clock(ctx: XdpContext) -> u32 {
    let mut frame = KernelFrame::new(ctx.ctx);
    // SAFETY: helpers without arguments.
    let (jiffies, nanoseconds) = unsafe {
        (aya_ebpf::helpers::generated::bpf_jiffies64(), aya_ebpf::helpers::generated::bpf_ktime_get_ns())
    };
    if frame.put(0, jiffies).is_none() || frame.put(8, nanoseconds).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    xdp_action::XDP_PASS
}

/// The licence that the kernel asks for before it lets GPL-only helpers load.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
