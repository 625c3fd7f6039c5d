//! What ipvsadm says when the kernel refuses, for what lbd refuses.

use crate::api::{ErrorKind, Refusal};

/// What the refused command was about: the same error of the kernel has two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A service: -A, -E, -D, -Z, -L.
    Service,
    /// A destination: -a, -e, -d.
    Destination,
}

/// The text of a refusal, without the newline at its end.
pub(super) fn refusal(refusal: &Refusal, about: About) -> String {
    let fixed = match (refusal.kind, about) {
        (ErrorKind::ServiceExists, _) => "Service already exists",
        (ErrorKind::NoSuchService, About::Service) => "No such service",
        (ErrorKind::NoSuchService, About::Destination) => "Service not defined",
        (ErrorKind::DestinationExists, _) => "Destination already exists",
        (ErrorKind::NoSuchDestination, _) => "No such destination",
        (ErrorKind::NoSuchScheduler, _) => "Scheduler or persistence engine not found",
        (ErrorKind::Invalid, _) => {
            "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        }
        // strerror of ERANGE, for which ipvsadm has no text of its own.
        (ErrorKind::OutOfRange, _) => "Numerical result out of range",
        (ErrorKind::NoSpace, _) => "Memory allocation problem",
        (ErrorKind::Permission, _) => "Permission denied (you must be root)",
        // What the kernel would not refuse is told in our own words.
        (ErrorKind::Unsupported | ErrorKind::NoSuchRule | ErrorKind::Internal, _) => {
            return match &refusal.hint {
                Some(hint) => format!("{}\nhint: {hint}", refusal.message),
                None => refusal.message.clone(),
            };
        }
    };
    fixed.to_owned()
}
