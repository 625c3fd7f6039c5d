//! Answers as text: ipvsadm's listings ([`services`], [`rules`], [`connections`]), and lbadm's own
//! ([`table`], [`status`]).

mod connections;
mod format;
mod rules;
mod services;
mod sort;

pub(super) use self::connections::{ConnectionFormat, ConnectionLines};
pub(super) use self::rules::rules;
pub(super) use self::services::{ListFormat, VERSION_LINE, View, services};
pub(super) use self::sort::sort;
