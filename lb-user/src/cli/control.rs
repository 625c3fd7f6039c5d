//! What the command line needs of whoever answers requests: lbd over its socket, or a test.

use crate::api::{Request, Response, ServiceView};
use crate::model::ServiceKey;

/// Somebody who answers requests.
pub trait Control {
    /// Sends `request` and gives every response line of its answer to `part`, the last one included
    /// ([`Response::is_last`]).
    ///
    /// # Errors
    /// [`ControlError`] where no complete answer came; `part` may have been called before.
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError>;

    /// The services, or the one of `key`, as they lie in the pinned maps: asked where lbd gave no
    /// answer but `error` (decision 8).
    ///
    /// # Errors
    /// Where they cannot be read, which here is always: who can read maps says it otherwise.
    fn offline_listing(
        &mut self,
        _key: Option<ServiceKey>,
        error: ControlError,
    ) -> Result<Vec<ServiceView>, ControlError> {
        let message = format!("{error}; a listing without lbd is not available");
        Err(ControlError { message, ..error })
    }

    /// A text: of a file, `-` for standard input.
    ///
    /// # Errors
    /// Where it cannot be read; always for who has no files.
    fn read_text(&mut self, path: &str) -> Result<String, ControlError> {
        Err(ControlError { message: format!("cannot read {path}"), hint: None })
    }

    /// What `iptables-save -t mangle` prints, or `ip6tables-save -t mangle`.
    ///
    /// # Errors
    /// Where it cannot be run or fails; always for who runs no programs.
    fn saved_rules(&mut self, ipv6: bool) -> Result<String, ControlError> {
        let program = if ipv6 { "ip6tables-save" } else { "iptables-save" };
        Err(ControlError { message: format!("cannot run {program}"), hint: None })
    }

    /// Waits so many seconds; whether to go on afterwards.
    fn pause(&mut self, _seconds: u32) -> bool {
        false
    }

    /// Takes the data path of a director away whose lbd does not run: its links, then its maps with
    /// every service and connection (decision 14). The names of the interfaces it was attached to.
    ///
    /// # Errors
    /// Where lbd runs, where nothing is there, or where something cannot be removed; always for who pins
    /// nothing.
    fn detach(&mut self) -> Result<Vec<String>, ControlError> {
        Err(ControlError { message: "nothing is pinned by whoever answers here".to_owned(), hint: None })
    }
}

/// No answer, or none that can be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// What failed and why, lower case, no trailing period.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}
