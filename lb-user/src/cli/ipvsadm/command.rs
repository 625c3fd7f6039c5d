//! What a command line asks for, once it is understood.

use super::super::render::{ConnectionFormat, ListFormat};
use crate::model::{
    DestinationAddress, DestinationSpec, Netmask, Persistence, SchedulerFlags, ServiceKey, Timeouts,
};

/// A command line that is right in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    AddService(Service),
    EditService(Service),
    DeleteService(ServiceKey),
    Clear,
    AddDestination(ServiceKey, DestinationSpec),
    EditDestination(ServiceKey, DestinationSpec),
    DeleteDestination(ServiceKey, DestinationAddress),
    Zero(Option<ServiceKey>),
    SetTimeouts(Timeouts),
    List(Option<ServiceKey>, ListFormat),
    ListConnections(ConnectionFormat),
    ListTimeouts,
    ListDaemons,
    Save(ListFormat),
    Restore,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// A service as typed: the scheduler is a name of which nobody has said yet that it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) key: ServiceKey,
    pub(super) scheduler: String,
    pub(super) flags: SchedulerFlags,
    pub(super) persistence: Option<Persistence>,
    pub(super) netmask: Netmask,
    pub(super) one_packet: bool,
    pub(super) persistence_engine: Option<String>,
}
