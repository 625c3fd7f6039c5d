//! The client against a socket that plays lbd.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;
use crate::model::Timeouts;

fn instance(dir: &tempfile::TempDir) -> Instance {
    let instance = Instance::new("t", dir.path(), "/sys/fs/bpf").unwrap();
    std::fs::create_dir(instance.state_dir()).unwrap();
    instance
}

/// Answers each request line by the given text, in order, on one connection.
fn play(instance: &Instance, answers: Vec<&'static str>) -> thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(instance.socket_path()).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut asked = Vec::new();
        for answer in answers {
            asked.push(lines.next().unwrap().unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked
    })
}

#[test]
fn one_connection_serves_many_requests_and_answers_of_several_lines() {
    let dir = tempfile::tempdir().unwrap();
    let instance = instance(&dir);
    let lbd = play(
        &instance,
        vec![
            "{\"response\":\"services\",\"services\":[]}\n{\"response\":\"services\",\"services\":[]}\n{\"response\":\"done\"}\n",
            "{\"response\":\"timeouts\",\"timeouts\":{\"tcp\":1,\"tcp_fin\":2,\"udp\":3}}\n",
        ],
    );
    let mut client = Client::new(&instance);
    let mut parts = Vec::new();
    client.request(&Request::Services { key: None }, &mut |r| parts.push(r)).unwrap();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[2], Response::Done);
    parts.clear();
    client.request(&Request::Timeouts, &mut |r| parts.push(r)).unwrap();
    assert_eq!(parts, [Response::Timeouts { timeouts: Timeouts { tcp: 1, tcp_fin: 2, udp: 3 } }]);
    assert_eq!(lbd.join().unwrap(), [r#"{"request":"services","key":null}"#, r#"{"request":"timeouts"}"#]);
}

#[test]
fn nobody_there_names_the_socket_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::new("edge", dir.path(), "/sys/fs/bpf").unwrap();
    let error = Client::new(&instance).ask(&Request::Clear, &mut |_| {}).unwrap_err();
    assert_eq!(
        error.message,
        format!(
            "lbd of instance edge does not answer at {}: No such file or directory (os error 2)",
            instance.socket_path().display()
        )
    );
    assert_eq!(error.hint.as_deref(), Some("start it with: lbd --instance edge --interface INTERFACE"));
}

#[test]
fn an_answer_cut_off_or_of_another_version_is_an_error() {
    for (answer, message) in [
        (
            "{\"response\":\"services\",\"services\":[]}\n",
            "closed the connection in the middle of its answer",
        ),
        ("{\"response\":\"what\"}\n", "cannot understand lbd"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let instance = instance(&dir);
        let lbd = play(&instance, vec![answer]);
        let error = Client::new(&instance).ask(&Request::Clear, &mut |_| {}).unwrap_err();
        assert!(error.message.contains(message), "{}", error.message);
        lbd.join().unwrap();
    }
}
