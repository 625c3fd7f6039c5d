//! Requests of clients.

use std::net::IpAddr;
use std::time::Duration;

use super::state::{Live, Parked};
use super::{Director, Effect, RequestId};
use crate::api::{ErrorKind, Refusal, Request, Response};
use crate::model::Owner;

impl Director {
    /// [`super::Event::Request`].
    pub(super) fn request<L: Live>(&mut self, live: &L, id: RequestId, request: Request, now: Duration) {
        if let Request::AddDestination { key, destination } = &request {
            let address = destination.address.ip();
            // Whether the address is the director's own decides about the request, and who adds a
            // destination expects it to be used at once: the answer waits for the first look-up.
            if !self.knows_way(address) && self.check_new(key, destination.clone()).is_ok() {
                self.look_up(address);
                self.parked.push(Parked { id, request, address });
                return;
            }
        }
        self.perform(live, id, request, now);
    }

    /// Handles the requests that waited for an address.
    pub(super) fn unpark<L: Live>(&mut self, live: &L, address: IpAddr, now: Duration) {
        let (ready, parked) =
            std::mem::take(&mut self.parked).into_iter().partition(|p| p.address == address);
        self.parked = parked;
        for Parked { id, request, .. } in ready {
            self.perform(live, id, request, now);
        }
        self.forget_unused(address);
    }

    fn perform<L: Live>(&mut self, live: &L, id: RequestId, request: Request, now: Duration) {
        let answer = self.change(live, request, now);
        self.commit(live, now);
        self.effects.push(Effect::Reply(id, answer.unwrap_or_else(Response::Refused)));
    }

    fn change<L: Live>(&mut self, live: &L, request: Request, now: Duration) -> Result<Response, Refusal> {
        match request {
            Request::AddService { service } => {
                let (key, scheduler) = (service.key, service.scheduler.name());
                self.add_service(service, Owner::Operator)?;
                tracing::info!(service = %key, scheduler, "service added");
            }
            Request::EditService { service } => {
                let (key, scheduler) = (service.key, service.scheduler.name());
                self.edit_service(live, service, now)?;
                tracing::info!(service = %key, scheduler, "service edited");
            }
            Request::DeleteService { key } => {
                self.delete_service(live, &key, now)?;
                tracing::info!(service = %key, "service deleted");
            }
            Request::Clear => {
                self.clear(live, now)?;
                tracing::info!("all services deleted");
            }
            Request::AddDestination { key, destination } => {
                let (address, weight) = (destination.address, destination.weight);
                self.add_destination(live, &key, destination, Owner::Operator, now)?;
                tracing::info!(service = %key, destination = %address, weight, "destination added");
            }
            Request::EditDestination { key, destination } => {
                let (address, weight) = (destination.address, destination.weight);
                self.edit_destination(live, &key, destination, now)?;
                tracing::info!(service = %key, destination = %address, weight, "destination edited");
            }
            Request::DeleteDestination { key, address } => {
                self.delete_destination(live, &key, address, now)?;
                tracing::info!(service = %key, destination = %address, "destination deleted");
            }
            Request::Zero { key } => self.zero(live, key)?,
            Request::SetTimeouts { timeouts } => self.set_timeouts(timeouts),
            Request::ChangeMarks { changes } => {
                self.change_marks(live, changes)?;
                let [four, six] = &self.marks.lists;
                tracing::info!(ipv4 = four.len(), ipv6 = six.len(), "mark rules changed");
            }
            Request::SetSysctls { values } => self.set_sysctls(&values)?,
            Request::Sysctls => return Ok(Response::Sysctls { values: self.sysctls() }),
            Request::Timeouts => return Ok(Response::Timeouts { timeouts: self.timeouts() }),
            Request::Marks => return Ok(Response::Marks { rules: self.marks.lists.concat() }),
            Request::Stats => return Ok(self.statistics(live)),
            Request::Services { .. } | Request::Connections | Request::Status => {
                return Err(Refusal {
                    kind: ErrorKind::Internal,
                    message: "listings are not answered by the director".to_owned(),
                    hint: None,
                });
            }
        }
        Ok(Response::Done)
    }

    /// [`super::Event::Tick`].
    pub(super) fn tick<L: Live>(&mut self, live: &L, now: Duration) {
        self.estimate(live);
        self.expire_trash(live, now);
        self.end_lingering(live);
        self.ask_for_addresses();
        self.commit(live, now);
    }
}
