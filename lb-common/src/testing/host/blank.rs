//! Room for opening a connection.

use crate::abi::{Hop, LocalityKey};
use crate::family::{Family, Ports};
use crate::flow_table::{Body, Place, Removed, Room, Word};
use crate::parse::Packet;
use crate::sched::Subject;
use crate::tables::{FlowTable, Opening};

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
        link: 0xa5a5_a5a5_a5a5_a5a5,
        call: 0xa5a5_a5a5_a5a5_a5a5,
        stray: 0xa5a5,
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
            cell: 0xa5a5,
        },
        table: FlowTable::Templates,
        state: 0xa5,
        generation: 0xa5a5,
        bits: 0xa5a5_a5a5,
        slot: 0xa5a5,
    }
}
