//! Persistence: templates that keep a client on its destination (ip_vs_core.c: ip_vs_sched_persist).

use crate::abi::{
    NONE, Service, Settings, connection_flags, destination_flags, service_flags, settings_flags,
};
use crate::connect::{insert, locate};
use crate::family::{Family, Ports};
use crate::flow_table::{self, Entry, Word};
use crate::parse::Packet;
use crate::sched;
use crate::tables::{Count, FlowTable, Opening, Store, View, template_ports};

/// States of a template.
pub mod state {
    /// No connection through it is assured.
    pub const NONE: u8 = 0;
    /// A connection through it was established.
    pub const ASSURED: u8 = 1;
}

/// Names a template in a connection entry's `link`.
#[inline(always)]
const fn link_of(slot: u32, generation: u16) -> u64 {
    // Never 0, which says that there is no template.
    slot as u64 | (generation as u64) << 32 | 1 << 48
}

/// Key of the template of a packet.
#[inline(always)]
fn key<F: Family>(packet: &Packet<F>, service: &Service) -> F::Key {
    let client = F::masked(packet.source, &service.netmask);
    if service.flags & service_flags::FWMARK != 0 {
        return F::key(client, F::from_mark(service.mark), template_ports([0, 0]), 0);
    }
    // One template a port, but one for all ports of a port-0 service and of FTP.
    let port = packet.ports.destination;
    let every = service.prefix & EVERY_PORT != 0;
    let ports: Ports = template_ports(if every { [0, 0] } else { port });
    F::key(client, packet.destination, ports, packet.protocol)
}

/// Makes the key of the packet's template. Not inlined: a stack frame of its own.
#[inline(never)]
fn template_key<F: Family>(opening: &mut Opening<F>, service: &Service) -> u32 {
    let key = key(&opening.packet, service);
    opening.body.key = if opening.call == 0 { key } else { F::engine(&key, opening.call) };
    0
}

/// Bit of [`Service::prefix`]: templates of the service are of every port (port 0, or FTP).
pub const EVERY_PORT: u32 = 1 << 31;

/// The destination of a new connection of a persistent service, [`NONE`] without; `opening.link` becomes
/// that to its template. Not inlined: a stack frame of its own.
#[inline(never)]
pub(crate) fn choose<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
    service: &Service,
) -> u32 {
    let view = View::<F, T>::new(tables, settings, FlowTable::Templates);
    opening.table = FlowTable::Templates;
    template_key(opening, service);
    locate::<F, T>(tables, settings, opening);
    if let Some(found) = flow_table::seek(&view, &opening.body.key, opening.room.place) {
        let entry = found.entry;
        let id = entry.destination();
        let slot = entry.peer();
        let over = entry.mark() == 0 && flow_table::expired(opening.now, entry.last_seen(), entry.timeout());
        if !over && is_valid::<F, T>(tables, settings, id) && found.still() {
            entry.set_last_seen(opening.now);
            // The kernel keeps the 60 s of an extended template here; ours starts again with the
            // service's own timeout, as `-p` says, unless it is to do as the kernel.
            if settings.flags & settings_flags::KEEP_EXTENDED_TEMPLATE == 0 {
                entry.set_timeout(service.persistence);
            }
            opening.link = link_of(slot, found.word.generation());
            return id;
        }
        if flow_table::discard(&view, found) {
            tables.add_count(id, Count::Persistent, u32::MAX);
        }
    }
    let id = sched::select(tables, service, &opening.subject);
    if id == NONE {
        return NONE;
    }
    let Some(destination) = tables.destination(id) else { return NONE };
    opening.state = state::NONE;
    opening.bits = Word::WEAK;
    let body = &mut opening.body;
    body.last_seen = opening.now;
    body.timeout = service.persistence;
    body.destination = id;
    body.peer = NONE;
    body.peer_generation = 0;
    body.flags = connection_flags::TEMPLATE
        | if service.flags & service_flags::ONE_PACKET != 0 { connection_flags::ONE_PACKET } else { 0 };
    body.address = destination.address;
    body.port = if service.prefix & EVERY_PORT != 0 { [0, 0] } else { destination.port };
    // Listings take the client's address out of the key by it.
    body.link = opening.call;
    body.mark = 0;
    if insert(tables, settings, opening) == 0 {
        // Also where another CPU has replaced it meanwhile, which takes it off the count.
        tables.add_count(id, Count::Persistent, 1);
        if let Some(found) = flow_table::at(&view, opening.slot, opening.generation) {
            // A template has no peer: it keeps its own slot there, for the links of its connections.
            found.entry.set_peer(opening.slot, 0);
            opening.link = link_of(opening.slot, opening.generation);
        }
    }
    id
}

/// Whether a template may still be used (ip_vs_conn.c: ip_vs_check_template). Overload and weight 0 do
/// not matter, unless `expire_quiescent_template` is set.
#[inline(always)]
fn is_valid<F: Family, T: Store<F>>(tables: &T, settings: &Settings, id: u32) -> bool {
    let Some(destination) = tables.destination(id) else { return false };
    if destination.flags & destination_flags::AVAILABLE == 0 {
        return false;
    }
    if settings.flags & settings_flags::EXPIRE_QUIESCENT_TEMPLATE != 0 && destination.weight == 0 {
        return false;
    }
    destination.flags & destination_flags::LOCAL != 0 || destination.hop.is_resolved()
}

/// Changes a template's number of connections by `delta` (wrapping).
#[inline(always)]
pub(crate) fn add_child<F: Family, T: Store<F>>(tables: &T, settings: &Settings, link: u64, delta: u32) {
    let view = View::<F, T>::new(tables, settings, FlowTable::Templates);
    if let Some(template) = flow_table::at(&view, link as u32, (link >> 32) as u16) {
        template.entry.add_mark(delta);
    }
}

/// A connection through the template was established: the template is no longer weak.
#[inline(always)]
pub(crate) fn assure<F: Family, T: Store<F>>(tables: &T, settings: &Settings, link: u64) {
    let view = View::<F, T>::new(tables, settings, FlowTable::Templates);
    if let Some(template) = flow_table::at(&view, link as u32, (link >> 32) as u16)
        && template.word.state() != state::ASSURED
    {
        let word = template.word.with_state(state::ASSURED).without(Word::WEAK);
        let _ = template.entry.swap_word(template.word.0, word.0);
    }
}
