//! The words of the configuration: virtual services, destinations and what they carry, validated.
//!
//! Pure: no sockets, no clock, no files. Everything else in user space speaks in these types.

mod hop;
mod mark;
mod names;
mod service;
pub mod sysctl;
mod tunnel;

pub use self::hop::{NextHop, Responder};
pub use self::mark::{
    AddressRange, InterfaceName, Mac, MarkOwner, MarkRule, MarkTarget, Network, OwnedMarkRule, PortSpan,
    Ports, Test, Wrong, protocol_name, protocol_number,
};
pub use self::service::{
    DestinationAddress, DestinationSpec, Fwmark, Netmask, Owner, Persistence, Protocol, SchedulerFlags,
    ServiceKey, ServiceSpec, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};
pub use self::tunnel::{OuterNetwork, TunnelSettings};
pub use lb_common::fwd::ForwardingMethod;
pub use lb_common::sched::Scheduler;
