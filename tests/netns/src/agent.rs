//! Hands inside a namespace: connections, datagrams and raw frames on order.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::server::PYTHON;

const SCRIPT: &str = concat!(
    include_str!("../files/blob.py"),
    "\nsha256_of_blob = sha256\n",
    include_str!("../files/agent.py")
);

/// Longer than any order takes: then the agent hangs and the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client's end of a flow: address and port.
pub type End<'a> = (&'a str, u16);

/// A running agent; it ends with the handle.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    name: String,
}

impl Agent {
    /// Starts an agent in `namespace`; what it has to say to stderr goes to `dir/agent-NAME.log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(namespace: &Namespace, dir: &Path) -> Result<Self> {
        let name = namespace.name().to_owned();
        let log =
            File::create(dir.join(format!("agent-{name}.log"))).context("cannot write the agent's log")?;
        let mut command = namespace.command(PYTHON)?;
        // SAFETY: one prctl in the child between fork and exec, no allocation.
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
        }
        let mut child = command
            .args(["-c", SCRIPT])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start python3 (Debian package python3)")?;
        let orders = child.stdin.take().ok_or_else(|| anyhow!("the agent has no stdin"))?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("the agent has no stdout"))?;
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, orders, answers, name })
    }

    /// Gives an order and returns the answer (the orders are those of `files/agent.py`).
    ///
    /// # Errors
    /// If the agent fails at it or does not answer.
    #[expect(clippy::needless_pass_by_value, reason = "callers build the order in place")]
    pub fn order(&mut self, order: Value) -> Result<Value> {
        let text = serde_json::to_string(&order).context("cannot write an order")?;
        writeln!(self.orders, "{text}").with_context(|| format!("agent {} has ended", self.name))?;
        let answer = self
            .answers
            .recv_timeout(PATIENCE)
            .map_err(|e| anyhow!("agent {} does not answer {text}: {e}", self.name))?;
        let answer: Value = serde_json::from_str(&answer).context("the agent's answer is no JSON")?;
        if let Some(error) = answer.get("error") {
            bail!("agent {} at {text}: {error}", self.name);
        }
        Ok(answer)
    }

    /// As [`Agent::order`] for orders that make traffic: what the client got.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn got(&mut self, order: Value) -> Result<String> {
        let answer = self.order(order)?;
        Ok(answer.get("got").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// A connection that is closed when the server has said its name: that name, or what went wrong.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn connect(&mut self, from: End, to: End) -> Result<String> {
        self.got(json!({"connect": [from.0, from.1, to.0, to.1]}))
    }

    /// A connection that stays open as `id`.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn hold(&mut self, id: u64, from: End, to: End) -> Result<String> {
        self.got(json!({"connect": [from.0, from.1, to.0, to.1], "hold": id}))
    }

    /// One question on a held connection.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn echo(&mut self, id: u64) -> Result<String> {
        self.got(json!({"echo": id}))
    }

    /// Closes a held connection and waits for the server to close it too.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn close(&mut self, id: u64) -> Result<()> {
        self.order(json!({"close": id})).map(|_done| ())
    }

    /// Drops all held connections.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn close_all(&mut self) -> Result<()> {
        self.order(json!({"close_all": true})).map(|_done| ())
    }

    /// A datagram and its answer.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn udp(&mut self, from: End, to: End) -> Result<String> {
        self.got(json!({"udp": [from.0, from.1, to.0, to.1]}))
    }

    /// `count` connections one after another from `from` and ports from `first_port` on: what each got.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn many(&mut self, from: &str, first_port: u16, to: End, count: u16) -> Result<Vec<String>> {
        let list: Vec<Value> =
            (0..count).map(|i| json!({"connect": [from, first_port + i, to.0, to.1]})).collect();
        let answer = self.order(json!({"many": list}))?;
        serde_json::from_value(answer.get("got").cloned().unwrap_or_default())
            .context("the agent's answer has no names")
    }

    /// Sends a raw frame (hexadecimal, from the MAC addresses on).
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn send_frame(&mut self, interface: &str, hex: &str) -> Result<()> {
        self.order(json!({"send_frame": hex, "interface": interface})).map(|_done| ())
    }

    /// Starts to capture; [`Agent::frames`] ends it.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn capture(&mut self, interface: &str) -> Result<()> {
        self.order(json!({"capture": interface, "interface": interface})).map(|_done| ())
    }

    /// The frames captured on `interface` that contain `containing` (hexadecimal), waiting at most `time` for
    /// `enough` of them.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn frames(
        &mut self,
        interface: &str,
        containing: &str,
        enough: usize,
        time: Duration,
    ) -> Result<Vec<String>> {
        let answer = self.order(json!({
            "frames": interface, "containing": containing, "enough": enough, "timeout": time.as_secs_f64(),
        }))?;
        serde_json::from_value(answer.get("frames").cloned().unwrap_or_default())
            .context("the agent's answer has no frames")
    }

    /// The SHA-256 of what a [`crate::Server`] answers to `GET /blob/SIZE`.
    ///
    /// # Errors
    /// As [`Agent::order`].
    pub fn blob_sha256(&mut self, size: u64) -> Result<String> {
        let answer = self.order(json!({"blob_sha256": size}))?;
        Ok(answer.get("sha256").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended already, or ends now; either way it is waited for.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
