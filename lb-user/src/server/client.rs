//! One client of the control socket.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Answer, Call};
use crate::api::{ErrorKind, Refusal, Request, Response};

/// Longest request, bytes: two whole lists of mark rules fit.
const LONGEST: u64 = 1 << 23;

/// How long a client may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves a client until it goes.
pub(super) async fn serve<C: Send + 'static>(mut stream: UnixStream, uid: u32, calls: mpsc::Sender<Call<C>>) {
    let peer = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => {
            tracing::warn!(%error, "cannot tell who a client is: it is not served");
            return;
        }
    };
    let result = if peer == 0 || peer == uid {
        let (read, mut write) = stream.split();
        answer_all(BufReader::new(read), &mut write, &calls).await
    } else {
        tracing::warn!(uid = peer, "a client that is not root is refused");
        let refusal = refuse(ErrorKind::Permission, "only root may speak to lbd", "become root");
        write_line(&mut stream, &refusal).await
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a client went in the middle");
    }
}

/// Answers line by line.
async fn answer_all<C, R, W>(mut read: R, write: &mut W, calls: &mpsc::Sender<Call<C>>) -> io::Result<()>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut read).take(LONGEST).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        if !line.ends_with(b"\n") && line.len() as u64 == LONGEST {
            let message = format!("a request is longer than {LONGEST} bytes");
            return write_line(write, &refuse(ErrorKind::Invalid, message, "send it in parts")).await;
        }
        match serde_json::from_slice(&line) {
            Ok(request) => answer(request, write, calls).await?,
            Err(error) => {
                let message = format!("cannot understand the request: {error}");
                let hint = "lbd and lbadm must be of the same version";
                write_line(write, &refuse(ErrorKind::Invalid, message, hint)).await?;
            }
        }
    }
}

/// Answers one request, page by page: the next one is asked for when the client has taken this one.
async fn answer<C, W>(request: Request, write: &mut W, calls: &mpsc::Sender<Call<C>>) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut after = None;
    loop {
        let (answer, answered) = oneshot::channel();
        let sent = calls.send(Call { request: request.clone(), after, answer }).await;
        let page = if sent.is_ok() { answered.await.ok() } else { None };
        let Some(Answer { response, next }) = page else {
            let refusal = refuse(ErrorKind::Internal, "lbd is stopping", "ask again when it runs");
            return write_line(write, &refusal).await;
        };
        let last = response.is_last();
        write_line(write, &response).await?;
        after = match next {
            Some(next) => Some(next),
            None if last => return Ok(()),
            None => return write_line(write, &Response::Done).await,
        };
    }
}

fn refuse(kind: ErrorKind, message: impl Into<String>, hint: &str) -> Response {
    Response::Refused(Refusal { kind, message: message.into(), hint: Some(hint.to_owned()) })
}

async fn write_line<W: AsyncWrite + Unpin>(write: &mut W, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response).map_err(io::Error::other)?;
    line.push(b'\n');
    timeout(PATIENCE, write.write_all(&line)).await.map_err(io::Error::other)?
}
