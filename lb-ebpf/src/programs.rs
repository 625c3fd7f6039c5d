//! The programs: each does what `lb_common::run` says.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::programs;
use lb_common::family::{V4, V6};
use lb_common::frame::Frame as _;
use lb_common::reason::Reason;
use lb_common::run::{Action, admitted, encapsulate, engine, open, other, related, run};
use lb_common::tables::Tables as _;

use crate::frame::KernelFrame;
use crate::maps;
use crate::tables::{KernelTables, hand_over, handed_over};

/// Where the programs of an address family are in map `OPENERS`.
trait Programs {
    const OPEN: u32;
    const OTHER: u32;
    const RELATED: u32;
    const ENGINE: u32;
    const ENCAP: u32;
    const ADMIT: u32;
}

impl Programs for V4 {
    const OPEN: u32 = programs::OPEN4;
    const OTHER: u32 = programs::OTHER4;
    const RELATED: u32 = programs::RELATED4;
    const ENGINE: u32 = programs::ENGINE4;
    const ENCAP: u32 = programs::ENCAP4;
    const ADMIT: u32 = programs::ADMIT4;
}

impl Programs for V6 {
    const OPEN: u32 = programs::OPEN6;
    const OTHER: u32 = programs::OTHER6;
    const RELATED: u32 = programs::RELATED6;
    const ENGINE: u32 = programs::ENGINE6;
    const ENCAP: u32 = programs::ENCAP6;
    const ADMIT: u32 = programs::ADMIT6;
}

/// Jumps to a program of [`maps::OPENERS`]; comes back where the daemon has not put it there.
///
/// Written out, so that each call keeps a number of its own: the kernel makes such a call a direct jump, and one with
/// a number from a register an indirect one, which the CPU's mitigations make dear.
macro_rules! tail_call {
    ($ctx:expr, $program:expr) => {
        // SAFETY: the helper's arguments, and what a helper may change; r0 is not written.
        unsafe {
            core::arch::asm!(
                "r3 = {program}",
                "call 12",
                program = const $program,
                inout("r1") $ctx.ctx => _,
                inout("r2") &raw const maps::OPENERS => _,
                out("r3") _, out("r4") _, out("r5") _, out("r0") _,
            );
        }
    };
}

/// The director: every frame of its interfaces comes here first.
#[xdp]
#[inline(always)]
pub fn director(ctx: XdpContext) -> u32 {
    let action = run(&tables(&ctx), &mut frame(&ctx), ingress(&ctx));
    if !goes_on(action) {
        return act(action);
    }
    // The first nibble of the network header tells programs of the two families apart: `run` has checked the rest.
    match frame(&ctx).get::<u8>(14).map_or(0, |b| b >> 4) {
        4 => go_on::<V4>(&ctx, action),
        6 => go_on::<V6>(&ctx, action),
        _ => xdp_action::XDP_PASS,
    }
}

/// Whether another program is to go on.
#[inline(always)]
const fn goes_on(action: Action) -> bool {
    matches!(
        action,
        Action::Open
            | Action::Other
            | Action::Related
            | Action::Engine
            | Action::Admit
            | Action::Encapsulate(_)
    )
}

/// Does what a program says, in the program that goes on where there is one.
#[inline(always)]
fn go_on<P: Programs>(ctx: &XdpContext, action: Action) -> u32 {
    match action {
        Action::Open => tail_call!(ctx, P::OPEN),
        Action::Other => tail_call!(ctx, P::OTHER),
        Action::Related => tail_call!(ctx, P::RELATED),
        Action::Engine => tail_call!(ctx, P::ENGINE),
        Action::Encapsulate(id) => {
            if hand_over(id).is_some() {
                tail_call!(ctx, P::ENCAP);
            }
            return missing(ctx);
        }
        Action::Admit => {
            tail_call!(ctx, P::ADMIT);
            return missing(ctx);
        }
        action => return act(action),
    }
    xdp_action::XDP_PASS
}

/// A program that the daemon has not put there: the packet cannot be forwarded.
#[inline(always)]
fn missing(ctx: &XdpContext) -> u32 {
    tables(ctx).count(Reason::Internal);
    xdp_action::XDP_DROP
}

/// Opens IPv4 connections: the director's tail call for frames without one.
#[xdp]
#[inline(always)]
pub fn open4(ctx: XdpContext) -> u32 {
    go_on::<V4>(&ctx, open::<V4, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Opens IPv6 connections.
#[xdp]
#[inline(always)]
pub fn open6(ctx: XdpContext) -> u32 {
    go_on::<V6>(&ctx, open::<V6, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Lets IPv4 connections in whose destination an opener has chosen.
#[xdp]
#[inline(always)]
pub fn admit4(ctx: XdpContext) -> u32 {
    go_on::<V4>(&ctx, admitted::<V4, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Lets IPv6 connections in.
#[xdp]
#[inline(always)]
pub fn admit6(ctx: XdpContext) -> u32 {
    go_on::<V6>(&ctx, admitted::<V6, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Opens IPv4 connections of services with a persistence engine: the opener's tail call for them.
#[xdp]
#[inline(always)]
pub fn engine4(ctx: XdpContext) -> u32 {
    go_on::<V4>(&ctx, engine::<V4, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Opens IPv6 connections of services with a persistence engine.
#[xdp]
#[inline(always)]
pub fn engine6(ctx: XdpContext) -> u32 {
    go_on::<V6>(&ctx, engine::<V6, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Directs IPv4 packets that are neither TCP nor UDP: the director's tail call for them.
#[xdp]
#[inline(always)]
pub fn other4(ctx: XdpContext) -> u32 {
    go_on::<V4>(&ctx, other::<V4, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Directs IPv6 packets that are neither TCP nor UDP.
#[xdp]
#[inline(always)]
pub fn other6(ctx: XdpContext) -> u32 {
    go_on::<V6>(&ctx, other::<V6, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Directs what is of no balanced transport protocol over IPv4: errors about connections.
#[xdp]
#[inline(always)]
pub fn related4(ctx: XdpContext) -> u32 {
    go_on::<V4>(&ctx, related::<V4, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// The same over IPv6.
#[xdp]
#[inline(always)]
pub fn related6(ctx: XdpContext) -> u32 {
    go_on::<V6>(&ctx, related::<V6, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx)))
}

/// Encapsulates IPv4 packets: a tail call of whoever found the destination.
#[xdp]
#[inline(always)]
pub fn encap4(ctx: XdpContext) -> u32 {
    let Some(id) = handed_over() else { return missing(&ctx) };
    act(encapsulate::<V4, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx), id))
}

/// Encapsulates IPv6 packets.
#[xdp]
#[inline(always)]
pub fn encap6(ctx: XdpContext) -> u32 {
    let Some(id) = handed_over() else { return missing(&ctx) };
    act(encapsulate::<V6, _, _>(&tables(&ctx), &mut frame(&ctx), ingress(&ctx), id))
}

#[inline(always)]
fn tables(ctx: &XdpContext) -> KernelTables {
    KernelTables::new(ctx.ctx)
}

#[inline(always)]
fn frame(ctx: &XdpContext) -> KernelFrame {
    KernelFrame::new(ctx.ctx)
}

#[inline(always)]
fn ingress(ctx: &XdpContext) -> u32 {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.ctx).ingress_ifindex }
}

/// What the kernel is to do; an action for which another program is to go on passes the frame, or drops it where it must
/// not go on as it is.
#[inline(always)]
fn act(action: Action) -> u32 {
    match action {
        Action::Pass | Action::Open | Action::Other | Action::Related | Action::Engine => {
            xdp_action::XDP_PASS
        }
        Action::Drop | Action::Admit | Action::Encapsulate(_) => xdp_action::XDP_DROP,
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
