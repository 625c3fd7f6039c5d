//! What a director wants done.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Page, RequestId};
use crate::api::Response;
use crate::plan::MapOp;

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Execute these on the maps. Where that fails, what follows of the same list is not true: its
    /// replies become refusals, and the director is to be told what the maps hold now.
    Apply(Vec<MapOp>),
    /// Answer a request.
    Reply(RequestId, Response),
    /// Answer with services of a listing.
    Page(RequestId, Page),
    /// Keep telling how packets reach an address by [`super::Event::NextHop`], and after a fraction of
    /// a second by [`super::Event::Waited`] that nobody should wait any longer for the first answer.
    Watch(IpAddr),
    /// The next hop of an address matters no more.
    Unwatch(IpAddr),
    /// Find out, and keep telling by [`super::Event::Responder`], who answers ARP or neighbour solicitations for these
    /// addresses, which this host does not have; for others no more.
    Ask(BTreeSet<IpAddr>),
    /// What must outlive this process changed ([`super::Director::memory`]).
    Persist,
}
