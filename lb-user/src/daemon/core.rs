//! Events into the director, its effects into system calls.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::attach::Interfaces;
use super::live::LiveMaps;
use super::meminfo::available_pages;
use super::state_dir::StateDir;
use crate::api::{ErrorKind, Refusal, Request, Response};
use crate::bpf::{Dataplane, Listing, LocalityKeeper, MapError, MapPins, Step, Sweeper};
use crate::director::{Director, Effect, Event, Load, RequestId, TableLoad};
use crate::instance::Instance;
use crate::model::ServiceKey;
use crate::netlink::Netlink;
use crate::server::{Answer, Call};

/// How long a new destination is waited for before its request is answered.
const PATIENCE: Duration = Duration::from_millis(200);

/// Connections of a page of a listing.
const PAGE: usize = 512;

/// Writing what must outlive lbd takes at most one part in so many of the time: at once where there is
/// little of it, so that nothing is lost by `kill -9`, and more seldom the more there is.
const REMEMBER: u32 = 20;

/// Where a listing goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cursor {
    /// After a service.
    Service(ServiceKey),
    /// Within the connection tables.
    Connections(Listing),
}

/// The director with everything it works on.
pub(super) struct Core {
    pub(super) instance: Instance,
    pub(super) director: Director,
    pub(super) dataplane: Dataplane,
    pub(super) netlink: Netlink,
    pub(super) interfaces: Interfaces,
    pub(super) sweeper: Sweeper,
    localities: LocalityKeeper,
    pub(super) pins: MapPins,
    /// Why maps are not pinned any more, where they cannot be pinned again.
    pub(super) unpinned: Option<String>,
    /// What became of the last reload, where it is not in force as a whole.
    pub(super) reload_warnings: Vec<String>,
    state: StateDir,
    /// Requests that are not answered yet.
    pending: HashMap<RequestId, oneshot::Sender<Answer<Cursor>>>,
    next_request: u64,
    /// Addresses whose next hops netlink keeps fresh, and whether it was told.
    watched: BTreeSet<IpAddr>,
    watch_changed: bool,
    /// Addresses that this host lacks and is to know about who has them.
    pub(super) lacking: BTreeSet<IpAddr>,
    /// When the wait for the first answer about an address ends, soonest first.
    waits: VecDeque<(Instant, IpAddr)>,
    /// What must outlive lbd changed since it was written.
    forgetful: bool,
    /// When it was written last, and how long that took.
    remembered: Option<(Instant, Duration)>,
    resyncing: bool,
}

impl Core {
    pub(super) fn new(
        instance: Instance,
        state: StateDir,
        dataplane: Dataplane,
        pins: MapPins,
        netlink: Netlink,
        interfaces: Interfaces,
    ) -> Self {
        Self {
            instance,
            director: Director::new(),
            sweeper: Sweeper::new(),
            localities: LocalityKeeper::new(),
            dataplane,
            netlink,
            interfaces,
            pins,
            unpinned: None,
            reload_warnings: Vec::new(),
            state,
            pending: HashMap::new(),
            next_request: 0,
            watched: BTreeSet::new(),
            watch_changed: false,
            lacking: BTreeSet::new(),
            waits: VecDeque::new(),
            forgetful: false,
            remembered: None,
            resyncing: false,
        }
    }

    /// Lets the director find what the maps hold.
    ///
    /// # Errors
    /// [`MapError`] where they cannot be read.
    pub(super) fn adopt(&mut self) -> Result<(), MapError> {
        let memory = self.state.memory();
        let observed = self.dataplane.observe()?;
        if self.dataplane.adopted() {
            tracing::info!(
                services = observed.services.len(),
                destinations = observed.destinations.len(),
                "adopted what the maps hold"
            );
        }
        self.event(Event::Observed(Box::new(observed), Box::new(memory)));
        Ok(())
    }

    /// Something happened.
    pub(super) fn event(&mut self, event: Event) {
        let effects = self.director.handle(&LiveMaps(self.dataplane.maps()), event, since_boot());
        let mut failed = None;
        for effect in effects {
            self.perform(effect, &mut failed);
        }
        if failed.is_some() && !self.resyncing {
            self.resync();
        }
    }

    fn perform(&mut self, effect: Effect, failed: &mut Option<String>) {
        match effect {
            Effect::Apply(ops) => {
                if failed.is_none()
                    && let Err(error) = self.dataplane.execute(&ops)
                {
                    let text = chain(&error);
                    tracing::error!(error = text, "cannot write the maps");
                    *failed = Some(text);
                }
            }
            Effect::Reply(id, response) => {
                let response = match failed {
                    None => response,
                    Some(why) => Response::Refused(Refusal {
                        kind: ErrorKind::Internal,
                        message: format!("cannot write the maps: {why}"),
                        hint: Some("look at the log of lbd".to_owned()),
                    }),
                };
                self.answer(id, Answer { response, next: None });
            }
            Effect::Page(id, page) => {
                let response = Response::Services { services: page.services };
                self.answer(id, Answer { response, next: page.next.map(Cursor::Service) });
            }
            Effect::Watch(address) => {
                self.watched.insert(address);
                self.watch_changed = true;
                self.waits.push_back((Instant::now() + PATIENCE, address));
            }
            Effect::Unwatch(address) => {
                self.watched.remove(&address);
                self.watch_changed = true;
            }
            Effect::Ask(addresses) => {
                self.lacking = addresses;
                self.ask();
            }
            Effect::Persist => self.forgetful = true,
        }
    }

    /// An operation failed: the director is told what the maps really hold.
    fn resync(&mut self) {
        self.resyncing = true;
        match self.dataplane.observe() {
            Ok(observed) => {
                let memory = self.director.memory();
                self.event(Event::Observed(Box::new(observed), Box::new(memory)));
            }
            Err(error) => tracing::error!(error = chain(&error), "cannot read the maps"),
        }
        self.resyncing = false;
    }

    fn answer(&mut self, id: RequestId, answer: Answer<Cursor>) {
        if let Some(pending) = self.pending.remove(&id) {
            // A client that went meanwhile wants no answer.
            drop(pending.send(answer));
        }
    }

    /// A client asks.
    pub(super) fn call(&mut self, call: Call<Cursor>) {
        let Call { request, after, answer } = call;
        match request {
            Request::Connections => {
                let mut listing = match after {
                    Some(Cursor::Connections(listing)) => listing,
                    Some(Cursor::Service(_)) | None => Listing::new(),
                };
                let now = self.dataplane.clock().now();
                let connections = listing.next_chunk(self.dataplane.maps(), now, PAGE);
                let next = (!connections.is_empty()).then_some(Cursor::Connections(listing));
                drop(answer.send(Answer { response: Response::Connections { connections }, next }));
            }
            Request::Status => drop(answer.send(Answer { response: self.status(), next: None })),
            request => {
                self.next_request += 1;
                let id = RequestId(self.next_request);
                self.pending.insert(id, answer);
                let after = match after {
                    Some(Cursor::Service(key)) => Some(key),
                    Some(Cursor::Connections(_)) | None => None,
                };
                self.event(match request {
                    Request::Services { key } => Event::Services { id, only: key, after },
                    request => Event::Request(id, request),
                });
            }
        }
    }

    /// Tells netlink which addresses matter, where they changed.
    pub(super) fn update_watch(&mut self) {
        if std::mem::take(&mut self.watch_changed) {
            self.netlink.watch(self.watched.clone());
        }
    }

    /// All addresses whose next hops matter.
    pub(super) fn watched(&self) -> &BTreeSet<IpAddr> {
        &self.watched
    }

    /// When the next wait for a next hop ends.
    pub(super) fn next_wait(&self) -> Option<Instant> {
        self.waits.front().map(|(due, _)| *due)
    }

    /// Ends the waits that are due.
    pub(super) fn end_waits(&mut self) {
        let now = Instant::now();
        while let Some(&(due, address)) = self.waits.front()
            && due <= now
        {
            self.waits.pop_front();
            self.event(Event::Waited(address));
        }
    }

    /// Goes on with the walk over the tables.
    pub(super) fn sweep(&mut self) -> Step {
        let now = self.dataplane.clock().now();
        let step = self.sweeper.step(self.dataplane.maps(), now);
        if step == Step::Done {
            let services = self.director.locality_services();
            if let Err(error) = self.dataplane.keep_localities(&mut self.localities, &services) {
                tracing::error!(error = chain(&error), "cannot take away what lblc and lblcr remember");
            }
            for drift in &self.sweeper.statistics().drift {
                tracing::warn!(
                    destination = drift.destination,
                    active = drift.active,
                    inactive = drift.inactive,
                    persistent = drift.persistent,
                    "counts did not fit the connections and were mended"
                );
            }
            self.tell_load();
        }
        step
    }

    /// Tells the director how much room is left, where a defence depends on it: once a pass, which is a second.
    fn tell_load(&mut self) {
        if !self.director.watches_load() {
            return;
        }
        let (slots, statistics) = (self.dataplane.maps().connection_slots(), self.sweeper.statistics());
        let tables = [(slots.0, statistics.live4), (slots.1, statistics.live6)]
            .map(|(slots, used)| TableLoad { slots, used });
        self.event(Event::Load(Load { available_pages: available_pages(), tables }));
    }

    /// Takes the control socket away at a clean stop.
    pub(super) fn remove_socket(&self) {
        let path = self.instance.socket_path();
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::debug!(path = %path.display(), %error, "cannot remove the socket");
        }
    }

    /// Writes what must outlive lbd, if it changed and was not written just now.
    pub(super) fn remember(&mut self, at_once: bool) {
        let (last, cost) = self.remembered.unwrap_or((Instant::now(), Duration::ZERO));
        let due = at_once || last.elapsed() >= cost * REMEMBER;
        if !self.forgetful || !due {
            return;
        }
        let begun = Instant::now();
        match self.state.remember(&self.director.memory()) {
            Ok(()) => self.forgetful = false,
            Err(error) => tracing::error!(error = error.text(), "counters cannot be remembered"),
        }
        self.remembered = Some((Instant::now(), begun.elapsed()));
    }
}

/// The time since boot, suspended time included.
fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
