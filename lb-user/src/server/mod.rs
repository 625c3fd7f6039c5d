//! The control socket as lbd: JSON lines over a Unix socket, many clients at a time.
//!
//! Knows nothing of what is asked: each request goes to whoever takes the [`Call`]s, and an answer that
//! says how it goes on is asked for again, so that a listing needs the memory of one page and a slow
//! client delays nobody. Called by `daemon`.

mod client;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{Request, Response};

/// Clients at a time; one more waits until one goes.
const CLIENTS: usize = 256;

/// One request, or the continuation of one.
#[derive(Debug)]
pub struct Call<C> {
    /// The request.
    pub request: Request,
    /// Where a listing goes on, `None` at its beginning.
    pub after: Option<C>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer<C>>,
}

/// One line of an answer.
#[derive(Debug)]
pub struct Answer<C> {
    /// The line.
    pub response: Response,
    /// Where the listing goes on, `None` at its end.
    pub next: Option<C>,
}

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {path}")]
pub struct ListenError {
    /// The socket.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The socket, open for clients.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    /// User who runs lbd: root and this one may speak to it.
    uid: u32,
}

impl Server {
    /// Listens at `path`, in the place of what an earlier lbd left there: the caller holds the lock of
    /// the instance. Must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(path: &Path, uid: u32) -> Result<Self, ListenError> {
        let failed = |source| ListenError { path: path.to_owned(), source };
        match fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, uid })
    }

    /// Serves clients until `stop`; then those under way are cut off.
    pub async fn serve<C: Send + 'static>(self, calls: mpsc::Sender<Call<C>>, stop: CancellationToken) {
        let mut clients = JoinSet::new();
        loop {
            let room = clients.len() < CLIENTS;
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = clients.join_next() => {}
                accepted = self.listener.accept(), if room => match accepted {
                    Ok((stream, _)) => {
                        clients.spawn(client::serve(stream, self.uid, calls.clone()));
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: the next try must not come at once.
                        tracing::error!(%error, "cannot accept a client");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
            }
        }
        clients.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
