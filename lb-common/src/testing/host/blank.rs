//! Room for opening a connection: one of each thread, as the kernel has one of each CPU, so that what one program leaves
//! there the next one finds.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};

use crate::abi::{Hop, LocalityKey, Service};
use crate::family::{Family, Ports, V4, V6};
use crate::flow_table::{Body, Place, Removed, Room, Word};
use crate::parse::Packet;
use crate::sched::Subject;
use crate::tables::Opening;

thread_local! {
    static KEPT4: Cell<Option<Opening<V4>>> = const { Cell::new(None) };
    static KEPT6: Cell<Option<Opening<V6>>> = const { Cell::new(None) };
}

/// Families whose room is kept.
pub trait Kept: Family {
    /// Puts something where this thread keeps it; what was there.
    fn swap(with: Option<Opening<Self>>) -> Option<Opening<Self>>;
}

impl Kept for V4 {
    fn swap(with: Option<Opening<Self>>) -> Option<Opening<Self>> {
        KEPT4.replace(with)
    }
}

impl Kept for V6 {
    fn swap(with: Option<Opening<Self>>) -> Option<Opening<Self>> {
        KEPT6.replace(with)
    }
}

/// The thread's room, given back when dropped.
#[derive(Debug)]
pub struct Lent<F: Kept>(Opening<F>);

impl<F: Kept> Lent<F> {
    /// The room; arbitrary at first.
    #[must_use]
    pub fn take() -> Self {
        Self(F::swap(None).unwrap_or_else(blank))
    }
}

impl<F: Kept> Deref for Lent<F> {
    type Target = Opening<F>;
    fn deref(&self) -> &Opening<F> {
        &self.0
    }
}

impl<F: Kept> DerefMut for Lent<F> {
    fn deref_mut(&mut self) -> &mut Opening<F> {
        &mut self.0
    }
}

impl<F: Kept> Drop for Lent<F> {
    fn drop(&mut self) {
        F::swap(Some(self.0));
    }
}

/// Room for opening a connection, filled with what the decision must not rely on.
pub(super) fn blank<F: Family>() -> Opening<F> {
    let nowhere = F::narrow(&[0xa5; 16]);
    let ports = Ports::new(0xa5a5, 0xa5a5);
    let key = F::key(nowhere, nowhere, ports, 0xa5);
    Opening {
        packet: Packet {
            source: nowhere,
            destination: nowhere,
            ports,
            port_word: 0xa5a5_a5a5,
            protocol: 0xa5,
            tcp_flags: 0xa5,
            sctp_event: 0xa5,
            ttl: 0xa5,
            transport: 0xa5a5,
            length: 0xa5a5,
        },
        now: 0xa5a5_a5a5,
        destination: 0xa5a5_a5a5,
        mark: 0xa5a5_a5a5,
        sender: Hop(0xa5a5_a5a5_a5a5_a5a5),
        service: Service { slots: 0xa5a5, flags: 0xa5, ..Service::default() },
        served: 0xa5a5,
        link: 0xa5a5_a5a5_a5a5_a5a5,
        stray: 0xa5a5,
        call: 0xa5a5_a5a5_a5a5_a5a5,
        subject: Subject {
            key: LocalityKey { service: 0xa5a5, epoch: 0xa5a5, address: [0xa5; 16] },
            client: 0xa5a5_a5a5,
            address: 0xa5a5_a5a5,
            now: 0xa5a5_a5a5,
            client_port: 0xa5a5,
        },
        body: Body {
            key,
            address: [0xa5; 16],
            link: 0xa5a5,
            last_seen: 0xa5a5,
            timeout: 0xa5a5,
            destination: 0xa5a5,
            peer: 0xa5a5,
            mark: 0xa5a5,
            peer_generation: 0xa5a5,
            flags: 0xa5a5,
            port: [0xa5; 2],
        },
        room: Room {
            place: Place { home: 0xa5a5, partner: 0xa5a5, start: 0xa5a5, overflow: [0xa5a5; 2] },
            removed: Removed {
                word: Word(0xa5a5_a5a5),
                key,
                destination: 0xa5a5,
                flags: 0xa5a5,
                peer: 0xa5a5,
                peer_generation: 0xa5a5,
                link: 0xa5a5,
            },
            replaced: true,
            best: 0xa5a5,
            word: Word(0xa5a5_a5a5),
            slot: 0xa5a5,
            twins: 0xa5a5,
            cell: 0xa5a5,
        },
        state: 0xa5,
        generation: 0xa5a5,
        bits: 0xa5a5_a5a5,
        failed: 0xa5a5,
        slot: 0xa5a5,
    }
}
