//! Carries out a [`Command`]: requests to lbd, answers to text and exit code.

use std::io;

use super::command::{Command, Service};
use super::message::{self, About};
use super::{Outcome, Session, usage};
use crate::api::{ErrorKind, Refusal, Request, Response, ServiceView};
use crate::cli::ControlError;
use crate::cli::render::{
    ConnectionFormat, ConnectionLines, ListFormat, VERSION_LINE, rules, services, sort,
};
use crate::model::{Scheduler, ServiceKey, ServiceSpec};

/// Exit code where lbd refuses (ipvsadm's -1).
const REFUSED: u8 = 255;
/// Exit code where a listing is refused.
const NOT_LISTED: u8 = 1;
/// Exit code where nobody answers.
const UNREACHABLE: u8 = 2;

impl Session<'_> {
    /// Carries out `command`; `restoring` is whether it is a line of `-R`.
    pub(super) fn execute(&mut self, command: Command, restoring: bool) -> io::Result<Outcome> {
        match command {
            Command::AddService(service) => self.put_service(service, false),
            Command::EditService(service) => self.put_service(service, true),
            Command::DeleteService(key) => self.change(&Request::DeleteService { key }, About::Service),
            Command::Clear => self.change(&Request::Clear, About::Service),
            Command::AddDestination(key, destination) => {
                self.change(&Request::AddDestination { key, destination }, About::Destination)
            }
            Command::EditDestination(key, destination) => {
                self.change(&Request::EditDestination { key, destination }, About::Destination)
            }
            Command::DeleteDestination(key, address) => {
                self.change(&Request::DeleteDestination { key, address }, About::Destination)
            }
            Command::Zero(key) => self.change(&Request::Zero { key }, About::Service),
            Command::SetTimeouts(timeouts) => self.change(&Request::SetTimeouts { timeouts }, About::Service),
            Command::List(key, format) => self.list(key, format),
            Command::ListConnections(format) => self.list_connections(format),
            Command::ListTimeouts => self.list_timeouts(),
            // No daemon can have been started, so there is none to list and none to stop.
            Command::ListDaemons => Ok(Outcome::go_on(0)),
            Command::StopDaemon => self.refused("No daemon is running", REFUSED),
            Command::StartDaemon => self.refused(
                "connection sync is not in this version\n\
                 hint: run the directors without it; a failover then resets established connections",
                REFUSED,
            ),
            Command::Save(format) => self.save(format),
            // A restore within a restore would read its own input.
            Command::Restore if restoring => self.try_help(),
            Command::Restore => self.restore(|_| true),
            Command::Help => {
                let text = usage::help(&self.program);
                write!(self.out, "{}\n\n{text}", usage::version())?;
                Ok(Outcome::stop(0))
            }
            Command::Version => {
                writeln!(self.out, "{}", usage::version())?;
                Ok(Outcome::stop(0))
            }
        }
    }

    fn refused(&mut self, text: &str, code: u8) -> io::Result<Outcome> {
        writeln!(self.err, "{text}")?;
        Ok(Outcome::go_on(code))
    }

    fn unreachable(&mut self, error: &ControlError) -> io::Result<Outcome> {
        writeln!(self.err, "Can't initialize ipvs: {error}")?;
        if let Some(hint) = &error.hint {
            writeln!(self.err, "hint: {hint}")?;
        }
        Ok(Outcome::stop(UNREACHABLE))
    }

    /// Asks for a change and tells a refusal.
    fn change(&mut self, request: &Request, about: About) -> io::Result<Outcome> {
        match self.ask(request) {
            Ok(None) => Ok(Outcome::go_on(0)),
            Ok(Some(refusal)) => self.refused(&message::refusal(&refusal, about), REFUSED),
            Err(error) => self.unreachable(&error),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Option<Refusal>, ControlError> {
        let mut refusal = None;
        self.control.ask(request, &mut |response| {
            if let Response::Refused(why) = response {
                refusal = Some(why);
            }
        })?;
        Ok(refusal)
    }

    /// `-A` and `-E`.
    fn put_service(&mut self, service: Service, edit: bool) -> io::Result<Outcome> {
        let Some(scheduler) = Scheduler::from_name(&service.scheduler) else {
            return self.unknown_scheduler(&service, edit);
        };
        let service = ServiceSpec {
            key: service.key,
            scheduler,
            flags: service.flags,
            persistence: service.persistence,
            netmask: service.netmask,
            one_packet: service.one_packet,
            persistence_engine: service.persistence_engine,
            mh_table_size: None,
        };
        let request = if edit { Request::EditService { service } } else { Request::AddService { service } };
        self.change(&request, About::Service)
    }

    /// A scheduler that no request can name. The kernel looks for the service first, so the service
    /// that is there already, or is not there, is what is told.
    fn unknown_scheduler(&mut self, service: &Service, edit: bool) -> io::Result<Outcome> {
        let exists = match self.services(Some(service.key)) {
            Ok(Ok(list)) => !list.is_empty(),
            Ok(Err(refusal)) if refusal.kind == ErrorKind::NoSuchService => false,
            Ok(Err(refusal)) => return self.refused(&message::refusal(&refusal, About::Service), REFUSED),
            Err(error) => return self.unreachable(&error),
        };
        let text = if exists && !edit {
            "Service already exists".to_owned()
        } else if !exists && edit {
            "No such service".to_owned()
        } else {
            "Scheduler or persistence engine not found".to_owned()
        };
        self.refused(&text, REFUSED)
    }

    /// The services, or why there are none to list.
    fn services(
        &mut self,
        key: Option<ServiceKey>,
    ) -> Result<Result<Vec<ServiceView>, Refusal>, ControlError> {
        let mut list = Vec::new();
        let mut refusal = None;
        self.control.ask(&Request::Services { key }, &mut |response| match response {
            Response::Services { services } => list.extend(services),
            Response::Refused(why) => refusal = Some(why),
            _ => {}
        })?;
        Ok(refusal.map_or(Ok(list), Err))
    }

    /// The services as they are listed: without lbd from what it left pinned, where that is possible.
    fn listed(
        &mut self,
        key: Option<ServiceKey>,
        sorted: bool,
    ) -> io::Result<Result<Vec<ServiceView>, Outcome>> {
        let mut list = match self.services(key) {
            Ok(Ok(list)) => list,
            Ok(Err(refusal)) => {
                let text = message::refusal(&refusal, About::Service);
                return self.refused(&text, NOT_LISTED).map(Err);
            }
            Err(error) => match self.control.offline_listing(key, error) {
                Ok(list) => list,
                Err(error) => return self.unreachable(&error).map(Err),
            },
        };
        if key.is_some() && list.is_empty() {
            return self.refused("No such service", NOT_LISTED).map(Err);
        }
        if sorted {
            sort(&mut list);
        }
        Ok(Ok(list))
    }

    fn list(&mut self, key: Option<ServiceKey>, format: ListFormat) -> io::Result<Outcome> {
        let list = match self.listed(key, format.sort)? {
            Ok(list) => list,
            Err(outcome) => return Ok(Outcome { stop: true, ..outcome }),
        };
        if key.is_none() {
            writeln!(self.out, "{VERSION_LINE}")?;
        }
        services(self.out, &list, format, self.names)?;
        Ok(Outcome::go_on(0))
    }

    /// A listing without any command.
    pub(super) fn list_all(&mut self, format: ListFormat) -> io::Result<Outcome> {
        self.list(None, format)
    }

    fn save(&mut self, format: ListFormat) -> io::Result<Outcome> {
        match self.listed(None, true)? {
            Ok(list) => {
                rules(self.out, &list, format.numeric, self.names)?;
                Ok(Outcome::go_on(0))
            }
            Err(outcome) => Ok(Outcome { stop: true, ..outcome }),
        }
    }

    fn list_connections(&mut self, format: ConnectionFormat) -> io::Result<Outcome> {
        let mut lines: Option<ConnectionLines<'_>> = None;
        let mut refusal = None;
        let mut written: io::Result<()> = Ok(());
        let (out, names) = (&mut *self.out, self.names);
        // The title only once lbd has answered.
        let mut out = Some(out);
        let answer = self.control.ask(&Request::Connections, &mut |response| {
            if written.is_err() {
                return;
            }
            if let Response::Refused(why) = response {
                refusal = Some(why);
                return;
            }
            written = (|| {
                if let Some(out) = out.take() {
                    lines = Some(ConnectionLines::begin(out, format, names)?);
                }
                if let (Response::Connections { connections }, Some(lines)) = (&response, &mut lines) {
                    for connection in connections {
                        lines.line(connection)?;
                    }
                }
                Ok(())
            })();
        });
        written?;
        match (answer, refusal) {
            (Ok(()), None) => Ok(Outcome::go_on(0)),
            (Ok(()), Some(refusal)) => self.refused(&message::refusal(&refusal, About::Service), NOT_LISTED),
            (Err(error), _) => self.unreachable(&error),
        }
    }

    fn list_timeouts(&mut self) -> io::Result<Outcome> {
        let mut timeouts = None;
        let mut refusal = None;
        let answer = self.control.ask(&Request::Timeouts, &mut |response| match response {
            Response::Timeouts { timeouts: t } => timeouts = Some(t),
            Response::Refused(why) => refusal = Some(why),
            _ => {}
        });
        if let Err(error) = answer {
            return self.unreachable(&error);
        }
        if let Some(refusal) = refusal {
            return self.refused(&message::refusal(&refusal, About::Service), NOT_LISTED);
        }
        if let Some(t) = timeouts {
            writeln!(self.out, "Timeout (tcp tcpfin udp): {} {} {}", t.tcp, t.tcp_fin, t.udp)?;
        }
        Ok(Outcome::go_on(0))
    }
}
