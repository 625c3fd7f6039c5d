//! `lbadm status`.

use super::core::Core;
use crate::api::{ErrorKind, InterfaceStatus, ReasonCount, Refusal, Response, Status};

impl Core {
    /// The state of lbd and of its data path.
    pub(super) fn status(&self) -> Response {
        let maps = self.dataplane.maps();
        let reasons = match maps.reasons() {
            Ok(reasons) => reasons,
            Err(error) => {
                return Response::Refused(Refusal {
                    kind: ErrorKind::Internal,
                    message: format!("cannot read the counters of reasons: {error}"),
                    hint: None,
                });
            }
        };
        let (services, destinations) = self.director.size();
        let (slots4, slots6) = maps.connection_slots();
        let swept = self.sweeper.statistics();
        let mut warnings = self.interfaces.warnings();
        warnings.extend(self.pin_warnings());
        warnings.extend(self.dataplane.warnings().iter().cloned());
        warnings.extend(self.reload_warnings.iter().cloned());
        warnings.extend(self.director.warnings());
        Response::Status(Status {
            instance: self.instance.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            forwarding: self.is_forwarding(),
            interfaces: self
                .interfaces
                .attached()
                .map(|a| InterfaceStatus {
                    name: a.name.clone(),
                    mode: a.mode.to_string(),
                    program: a.program,
                })
                .collect(),
            services,
            destinations,
            connections4: (slots4, swept.live4),
            connections6: (slots6, swept.live6),
            reasons: reasons
                .into_iter()
                .filter(|(_, packets)| *packets != 0)
                .map(|(reason, packets)| ReasonCount {
                    reason: reason.name().to_owned(),
                    drop: reason.is_drop(),
                    packets,
                })
                .collect(),
            answered_elsewhere: self.director.answered_elsewhere(),
            warnings,
        })
    }

    /// Whether every interface has the program, and the links are still pinned.
    fn is_forwarding(&self) -> bool {
        let pinned = match crate::bpf::attached_interfaces(&self.instance.links_dir()) {
            Ok(pinned) => pinned,
            Err(error) => {
                tracing::error!(%error, "cannot read the pinned links");
                return false;
            }
        };
        self.interfaces.is_complete() && self.interfaces.wanted().iter().all(|name| pinned.contains(name))
    }
}
