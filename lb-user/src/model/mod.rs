//! The words of the configuration: virtual services, destinations and what they carry, validated.
//!
//! Pure: no sockets, no clock, no files. Everything else in user space speaks in these types.

mod hop;
mod names;
mod service;
mod tunnel;

pub use self::hop::{NextHop, Responder};
pub use self::service::{
    DestinationAddress, DestinationSpec, Fwmark, MarkRule, Netmask, Owner, Persistence, Protocol,
    SchedulerFlags, ServiceKey, ServiceSpec, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};
pub use self::tunnel::{Network, TunnelSettings};
pub use lb_common::fwd::ForwardingMethod;
pub use lb_common::sched::Scheduler;
