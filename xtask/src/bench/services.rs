//! The services of the director that is measured, and their destinations.

use std::mem::offset_of;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use lb_common::{
    abi::{Destination, Service, destination_flags},
    fwd::ForwardingMethod,
    sched::Scheduler,
};

use super::{
    frames::{REAL, REAL_PORT, VIP, VIP6},
    site::{DESTINATIONS, DR, GUE, IPIP, NAT, UDP, hop},
    value::{self, Bytes, Value},
};

/// Writes services and destinations.
///
/// # Errors
/// When a map cannot be written.
pub(super) fn write(ebpf: &mut Ebpf) -> Result<()> {
    let mut destinations: Bytes<{ size_of::<Destination>() }> = value::array(ebpf, "DESTINATIONS")?;
    let mut slots: Bytes<4> = value::array(ebpf, "SLOTS")?;
    let take = |ebpf: &mut Ebpf, name: &str| ebpf.take_map(name).with_context(|| format!("no map {name}"));
    let mut services4: HashMap<MapData, [u8; 8], [u8; size_of::<Service>()]> =
        HashMap::try_from(take(ebpf, "SERVICES4")?)?;
    let mut services6: HashMap<MapData, [u8; 20], [u8; size_of::<Service>()]> =
        HashMap::try_from(take(ebpf, "SERVICES6")?)?;
    let all = [
        (VIP.as_slice(), DR, 6, DESTINATIONS, ForwardingMethod::DirectRoute),
        (VIP.as_slice(), UDP, 17, DESTINATIONS, ForwardingMethod::DirectRoute),
        (VIP6.as_slice(), DR, 6, DESTINATIONS, ForwardingMethod::DirectRoute),
        (VIP.as_slice(), NAT, 6, 1, ForwardingMethod::Masq),
        (VIP.as_slice(), IPIP, 6, 1, ForwardingMethod::Tunnel),
        (VIP.as_slice(), GUE, 6, 1, ForwardingMethod::Tunnel),
    ];
    let mut first = 0;
    for (service, (address, port, protocol, number, method)) in (0_u32..).zip(all) {
        let masq = method == ForwardingMethod::Masq;
        for id in first..first + number {
            let last = u8::try_from(id)?;
            let real = if masq { REAL } else { [203, 0, 113, 100 + last] };
            let destination = Value::<{ size_of::<Destination>() }>::new()
                .u64(offset_of!(Destination, hop), hop().0)
                .u32(offset_of!(Destination, flags), destination_flags::AVAILABLE | destination_flags::IN_USE)
                .u32(offset_of!(Destination, weight), 1)
                .with(offset_of!(Destination, address), &real)
                .with(offset_of!(Destination, port), &if masq { REAL_PORT } else { port }.to_be_bytes())
                .with(offset_of!(Destination, family), &[if address.len() == 4 { 4 } else { 6 }])
                .with(offset_of!(Destination, method), &[method as u8])
                .u32(offset_of!(Destination, mtu), 1500)
                .with(offset_of!(Destination, tunnel_source), &[203, 0, 113, 1])
                .with(offset_of!(Destination, tunnel_port), &port.to_be_bytes())
                .with(offset_of!(Destination, tunnel_kind), &[u8::from(port == GUE)])
                .u32(offset_of!(Destination, service), service);
            destinations.set(id, destination.0, 0)?;
            slots.set(id, id.to_ne_bytes(), 0)?;
        }
        let value = Value::<{ size_of::<Service>() }>::new()
            .u32(offset_of!(Service, id), service)
            .with(offset_of!(Service, scheduler), &[Scheduler::Rr as u8])
            .u32(offset_of!(Service, first_slot), first)
            .u32(offset_of!(Service, slots), number)
            .u32(offset_of!(Service, weight_step), 1)
            .u32(offset_of!(Service, weight_max), 1);
        let tail = [port.to_be_bytes(), [protocol, 0]].concat();
        if address.len() == 4 {
            services4.insert(Value::<8>::new().with(0, address).with(4, &tail).0, value.0, 0)?;
        } else {
            services6.insert(Value::<20>::new().with(0, address).with(16, &tail).0, value.0, 0)?;
        }
        first += number;
    }
    Ok(())
}
