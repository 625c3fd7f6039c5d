//! What a client of the control socket may ask.

use serde::{Deserialize, Serialize};

use super::MarkChange;
use crate::model::sysctl::SysctlValue;
use crate::model::{DestinationAddress, DestinationSpec, ServiceKey, ServiceSpec, Timeouts};

/// A request. Changes are answered by [`super::Response::Done`] or [`super::Response::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// `-A`.
    AddService {
        /// The new service.
        service: ServiceSpec,
    },
    /// `-E`: replaces everything but the key.
    EditService {
        /// The service as it is to be.
        service: ServiceSpec,
    },
    /// `-D`.
    DeleteService {
        /// Which service.
        key: ServiceKey,
    },
    /// `-C`: every service.
    Clear,
    /// `-a`.
    AddDestination {
        /// Of which service.
        key: ServiceKey,
        /// The new destination.
        destination: DestinationSpec,
    },
    /// `-e`: replaces everything but the address.
    EditDestination {
        /// Of which service.
        key: ServiceKey,
        /// The destination as it is to be.
        destination: DestinationSpec,
    },
    /// `-d`.
    DeleteDestination {
        /// Of which service.
        key: ServiceKey,
        /// Which destination.
        address: DestinationAddress,
    },
    /// `-Z`, of one service or of all.
    Zero {
        /// Which service, all where `None`.
        key: Option<ServiceKey>,
    },
    /// `--set`: a value of 0 leaves that timeout as it is.
    SetTimeouts {
        /// The three timeouts, seconds.
        timeouts: Timeouts,
    },
    /// `-L --timeout`.
    Timeouts,
    /// `-L`, of one service or of all; answered by [`super::Response::Services`] lines, unsorted.
    Services {
        /// Which service, all where `None`.
        key: Option<ServiceKey>,
    },
    /// `-L -c`; answered by [`super::Response::Connections`] lines.
    Connections,
    /// Changes the rules that give marks: all of the changes at once, or none.
    ChangeMarks {
        /// In order.
        changes: Vec<MarkChange>,
    },
    /// The rules that give marks.
    Marks,
    /// Sets sysctls of IPVS, all or none.
    SetSysctls {
        /// With their values.
        values: Vec<SysctlValue>,
    },
    /// The sysctls in force.
    Sysctls,
    /// What all services count together.
    Stats,
    /// Whether lbd forwards, and how.
    Status,
}
