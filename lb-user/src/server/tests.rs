use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::*;
use crate::api::{ErrorKind, Refusal};

struct Running {
    path: PathBuf,
    stop: CancellationToken,
    calls: mpsc::Receiver<Call<u32>>,
    task: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

fn start(uid: u32) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let server = Server::bind(&path, uid).unwrap();
    let (send, calls) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.serve(send, stop.clone()));
    Running { path, stop, calls, task, _dir: dir }
}

fn own_uid() -> u32 {
    nix::unistd::getuid().as_raw()
}

fn block<F: Future>(f: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), f).await.expect("it hangs") })
}

struct Lines(BufReader<UnixStream>);

impl Lines {
    async fn open(running: &Running) -> Self {
        Self(BufReader::new(UnixStream::connect(&running.path).await.unwrap()))
    }
    async fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(line.as_bytes()).await.unwrap();
    }
    async fn next(&mut self) -> Option<Response> {
        let mut line = String::new();
        // A client that was not accepted yet gets a reset instead of the end.
        self.0.read_line(&mut line).await.unwrap_or(0);
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }
}

#[test]
fn a_request_is_answered_and_the_connection_goes_on() {
    block(async {
        let mut running = start(own_uid());
        let mut client = Lines::open(&running).await;
        for _ in 0..2 {
            client.send("{\"request\":\"clear\"}\n").await;
            let call = running.calls.recv().await.unwrap();
            assert_eq!(call.request, Request::Clear);
            call.answer.send(Answer { response: Response::Done, next: None }).unwrap();
            assert_eq!(client.next().await, Some(Response::Done));
        }
    });
}

#[test]
fn a_listing_goes_on_where_it_stopped_and_ends_with_done() {
    block(async {
        let mut running = start(own_uid());
        let mut client = Lines::open(&running).await;
        client.send("{\"request\":\"connections\"}\n").await;
        for (after, next) in [(None, Some(7)), (Some(7), Some(9)), (Some(9), None)] {
            let call = running.calls.recv().await.unwrap();
            assert_eq!(call.after, after);
            let response = Response::Connections { connections: Vec::new() };
            call.answer.send(Answer { response, next }).unwrap();
            assert!(matches!(client.next().await, Some(Response::Connections { .. })));
        }
        assert_eq!(client.next().await, Some(Response::Done));
    });
}

#[test]
fn what_is_no_request_is_refused_and_the_next_one_served() {
    block(async {
        let mut running = start(own_uid());
        let mut client = Lines::open(&running).await;
        for line in ["nonsense\n", "{\"request\":\"dance\"}\n", "\n"] {
            client.send(line).await;
            let Some(Response::Refused(Refusal { kind, message, .. })) = client.next().await else {
                panic!()
            };
            assert_eq!(kind, ErrorKind::Invalid);
            assert!(message.starts_with("cannot understand the request: "), "{message}");
        }
        client.send("{\"request\":\"timeouts\"}\n").await;
        assert_eq!(running.calls.recv().await.unwrap().request, Request::Timeouts);
    });
}

#[test]
fn a_request_without_end_is_cut_off() {
    block(async {
        let running = start(own_uid());
        let mut client = Lines::open(&running).await;
        client.send(&"x".repeat(1 << 23)).await;
        let Some(Response::Refused(refusal)) = client.next().await else { panic!() };
        assert!(refusal.message.contains("longer than"));
        assert_eq!(client.next().await, None);
    });
}

#[test]
fn a_client_that_waits_does_not_delay_another() {
    block(async {
        let mut running = start(own_uid());
        let mut slow = Lines::open(&running).await;
        slow.send("{\"request\":\"status\"}\n").await;
        let kept = running.calls.recv().await.unwrap();
        let mut quick = Lines::open(&running).await;
        quick.send("{\"request\":\"clear\"}\n").await;
        let call = running.calls.recv().await.unwrap();
        call.answer.send(Answer { response: Response::Done, next: None }).unwrap();
        assert_eq!(quick.next().await, Some(Response::Done));
        drop(kept);
        assert!(matches!(slow.next().await, Some(Response::Refused(_))));
    });
}

#[test]
fn others_than_root_and_the_own_user_are_refused() {
    if own_uid() == 0 {
        // Root may always.
        return;
    }
    block(async {
        let running = start(own_uid() + 1);
        let mut client = Lines::open(&running).await;
        let Some(Response::Refused(refusal)) = client.next().await else { panic!() };
        assert_eq!(refusal.kind, ErrorKind::Permission);
    });
}

#[test]
fn the_socket_is_of_its_owner_alone_and_replaces_an_old_one() {
    block(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(Server::bind(&path, 0).unwrap());
        let _again = Server::bind(&path, 0).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Server::bind(&dir.path().join("no/socket"), 0).unwrap_err();
        assert!(error.to_string().contains("no/socket"), "{error}");
    });
}

#[test]
fn stopping_ends_every_client() {
    block(async {
        let running = start(own_uid());
        let mut client = Lines::open(&running).await;
        running.stop.cancel();
        running.task.await.unwrap();
        assert_eq!(client.next().await, None);
    });
}
