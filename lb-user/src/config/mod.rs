//! What lbd is told at its start: text into a validated [`Config`], or every error in it at once.
//!
//! Pure: [`parse`] gets the text, whoever calls it reads the file. Called by the daemon at start and
//! at reload.

mod diagnostics;
mod mark;
mod native;
mod reader;
mod service;
mod sysctl;
mod tunnel;

use std::collections::BTreeMap;

pub use self::diagnostics::{Diagnostic, Diagnostics};
pub use self::native::parse;
use crate::model::sysctl::SysctlValue;
use crate::model::{DestinationSpec, MarkRule, ServiceKey, ServiceSpec, Timeouts, TunnelSettings};

/// A configuration, each rule of it valid by itself and with the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Services and their destinations, in the order of the file.
    pub services: Vec<(ServiceSpec, Vec<DestinationSpec>)>,
    /// Rules that give marks, in their order.
    pub marks: Vec<MarkRule>,
    /// Timeouts, where the file has any.
    pub timeouts: Option<Timeouts>,
    /// Sysctls of IPVS that the file sets, by name.
    pub sysctls: Vec<SysctlValue>,
    /// Sizes of the tables.
    pub tables: TableSizes,
    /// Size of the tables of mh of services that say none; `None`: the kernel's default.
    pub mh_table_size: Option<u32>,
    /// Interfaces to attach to, beside those of the command line.
    pub interfaces: Vec<String>,
    /// Settings of all tunnels.
    pub tunnels: TunnelSettings,
    /// Settings of the tunnels of services that say something themselves.
    pub service_tunnels: BTreeMap<ServiceKey, TunnelSettings>,
}

/// Sizes of the tables; they are fixed while the data path is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSizes {
    /// Concurrent connections expected, per address family. The table has more slots than that.
    pub connections: u32,
    /// Virtual services.
    pub services: u32,
    /// Destinations of all services together.
    pub destinations: u32,
    /// Slots of the schedulers of all services together.
    pub slots: u32,
}

impl Default for TableSizes {
    fn default() -> Self {
        Self { connections: 393_216, services: 8_192, destinations: 32_768, slots: 2_097_152 }
    }
}

#[cfg(test)]
mod tests;
