//! Connection entries and templates as `lbadm -L -c` lists them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::abi::{FlowKey4, FlowKey6, connection_flags};
use lb_common::conn;
use lb_common::family::{Family, V4, V6, bytes};
use lb_common::flow_table::{self, Found};
use lb_common::persist;
use lb_common::tables::{FlowTable, Store};

use super::Maps;
use super::maps::Memory;
use super::sweep::{Stage, live};
use super::tables::MappedTables;
use crate::api::ConnectionView;
use crate::model::Protocol;

/// A walk over every live connection and template, in chunks. What begins or ends meanwhile may be in it
/// or not; nothing is in it twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Where the walk is; `None` at the end.
    at: Option<(Stage, u32)>,
}

impl Default for Listing {
    fn default() -> Self {
        Self { at: Some((Stage::default(), 0)) }
    }
}

impl Listing {
    /// A listing from the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next connections, about `most` of them (1 to 3 more to finish a bucket); none only at the end.
    /// `now` in ticks ([`super::Clock::now`]).
    pub fn next_chunk(&mut self, maps: &Maps, now: u32, most: usize) -> Vec<ConnectionView> {
        self.chunk_of(&maps.memory, now, most)
    }

    pub(super) fn chunk_of(&mut self, memory: &Memory, now: u32, most: usize) -> Vec<ConnectionView> {
        let tables = MappedTables::new(memory, now);
        let hz = tables.copied_settings().hz.max(1);
        let mut views = Vec::new();
        while let Some((stage, bucket)) = self.at {
            if bucket >= stage.buckets(memory) {
                self.at = stage.next().map(|stage| (stage, 0));
                continue;
            }
            if views.len() >= most.max(1) {
                break;
            }
            let (connections, templates) = (FlowTable::Connections, FlowTable::Templates);
            match stage {
                Stage::Connections4 => views.extend(views_of::<V4>(&tables, connections, bucket, now, hz)),
                Stage::Connections6 => views.extend(views_of::<V6>(&tables, connections, bucket, now, hz)),
                Stage::Templates4 => views.extend(views_of::<V4>(&tables, templates, bucket, now, hz)),
                Stage::Templates6 => views.extend(views_of::<V6>(&tables, templates, bucket, now, hz)),
            }
            self.at = Some((stage, bucket + 1));
        }
        views
    }
}

/// The connections of a bucket.
fn views_of<'t, F: Listed>(
    tables: &MappedTables<'t>,
    table: FlowTable,
    bucket: u32,
    now: u32,
    hz: u32,
) -> impl Iterator<Item = ConnectionView>
where
    MappedTables<'t>: Store<F>,
{
    live::<F>(tables, table, bucket).filter_map(move |(_, found)| view::<F, _>(found, now, hz))
}

/// One connection; `None` for the other half of one, and for what is over or changed hands meanwhile.
fn view<F: Listed, E: flow_table::Entry<Key = F::Key>>(
    found: Found<E>,
    now: u32,
    hz: u32,
) -> Option<ConnectionView> {
    let entry = found.entry;
    let (key, flags, address, port) = (entry.key(), entry.flags(), entry.address(), entry.port());
    let link = entry.link();
    let (seen, timeout, children) = (entry.last_seen(), entry.timeout(), entry.mark());
    if !found.still() || flags & connection_flags::REPLY != 0 {
        return None;
    }
    let template = flags & connection_flags::TEMPLATE != 0;
    let over = flow_table::expired(now, seen, timeout);
    if over && !(template && children != 0) {
        return None;
    }
    let left = if over { 0 } else { timeout.saturating_sub(now.wrapping_sub(seen).min(timeout)) };
    let protocol = F::protocol(&key);
    let state = found.word.state();
    let state = match (template, state) {
        (false, state) => conn::state_name(protocol, state),
        (true, persist::state::ASSURED) => "ASSURED",
        (true, _) => "NONE",
    };
    // A persistence engine's template has its hash in the key as well.
    let key = if template && F::is_engine(&key) { F::engine(&key, link) } else { key };
    let (client, virtual_address) = F::ends(&key);
    Some(ConnectionView {
        protocol: Protocol::from_number(protocol),
        expires: left / hz,
        state: state.to_owned(),
        client,
        virtual_address,
        destination: SocketAddr::new(F::ip(F::narrow(&address)), u16::from_be_bytes(port)),
        template,
    })
}

/// A family whose keys can be read back.
trait Listed: Family {
    /// Source and destination of a key.
    fn ends(key: &Self::Key) -> (SocketAddr, SocketAddr);
    /// An address.
    fn ip(address: Self::Address) -> IpAddr;
}

/// Ports of the last word of a key: source in the lowest bits, bytes as they lie in the packet.
const fn ports(rest: u64) -> (u16, u16) {
    let [a, b, c, d, ..] = rest.to_le_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

impl Listed for V4 {
    fn ends(key: &FlowKey4) -> (SocketAddr, SocketAddr) {
        let [a, b, c, d, e, f, g, h] = key.addresses.to_le_bytes();
        let (source, destination) = ports(key.rest);
        (
            SocketAddr::new(Self::ip([a, b, c, d]), source),
            SocketAddr::new(Self::ip([e, f, g, h]), destination),
        )
    }

    fn ip(address: [u8; 4]) -> IpAddr {
        Ipv4Addr::from(address).into()
    }
}

impl Listed for V6 {
    fn ends(key: &FlowKey6) -> (SocketAddr, SocketAddr) {
        let (source, destination) = ports(key.rest);
        (
            SocketAddr::new(Self::ip(key.source), source),
            SocketAddr::new(Self::ip(key.destination), destination),
        )
    }

    fn ip(address: [u64; 2]) -> IpAddr {
        Ipv6Addr::from(bytes(address)).into()
    }
}

#[cfg(test)]
mod tests {
    use lb_common::family::Ports;

    use super::*;

    #[test]
    fn keys_are_read_back() {
        let ends = |c: &str, v: &str| (c.parse().unwrap(), v.parse().unwrap());
        let key = V4::key([192, 0, 2, 1], [198, 51, 100, 9], Ports::new(40_000, 80), 6);
        assert_eq!(V4::ends(&key), ends("192.0.2.1:40000", "198.51.100.9:80"));
        let wide = |a: &str| V6::narrow(&a.parse::<Ipv6Addr>().unwrap().octets());
        let key = V6::key(wide("2001:db8::1"), wide("2001:db8::9"), Ports::new(1, 65_535), 17);
        assert_eq!(V6::ends(&key), ends("[2001:db8::1]:1", "[2001:db8::9]:65535"));
        for hash in [1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let engine =
                V4::engine(&V4::key([192, 0, 2, 9], [198, 51, 100, 9], Ports::new(0, 5060), 17), hash);
            assert_eq!(V4::ends(&V4::engine(&engine, hash)), ends("192.0.2.9:0", "198.51.100.9:5060"));
        }
        let template = V4::key([192, 0, 2, 0], V4::from_mark(3), Ports::new(0, 0), 0);
        assert_eq!(V4::ends(&template), ends("192.0.2.0:0", "0.0.0.3:0"));
    }
}
