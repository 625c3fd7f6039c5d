//! The control socket of lbd as its clients see it: blocking, one request at a time.
//!
//! Knows nothing of what is asked. Called by the command line ([`crate::cli`]) through
//! [`Control`]; connects at the first request, so that a command that is wrong in itself says so
//! whether or not lbd runs.

mod world;

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::{Request, Response};
use crate::cli::{Control, ControlError};
use crate::instance::Instance;

/// How long lbd may take for the next line of an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("lbd of instance {instance} does not answer at {path}")]
    Connect {
        /// Instance name.
        instance: String,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The request could not be sent.
    #[error("cannot send the request to lbd at {path}")]
    Send {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer could not be read.
    #[error("cannot read the answer of lbd at {path}")]
    Receive {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the answer did.
    #[error("lbd at {path} closed the connection in the middle of its answer")]
    Closed {
        /// The socket.
        path: PathBuf,
    },
    /// The request or a line of the answer is not of this version's protocol.
    #[error("cannot understand lbd at {path}")]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { instance, source, .. } => Some(match source.kind() {
                io::ErrorKind::PermissionDenied => "become root".to_owned(),
                _ => {
                    let option =
                        if instance == "default" { String::new() } else { format!(" --instance {instance}") };
                    format!("start it with: lbd{option} --interface INTERFACE")
                }
            }),
            Self::Closed { .. } => Some("look at the log of lbd".to_owned()),
            Self::Protocol { .. } => Some("lbd and lbadm must be of the same version".to_owned()),
            Self::Send { .. } | Self::Receive { .. } => None,
        }
    }
}

impl From<ClientError> for ControlError {
    fn from(error: ClientError) -> Self {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { message, hint: error.hint() }
    }
}

/// A client of the control socket of one instance.
#[derive(Debug)]
pub struct Client {
    instance: String,
    path: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Client {
    /// A client of `instance`, not connected yet.
    #[must_use]
    pub fn new(instance: &Instance) -> Self {
        Self { instance: instance.name().to_owned(), path: instance.socket_path(), stream: None }
    }

    fn connect(&self) -> Result<BufReader<UnixStream>, ClientError> {
        let connected = UnixStream::connect(&self.path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(BufReader::new(stream))
        });
        connected.map_err(|source| ClientError::Connect {
            instance: self.instance.clone(),
            path: self.path.clone(),
            source,
        })
    }

    /// Sends `request` and gives every line of its answer to `part`.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is then closed, the next request opens a new one.
    pub fn request(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ClientError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let path = || self.path.clone();
        let mut line = serde_json::to_string(request)
            .map_err(|source| ClientError::Protocol { path: path(), source })?;
        line.push('\n');
        stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(|source| ClientError::Send { path: path(), source })?;
        loop {
            line.clear();
            match stream.read_line(&mut line) {
                Ok(0) => return Err(ClientError::Closed { path: path() }),
                Ok(_) => {}
                Err(source) => return Err(ClientError::Receive { path: path(), source }),
            }
            let response: Response = serde_json::from_str(&line)
                .map_err(|source| ClientError::Protocol { path: path(), source })?;
            let last = response.is_last();
            part(response);
            if last {
                self.stream = Some(stream);
                return Ok(());
            }
        }
    }
}

impl Control for Client {
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        self.request(request, part).map_err(ControlError::from)
    }

    fn read_text(&mut self, path: &str) -> Result<String, ControlError> {
        world::read_text(path)
    }

    fn saved_rules(&mut self, ipv6: bool) -> Result<String, ControlError> {
        world::saved_rules(ipv6)
    }

    fn pause(&mut self, seconds: u32) -> bool {
        // lbd may be another one afterwards.
        self.stream = None;
        std::thread::sleep(Duration::from_secs(seconds.into()));
        true
    }
}

#[cfg(test)]
mod tests;
