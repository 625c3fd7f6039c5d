//! What `lbadm list --json` says, as far as tests ask.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Director;

/// Counters of a service or destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Packets from the real server.
    pub out_packets: u64,
    /// Bytes from the real server.
    pub out_bytes: u64,
}

/// One destination of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationView {
    /// `198.51.100.11:80`.
    pub address: String,
    /// Weight.
    pub weight: u64,
    /// Active connections.
    pub active: u64,
    /// Inactive connections.
    pub inactive: u64,
    /// Counters.
    pub counters: Counters,
    /// `resolved`, `unresolved` or `local`.
    pub neighbour: String,
}

impl Director {
    /// The counters of the only service there is.
    ///
    /// # Errors
    /// If the listing is not as expected.
    pub fn counters(&self) -> Result<Counters> {
        counters(&self.only_service()?)
    }

    /// The destinations of the only service there is, by address.
    ///
    /// # Errors
    /// If the listing is not as expected.
    pub fn destinations(&self) -> Result<Vec<DestinationView>> {
        let service = self.only_service()?;
        let list = service
            .get("destinations")
            .and_then(Value::as_array)
            .context("no destinations in the listing")?;
        let mut all: Vec<DestinationView> = list.iter().map(destination).collect::<Result<_>>()?;
        all.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(all)
    }

    fn only_service(&self) -> Result<Value> {
        let list = self.list()?;
        let services = list.get("services").unwrap_or(&list);
        match services.as_array().map(Vec::as_slice) {
            Some([service]) => Ok(service.clone()),
            _ => anyhow::bail!("not exactly one service in {list}"),
        }
    }
}

fn number(value: &Value, pointer: &str) -> Result<u64> {
    value.pointer(pointer).and_then(Value::as_u64).with_context(|| format!("no number {pointer} in {value}"))
}

fn counters(value: &Value) -> Result<Counters> {
    Ok(Counters {
        connections: number(value, "/stats/connections")?,
        in_packets: number(value, "/stats/in_packets")?,
        in_bytes: number(value, "/stats/in_bytes")?,
        out_packets: number(value, "/stats/out_packets")?,
        out_bytes: number(value, "/stats/out_bytes")?,
    })
}

fn destination(value: &Value) -> Result<DestinationView> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    Ok(DestinationView {
        address: text("/destination/address").context("a destination without an address")?.to_owned(),
        weight: number(value, "/destination/weight")?,
        active: number(value, "/active")?,
        inactive: number(value, "/inactive")?,
        counters: counters(value)?,
        neighbour: text("/neighbour")
            .or_else(|| text("/neighbour/state"))
            .context("a destination without a neighbour")?
            .to_owned(),
    })
}
