//! Answers as text: ipvsadm's listings ([`services()`], [`rules()`], [`ConnectionLines`]), and lbadm's
//! own ([`table()`], [`status()`], [`stats()`], [`marks()`]).

mod columns;
mod connections;
mod format;
mod marks;
mod rules;
mod services;
mod sort;
mod stats;
mod status;
mod sysctls;
mod table;

pub(super) use self::connections::{ConnectionFormat, ConnectionLines};
pub(super) use self::marks::marks;
pub(super) use self::rules::rules;
pub(super) use self::services::{ListFormat, VERSION_LINE, View, services};
pub(super) use self::sort::sort;
pub(super) use self::stats::{stats, stats_of_proc};
pub(super) use self::status::status;
pub(super) use self::sysctls::{sysctls, sysctls_json};
pub(super) use self::table::table;
