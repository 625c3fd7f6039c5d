//! From nothing, or from what an earlier lbd left, to a director that serves.

use std::time::Duration;

use lb_common::ABI_VERSION;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::attach::{Interfaces, named};
use super::core::Core;
use super::event_loop::EventLoop;
use super::state_dir::StateDir;
use super::{Args, Error};
use crate::bpf::{Dataplane, MapPins, OpenOptions, Sizes};
use crate::config::{Config, TableSizes};
use crate::director::Event;
use crate::instance::Instance;
use crate::model::NextHop;
use crate::netlink::{NetEvent, Netlink};
use crate::server::Server;

/// How long the start waits for the neighbours of the destinations.
const FIRST_NEIGHBOURS: Duration = Duration::from_millis(300);

/// Starts lbd and runs it to its end.
pub(super) async fn start(args: Args, instance: Instance, config: Option<Config>) -> Result<(), Error> {
    let begun = Instant::now();
    let interfaces = Interfaces::new(named(&args, config.as_ref())?);
    let state = StateDir::lock(&instance)?;
    let tables = config.as_ref().map_or_else(TableSizes::default, |c| c.tables);
    let mut dataplane = Dataplane::open(&OpenOptions {
        bpffs: instance.bpffs().to_owned(),
        maps_dir: instance.maps_dir(ABI_VERSION),
        links_dir: instance.links_dir(),
        sizes: sizes(tables),
    })?;
    let opened = begun.elapsed();
    for warning in dataplane.warnings() {
        tracing::warn!("{warning}");
    }
    let events = dataplane.take_events()?;
    let mut netlink = Netlink::new()?;
    let Some(mut changes) = netlink.events() else {
        return Err(Error::Runtime(std::io::Error::other("the listener for changes of routes is taken")));
    };

    tracing::debug!(adopted = dataplane.adopted(), ?opened, "the data path is open");
    let pins = MapPins::of(&instance.maps_dir(ABI_VERSION))?;
    let mut core = Core::new(instance, state, dataplane, pins, netlink, interfaces);
    core.read_links().await?;
    core.read_addresses().await?;
    core.adopt()?;
    if let Some(config) = config {
        core.event(Event::Config(Box::new(config)));
    }
    core.update_watch();
    tracing::debug!(elapsed = ?begun.elapsed(), "the maps are as configured");
    // An adopted data path has what it had before, and goes on with it.
    if !core.dataplane.adopted() {
        first_neighbours(&mut core, &mut changes).await;
    }
    core.attach()?;
    core.read_links().await?;

    let uid = nix::unistd::geteuid().as_raw();
    let server = Server::bind(&core.instance.socket_path(), uid)?;
    let (services, destinations) = core.director.size();
    tracing::info!(
        instance = core.instance.name(),
        services,
        destinations,
        milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "the director is ready"
    );
    EventLoop { core, changes, events, args, tables }.run(server).await
}

fn sizes(tables: TableSizes) -> Sizes {
    Sizes {
        connections: tables.connections,
        connections6: None,
        services: tables.services,
        destinations: tables.destinations,
        slots: tables.slots,
    }
}

/// Waits for the first answers about the destinations, so that the first packets find them.
async fn first_neighbours(core: &mut Core, changes: &mut mpsc::Receiver<NetEvent>) {
    let mut missing = core.watched().clone();
    let end = Instant::now() + FIRST_NEIGHBOURS;
    while !missing.is_empty() {
        let Ok(Some(change)) = timeout_at(end, changes.recv()).await else { break };
        // Everything else was just read, or is read anew after the start.
        if let NetEvent::NextHop { address, next_hop } = change {
            if !matches!(next_hop, NextHop::Unresolved { .. }) {
                missing.remove(&address);
            }
            core.event(Event::NextHop { address, next_hop });
        }
    }
}
