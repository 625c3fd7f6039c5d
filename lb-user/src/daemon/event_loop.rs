//! The loop: everything that happens, one after the other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::core::{Core, Cursor, chain};
use super::{Args, Error, attach, config};
use crate::bpf::{Events, NeighbourWanted, Step};
use crate::config::TableSizes;
use crate::director::Event;
use crate::netlink::{NetEvent, NetlinkError};
use crate::notify::sd;
use crate::server::{Call, Server};

/// The interval of the rate estimators (ip_vs_est.c).
const TICK: Duration = Duration::from_secs(2);

/// A pass over the tables begins so often.
const PASS: Duration = Duration::from_secs(1);

/// Between the steps of a pass, for everybody else.
const BETWEEN_STEPS: Duration = Duration::from_millis(1);

/// Changes of routes and neighbours that come together are one.
const ROUTES: Duration = Duration::from_millis(50);

/// A client whose neighbour is asked for is not asked for again for so long.
const WANTED_AGAIN: Duration = Duration::from_millis(500);

/// Clients that are remembered as asked for, at most.
const WANTED_MOST: usize = 4096;

/// How long a clean stop may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Requests that wait for the loop.
const CALLS: usize = 64;

/// Everything that the loop listens to.
pub(super) struct EventLoop {
    pub(super) core: Core,
    pub(super) changes: mpsc::Receiver<NetEvent>,
    pub(super) events: Option<Events>,
    pub(super) args: Args,
    /// Sizes of the tables, as configured at the start.
    pub(super) tables: TableSizes,
}

/// What a turn of the loop found.
enum Happened {
    Call(Call<Cursor>),
    Change(NetEvent),
    Wanted(std::io::Result<NeighbourWanted>),
    Sweep,
    Tick,
    Waited,
    RoutesSettled,
    Reload,
    Stop(&'static str),
}

impl EventLoop {
    /// Serves until a signal ends it.
    pub(super) async fn run(mut self, server: Server) -> Result<(), Error> {
        let [mut terminate, mut interrupt, mut hangup] = signals()?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (send, mut calls) = mpsc::channel(CALLS);
        tasks.spawn(server.serve(send, stop.clone()));
        sd::ready();

        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pass_begun = Instant::now();
        let mut sweep_at = pass_begun;
        let mut routes_at: Option<Instant> = None;
        let mut asked: HashMap<IpAddr, Instant> = HashMap::new();
        loop {
            let happened = tokio::select! {
                biased;
                _ = terminate.recv() => Happened::Stop("SIGTERM"),
                _ = interrupt.recv() => Happened::Stop("SIGINT"),
                _ = hangup.recv() => Happened::Reload,
                Some(change) = self.changes.recv() => Happened::Change(change),
                () = at(self.core.next_wait()) => Happened::Waited,
                () = at(routes_at) => Happened::RoutesSettled,
                _ = tick.tick() => Happened::Tick,
                () = sleep_until(sweep_at) => Happened::Sweep,
                wanted = next_wanted(&mut self.events) => Happened::Wanted(wanted),
                Some(call) = calls.recv() => Happened::Call(call),
            };
            match happened {
                Happened::Stop(name) => {
                    tracing::info!(signal = name, "stopping; the data path goes on");
                    break;
                }
                Happened::Reload => self.reload().await,
                Happened::Call(call) => self.core.call(call),
                Happened::Change(change) => {
                    if self.change(change).await && routes_at.is_none() {
                        routes_at = Some(Instant::now() + ROUTES);
                    }
                }
                Happened::RoutesSettled => {
                    routes_at = None;
                    self.core.event(Event::RoutesChanged);
                }
                Happened::Waited => self.core.end_waits(),
                Happened::Tick => {
                    self.core.event(Event::Tick);
                    if let Err(error) = self.core.mend().await {
                        tracing::error!(error = chain(&error), "cannot read the kernel's tables");
                    }
                }
                Happened::Sweep => {
                    sweep_at = match self.core.sweep() {
                        Step::More => Instant::now() + BETWEEN_STEPS,
                        Step::Done => {
                            pass_begun = (pass_begun + PASS).max(Instant::now());
                            pass_begun
                        }
                    };
                }
                Happened::Wanted(Ok(wanted)) => self.want(wanted.address, &mut asked).await,
                Happened::Wanted(Err(error)) => {
                    tracing::error!(%error, "no more events of the data path: clients of NAT behind unknown neighbours wait");
                    self.events = None;
                }
            }
            self.core.update_watch();
            self.core.remember(false);
        }
        sd::stopping();
        stop.cancel();
        drop(calls);
        let ended = timeout(DEADLINE, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("some clients did not go in time");
            tasks.abort_all();
        }
        self.core.remember(true);
        self.core.remove_socket();
        Ok(())
    }

    /// Reads the configuration again; a wrong one changes nothing.
    async fn reload(&mut self) {
        let Some(path) = &self.args.config else {
            tracing::warn!("SIGHUP: lbd was started without --config, there is nothing to read again");
            return;
        };
        let read = config::read(path).and_then(|config| {
            let interfaces = attach::named(&self.args, Some(&config))?;
            Ok((config, interfaces))
        });
        let (config, interfaces) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!("SIGHUP: what is in force stays\n{}", error.text());
                let path = path.display();
                self.core.reload_warnings = vec![format!(
                    "the configuration was wrong when lbd was told to read it again (SIGHUP), and what was in force stays: `lbd --check --config {path}` says what is wrong"
                )];
                return;
            }
        };
        self.core.reload_warnings.clear();
        if config.tables != self.tables {
            let warning = "the sizes of [tables] are others than at the start of lbd: they change when the data path is made anew (stop lbd, `lbadm detach`, start lbd)";
            tracing::warn!("{warning}");
            self.core.reload_warnings.push(warning.to_owned());
        }
        let shown = path.display().to_string();
        self.core.event(Event::Config(Box::new(config)));
        let (services, destinations) = self.core.director.size();
        tracing::info!(path = shown, services, destinations, "read the configuration again");
        if let Err(error) = self.core.serve(interfaces).await {
            tracing::error!(error = chain(&error), "cannot read the kernel's tables");
        }
    }

    /// A change of the kernel's tables; whether routes may have changed.
    async fn change(&mut self, change: NetEvent) -> bool {
        let (result, routes) = match change {
            NetEvent::NextHop { address, next_hop } => {
                self.core.event(Event::NextHop { address, next_hop });
                (Ok(()), false)
            }
            NetEvent::Link(_) | NetEvent::LinkGone { .. } => (self.core.follow_links().await, true),
            NetEvent::Addresses => (self.core.read_addresses().await, true),
            NetEvent::Responder { address, responder } => {
                self.core.event(Event::Responder { address, responder });
                (Ok(()), false)
            }
            NetEvent::Routes | NetEvent::Neighbour { .. } => (Ok(()), true),
            NetEvent::Lost => (self.read_all().await, true),
        };
        if let Err(error) = result {
            tracing::error!(error = chain(&error), "cannot read the kernel's tables");
        }
        routes
    }

    async fn read_all(&mut self) -> Result<(), NetlinkError> {
        self.core.follow_links().await?;
        self.core.read_addresses().await
    }

    /// The data path needs the neighbour towards a client: asking for the next hop makes the kernel
    /// resolve it.
    async fn want(&mut self, client: IpAddr, asked: &mut HashMap<IpAddr, Instant>) {
        let now = Instant::now();
        if asked.get(&client).is_some_and(|last| now.duration_since(*last) < WANTED_AGAIN) {
            return;
        }
        if asked.len() >= WANTED_MOST {
            asked.retain(|_, last| now.duration_since(*last) < WANTED_AGAIN);
        }
        if asked.len() < WANTED_MOST {
            asked.insert(client, now);
        }
        let hop = self.core.netlink.next_hop(client).await;
        tracing::debug!(%client, ?hop, "asked for the next hop towards a client");
    }
}

fn signals() -> Result<[Signal; 3], Error> {
    let listen = |kind| signal(kind).map_err(Error::Runtime);
    Ok([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?])
}

/// Ends at a time; never without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn next_wanted(events: &mut Option<Events>) -> std::io::Result<NeighbourWanted> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}
