//! Records to the daemon. A full ring loses them: each is asked for again by a later packet.

use lb_common::abi::{Event, event_kind};

use crate::maps::EVENTS;

/// Asks the daemon to resolve the next hop towards `address`.
#[inline(never)]
pub fn want_neighbour(high: u64, low: u64, family: u32) -> u32 {
    if let Some(mut record) = EVENTS.reserve::<Event>(0) {
        record.write(Event {
            kind: event_kind::NEIGHBOUR_WANTED,
            ifindex: 0,
            address: lb_common::family::bytes([high, low]),
            family,
            _pad: 0,
        });
        record.submit(0);
    }
    0
}
