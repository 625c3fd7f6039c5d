//! A process that runs beside the test: its output goes to a log file and it ends when the handle goes.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt;

/// A running process. Dropping the handle kills it by its own id and waits for it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
    /// Leave it running when the handle goes (`demo --keep`).
    keep: bool,
}

impl Process {
    /// Starts `command` with its output appended to `dir/name.log`. It gets a process group of its own, so that a
    /// Ctrl-C at the terminal reaches only us, and dies with the thread that started it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(command: &mut Command, dir: &Path, name: &str) -> Result<Self> {
        // SAFETY: one prctl in the child between fork and exec, no allocation.
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
        }
        Self::spawn_keepable(command, dir, name)
    }

    /// As [`Process::spawn`] for a process that outlives us when [`Process::keep`] is called.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn_keepable(command: &mut Command, dir: &Path, name: &str) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let twin = file.try_clone().context("cannot duplicate a descriptor")?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(twin)
            .spawn()
            .with_context(|| format!("cannot start {name} ({program})"))?;
        Ok(Self { child, log, status: None, keep: false })
    }

    /// From now on dropping the handle leaves the process alone.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()).context("process id out of range")?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to process {pid}"))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if self.running()? {
            self.child.kill().context("cannot kill the process")?;
            self.status = Some(self.child.wait().context("cannot wait for the process")?);
        }
        Ok(())
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn running(&mut self) -> Result<bool> {
        if self.status.is_none() {
            self.status = self.child.try_wait().context("cannot look after the process")?;
        }
        Ok(self.status.is_none())
    }

    /// Waits at most `time` for its end; its exit code (128 plus the signal if one ended it), `None` while it runs.
    ///
    /// # Errors
    /// `interrupted`, or if it cannot be waited for.
    pub fn wait(&mut self, time: Duration) -> Result<Option<i32>> {
        let end = Instant::now() + time;
        while self.running()? {
            if Instant::now() >= end {
                return Ok(None);
            }
            interrupt::pause(Duration::from_millis(5))?;
        }
        Ok(self.status.map(|s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0))))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.keep
            && let Err(e) = self.kill()
        {
            eprintln!("warning: process {} may be left over: {e:#}", self.pid());
        }
    }
}
