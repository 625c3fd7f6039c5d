//! One frame from beginning to end: decide, count, rewrite. The shells only do what comes out.

use crate::abi::{Hop, INTERFACES, Settings};
use crate::conn::{Common, Every, Life, protocol};
use crate::connect::{admit, schedule};
use crate::direct::{Verdict, direct, read};
use crate::family::{Family, V4, V6};
use crate::frame::Frame;
use crate::fwd::{Encapsulated, Through, address_frame, rewrite, through};
use crate::icmp::{Icmp, IcmpError};
use crate::parse::{self, Link, Packet, Parse};
use crate::reason::Reason;
use crate::related::{self, Related, Way};
use crate::sip;
use crate::tables::{Opening, Store};

/// What the shell does with the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To the stack (XDP_PASS).
    Pass,
    /// Away with it (XDP_DROP).
    Drop,
    /// Out by the interface it came in (XDP_TX).
    Transmit,
    /// Out by another interface (XDP_REDIRECT), by kernel index.
    Redirect(u32),
    /// No connection has it: [`open`] decides.
    Open,
    /// Out through the tunnel of the destination of this id: [`encapsulate`].
    Encapsulate(u32),
    /// It is neither TCP nor UDP: [`other`] decides.
    Other,
    /// Of no transport protocol that is balanced: [`related`] decides.
    Related,
    /// It opens a connection of a service with a persistence engine: [`engine`] decides.
    Engine,
    /// Its connection's destination is chosen: [`admitted`] goes on.
    Admit,
}

/// Directs a frame that came in by interface `ifindex`. [`Action::Open`] asks for [`open`] with the
/// same, untouched frame, [`Action::Other`] for [`other`], [`Action::Encapsulate`] for [`encapsulate`].
#[inline(always)]
pub fn run<T: Store<V4> + Store<V6>, Fr: Frame>(tables: &T, frame: &mut Fr, ifindex: u32) -> Action {
    match parse::link(frame) {
        Ok(Link::V4) => connected::<V4, T, Fr>(tables, frame, ifindex),
        Ok(Link::V6) => connected::<V6, T, Fr>(tables, frame, ifindex),
        Err(reason) => refuse(tables, reason),
    }
}

/// A frame of family `F`: its connection's, or one that [`open`] is to look at.
#[inline(always)]
fn connected<F: Parse + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
) -> Action {
    let Some(settings) = tables.settings() else { return refuse(tables, Reason::Internal) };
    match read::<F, T, Fr>(tables, settings, frame, ifindex) {
        Ok((packet, mac)) => match direct::<Common, F, T>(tables, settings, &packet) {
            Some(verdict) => {
                let entrance = Entrance { ifindex, mac: Some(mac) };
                execute::<Common, F, T, Fr>(tables, frame, entrance, &packet, verdict)
            }
            None => Action::Open,
        },
        Err(Reason::NotBalancedProtocol) => Action::Other,
        Err(reason) => refuse(tables, reason),
    }
}

/// Directs a frame of family `F` that carries neither TCP nor UDP: [`run`] said [`Action::Other`]. A program of its own
/// in the kernel, so that the common ones do not pay for it. [`Action::Open`] asks for [`open`],
/// [`Action::Related`] for [`related`].
#[inline(always)]
pub fn other<F: Parse + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
) -> Action {
    let Some(settings) = tables.settings() else { return refuse(tables, Reason::Internal) };
    // Prefilter and MAC were asked already.
    let packet = F::network(frame).ok_or(Reason::Malformed);
    match packet.and_then(|network| F::packet::<Every, Fr>(frame, network)) {
        Ok(packet) => match direct::<Every, F, T>(tables, settings, &packet) {
            Some(verdict) => {
                let entrance = Entrance { ifindex, mac: None };
                execute::<Every, F, T, Fr>(tables, frame, entrance, &packet, verdict)
            }
            None if packet.protocol == protocol::SCTP => Action::Open,
            // AH and ESP open nothing (ip_vs_proto_ah_esp.c: ah_esp_conn_schedule).
            None => refuse(tables, Reason::NoService),
        },
        Err(Reason::NotBalancedProtocol) => Action::Related,
        Err(reason) => refuse(tables, reason),
    }
}

/// Directs a frame of family `F` that has no connection: [`run`] or [`other`] said [`Action::Open`]. A program of its
/// own in the kernel, because both together would not fit BPF's stack. [`Action::Engine`] asks for [`engine`].
#[inline(always)]
pub fn open<F: Parse + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
) -> Action {
    opened::<false, F, T, Fr>(tables, frame, ifindex)
}

/// As [`open`], of a frame whose payload the service's persistence engine must see: [`open`] said [`Action::Engine`]. A
/// program of its own in the kernel: reading payloads is much of the code.
#[inline(always)]
pub fn engine<F: Parse + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
) -> Action {
    opened::<true, F, T, Fr>(tables, frame, ifindex)
}

#[inline(always)]
fn opened<const ENGINE: bool, F: Parse + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
) -> Action {
    let Some(settings) = tables.settings() else { return refuse(tables, Reason::Internal) };
    let Some(mut opening) = tables.scratch() else { return refuse(tables, Reason::Internal) };
    let taken = frame.take();
    let refused = take_in::<ENGINE, F, T, Fr>(tables, settings, &taken, ifindex, &mut opening);
    *frame = taken;
    frame.renew();
    match refused {
        0 => {}
        DROPPED => return Action::Drop,
        _ => return Action::Pass,
    }
    match schedule::<ENGINE, F, T>(tables, settings, &mut opening) {
        Some(verdict) => {
            let entrance = Entrance { ifindex, mac: None };
            execute::<Every, F, T, Fr>(tables, frame, entrance, &opening.packet, verdict)
        }
        None => Action::Admit,
    }
}

/// Directs a frame of family `F` whose connection's destination is chosen: [`open`] or [`engine`] said
/// [`Action::Admit`], and what they found lies in the room for opening. A program of its own in the kernel: the
/// verifier of 6.1 would follow every way to a destination through all that comes after it.
#[inline(always)]
pub fn admitted<F: Parse + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
) -> Action {
    let Some(settings) = tables.settings() else { return refuse(tables, Reason::Internal) };
    let Some(mut opening) = tables.scratch() else { return refuse(tables, Reason::Internal) };
    let verdict = admit(tables, settings, &mut opening);
    let entrance = Entrance { ifindex, mac: None };
    execute::<Every, F, T, Fr>(tables, frame, entrance, &opening.packet, verdict)
}

const PASSED: u32 = 1;
const DROPPED: u32 = 2;

/// Reads the frame, whose prefilter and MAC were asked already; 0, or [`PASSED`] or [`DROPPED`] where it cannot be
/// balanced. Not inlined: a stack frame of its own, and what the verifier learns of many headers ends with it.
#[inline(never)]
fn take_in<const ENGINE: bool, F: Parse, T: Store<F>, Fr: Frame>(
    tables: &T,
    settings: &Settings,
    frame: &Fr,
    ifindex: u32,
    opening: &mut Opening<F>,
) -> u32 {
    let packet = F::network(frame).ok_or(Reason::Malformed);
    // Engines are of UDP alone.
    let read = packet.and_then(|network| {
        if ENGINE { F::packet::<Common, Fr>(frame, network) } else { F::packet::<Every, Fr>(frame, network) }
    });
    match read {
        Ok(packet) => {
            opening.packet = packet;
            opening.sender = sender(frame, ifindex);
            if ENGINE {
                opening.call = sip::call_id(tables, frame, &opening.packet, &settings.seed);
            }
            0
        }
        Err(reason) => match refuse(tables, reason) {
            Action::Drop => DROPPED,
            _ => PASSED,
        },
    }
}

/// Directs a frame of family `F` that is of no balanced transport protocol: [`other`] said [`Action::Related`]. An ICMP error
/// about a connection goes where that one goes, everything else to the stack. A program of its own in the kernel.
#[inline(always)]
pub fn related<F: Related + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
) -> Action {
    let Some(settings) = tables.settings() else { return refuse(tables, Reason::Internal) };
    let (packet, quote) = match F::quote(frame) {
        Ok(read) => read,
        Err(reason) => return refuse(tables, reason),
    };
    let entrance = Entrance { ifindex, mac: None };
    match related::decide(tables, settings, &packet, &quote) {
        Way::As(verdict) => execute::<Every, F, T, Fr>(tables, frame, entrance, &packet, verdict),
        Way::Translated(hop, to) => {
            if related::translate(frame, &packet, &quote, &to).is_none() {
                return refuse(tables, Reason::RewriteFailed);
            }
            send::<F, T, Fr>(tables, frame, hop, entrance)
        }
    }
}

/// Sends a frame of family `F` through the tunnel of destination `id`: [`run`] or [`open`] said
/// [`Action::Encapsulate`]. A program of its own in the kernel, so that those two stay small.
#[inline(always)]
pub fn encapsulate<F: Parse + Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    ifindex: u32,
    id: u32,
) -> Action {
    let Some(settings) = tables.settings() else { return refuse(tables, Reason::Internal) };
    let Some(destination) = tables.destination(id) else { return refuse(tables, Reason::Internal) };
    match through::<F, T, Fr>(tables, settings, frame, destination) {
        Through::Encapsulated => {
            send::<F, T, Fr>(tables, frame, destination.hop, Entrance { ifindex, mac: None })
        }
        Through::Refused(reason) => refuse(tables, reason),
        Through::TooLong(most) => match F::network(frame) {
            Some(network) => {
                let error = IcmpError::TooBig(most);
                reply::<F, T, Fr>(tables, frame, network.source, error, Reason::PacketTooBig)
            }
            None => refuse(tables, Reason::Malformed),
        },
    }
}

/// Who sent the frame: a hop back.
#[inline(always)]
fn sender<Fr: Frame>(frame: &Fr, ifindex: u32) -> Hop {
    let mac = frame.get::<u64>(6).unwrap_or(0) & 0xffff_ffff_ffff;
    Hop(mac | u64::from(ifindex & (INTERFACES - 1)) << 48)
}

/// The interface a frame came in by.
#[derive(Clone, Copy)]
struct Entrance {
    /// Kernel index.
    ifindex: u32,
    /// Its MAC, where it is known already.
    mac: Option<u64>,
}

/// Does what was decided.
#[inline(always)]
fn execute<L: Life, F: Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    entrance: Entrance,
    packet: &Packet<F>,
    verdict: Verdict<F>,
) -> Action {
    match verdict {
        Verdict::Pass(reason) | Verdict::Drop(reason) => refuse(tables, reason),
        Verdict::Reply(error, reason) => reply::<F, T, Fr>(tables, frame, packet.source, error, reason),
        Verdict::Encapsulate(id) => Action::Encapsulate(id),
        Verdict::Engine => Action::Engine,
        Verdict::Forward(forward) => {
            if rewrite::<L, F, Fr>(frame, packet, &forward).is_none() {
                return refuse(tables, Reason::RewriteFailed);
            }
            send::<F, T, Fr>(tables, frame, forward.hop, entrance)
        }
    }
}

/// Answers with an ICMP error to `source`, the packet's, if one may go there now.
#[inline(always)]
fn reply<F: Encapsulated + Icmp, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    source: F::Address,
    error: IcmpError,
    reason: Reason,
) -> Action {
    let error = match error {
        // Nobody but the sender of a packet that must stay whole is told.
        IcmpError::TooBig(_) if !F::is_whole(frame) => return refuse(tables, Reason::NotFragmented),
        IcmpError::TooBig(most) => IcmpError::TooBig(most.max(F::LEAST_MTU)),
        error => error,
    };
    if !F::is_unicast(source) {
        return refuse(tables, reason);
    }
    if !tables.icmp_allowed(F::fold(source)) {
        return refuse(tables, Reason::IcmpRateLimited);
    }
    tables.count(reason);
    let mut taken = frame.take();
    let answered = answer::<F, Fr>(&mut taken, error);
    *frame = taken;
    if answered != 0 { Action::Transmit } else { refuse(tables, Reason::RewriteFailed) }
}

/// Makes the frame an ICMP error; 0 where that failed. Not inlined: rare, and a frame of its own.
#[inline(never)]
fn answer<F: Icmp, Fr: Frame>(frame: &mut Fr, error: IcmpError) -> u32 {
    u32::from(F::reply(frame, error).is_some())
}

/// Addresses the frame to its next hop.
#[inline(always)]
fn send<F: Family, T: Store<F>, Fr: Frame>(
    tables: &T,
    frame: &mut Fr,
    hop: Hop,
    entrance: Entrance,
) -> Action {
    // Mostly back out by the interface it came in by, which was looked up already.
    if let Some(mac) = entrance.mac
        && u32::from(hop.interface()) == entrance.ifindex & (INTERFACES - 1)
    {
        if address_frame(frame, hop.0, mac).is_none() {
            return refuse(tables, Reason::RewriteFailed);
        }
        return Action::Transmit;
    }
    let Some(leaving) = tables.interface_at(hop.interface()) else {
        return refuse(tables, Reason::Internal);
    };
    if leaving.ifindex == 0 {
        // An element that is not in use: the interface is gone.
        return refuse(tables, Reason::Internal);
    }
    if address_frame(frame, hop.0, leaving.mac).is_none() {
        return refuse(tables, Reason::RewriteFailed);
    }
    if leaving.ifindex == entrance.ifindex { Action::Transmit } else { Action::Redirect(leaving.ifindex) }
}

/// Counts the reason; the frame goes to the stack or away.
#[inline(always)]
fn refuse<T: crate::tables::Tables>(tables: &T, reason: Reason) -> Action {
    tables.count(reason);
    if reason.is_drop() { Action::Drop } else { Action::Pass }
}
