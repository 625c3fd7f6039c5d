//! The director without a kernel: the maps as ordinary memory, and a frame sent through.
//!
//! [`HostTables`] does over memory what the XDP program's shell does over maps, so that tests on the host
//! and tests against the kernel speak of the same tables. Never part of a program: feature `testing`.

mod host;
mod site;

pub use self::host::{HostTables, Lent, random_number};
pub use self::site::{
    DIRECTOR_MAC, MhServer, ServiceSpec, fill, mark_rule, mark_words, mh_table, name_words, weights,
};
use crate::family::{V4, V6};
use crate::frame::{Frame, SliceFrame};
use crate::parse::{self, Link};
use crate::run::{Action, admitted, encapsulate, engine, open, other, related, run};
use crate::tables::Store;

/// Bytes in front of a frame that it may grow into (XDP_PACKET_HEADROOM).
const HEADROOM: usize = 256;

/// Directs a frame as the kernel's programs do one after the other: [`run()`], then [`other`] for a frame of the other
/// protocols, [`related`] for an error about a connection, [`open`] for one without connection, [`engine`] where its
/// service has one, [`admitted`] where a destination is chosen, and [`encapsulate`] for one whose destination is behind a tunnel.
pub fn run_all<T: Store<V4> + Store<V6>, Fr: Frame>(tables: &T, frame: &mut Fr, ifindex: u32) -> Action {
    let mut action = run(tables, frame, ifindex);
    // The first program takes only frames of the two families for ones of the others.
    let Ok(link) = parse::link(frame) else { return action };
    if action == Action::Other {
        action = match link {
            Link::V4 => other::<V4, T, Fr>(tables, frame, ifindex),
            Link::V6 => other::<V6, T, Fr>(tables, frame, ifindex),
        };
    }
    if action == Action::Related {
        action = match link {
            Link::V4 => related::<V4, T, Fr>(tables, frame, ifindex),
            Link::V6 => related::<V6, T, Fr>(tables, frame, ifindex),
        };
    }
    if action == Action::Open {
        action = match link {
            Link::V4 => open::<V4, T, Fr>(tables, frame, ifindex),
            Link::V6 => open::<V6, T, Fr>(tables, frame, ifindex),
        };
    }
    if action == Action::Engine {
        action = match link {
            Link::V4 => engine::<V4, T, Fr>(tables, frame, ifindex),
            Link::V6 => engine::<V6, T, Fr>(tables, frame, ifindex),
        };
    }
    if action == Action::Admit {
        action = match link {
            Link::V4 => admitted::<V4, T, Fr>(tables, frame, ifindex),
            Link::V6 => admitted::<V6, T, Fr>(tables, frame, ifindex),
        };
    }
    if let Action::Encapsulate(id) = action {
        action = match link {
            Link::V4 => encapsulate::<V4, T, Fr>(tables, frame, ifindex, id),
            Link::V6 => encapsulate::<V6, T, Fr>(tables, frame, ifindex, id),
        };
    }
    action
}

/// Directs a copy of the frame `bytes`; what to do with it, and its bytes afterwards.
pub fn direct_bytes<T: Store<V4> + Store<V6>>(tables: &T, bytes: &[u8], ifindex: u32) -> (Action, Vec<u8>) {
    let mut memory = vec![0; HEADROOM];
    memory.extend_from_slice(bytes);
    let end = memory.len();
    let mut frame = SliceFrame::new(&mut memory, HEADROOM, end);
    let action = run_all(tables, &mut frame, ifindex);
    (action, frame.bytes().to_vec())
}
