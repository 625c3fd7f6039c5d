//! A child process with all its descendants, as one process group.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How long an asked-to-stop process group may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A child and its descendants. Dropping it ends them.
pub(super) struct Group {
    child: Child,
    group: Pid,
    status: Option<ExitStatus>,
    ended: bool,
}

impl Group {
    /// Starts the command in a group of its own; every line it prints goes to `lines`.
    pub(super) fn spawn(command: &mut Command, lines: Sender<String>) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        let group = Pid::from_raw(i32::try_from(child.id()).context("process id out of range")?);
        if let Some(stdout) = child.stdout.take() {
            forward(stdout, lines.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            forward(stderr, lines);
        }
        Ok(Self { child, group, status: None, ended: false })
    }

    /// The exit status, once there is one.
    pub(super) fn finished(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().context("cannot wait for a child process")?;
        }
        Ok(self.status)
    }

    /// Ends the whole group: asks first, kills what is still there after [`GRACE`]. Once only: the number of a group that
    /// is gone may come to belong to somebody else.
    pub(super) fn stop(&mut self) {
        if std::mem::replace(&mut self.ended, true)
            || killpg(self.group, Signal::SIGTERM) == Err(Errno::ESRCH)
        {
            return;
        }
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            let _ = self.finished();
            if !has_living_members(self.group) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
    }
}

/// True if a process of the group runs. Zombies count for `kill`, and orphans stay that until process 1 fetches them.
fn has_living_members(group: Pid) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return killpg(group, None).is_ok() };
    processes.flatten().any(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // pid (name) state parent group ...; the name may hold anything, also brackets.
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let (state, group_field) = (fields.next(), fields.nth(1));
        state != Some("Z") && group_field == Some(group.to_string().as_str())
    })
}

/// Reads a pipe line by line; carriage returns end a line too, as progress displays use them.
fn forward(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(read) if read > 0) {
            let text = String::from_utf8_lossy(&bytes);
            for part in text.trim_end_matches(['\n', '\r']).split('\r') {
                if lines.send(part.to_owned()).is_err() {
                    return;
                }
            }
            bytes.clear();
        }
    });
}
