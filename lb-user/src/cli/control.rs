//! What the command line needs of whoever answers requests: lbd over its socket, or a test.

use crate::api::{Request, Response};

/// Somebody who answers requests.
pub trait Control {
    /// Sends `request` and gives every response line of its answer to `part`, the last one included
    /// ([`Response::is_last`]).
    ///
    /// # Errors
    /// [`ControlError`] where no complete answer came; `part` may have been called before.
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError>;
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
