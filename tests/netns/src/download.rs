//! A long transfer with a known checksum, in whose middle things happen.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::{Site, interrupt};

/// Longer than any transfer of the tests takes.
const PATIENCE: Duration = Duration::from_secs(240);

/// A running curl in the client's namespace whose output goes into sha256sum.
#[derive(Debug)]
pub struct Download {
    process: Process,
    client: Namespace,
    dir: PathBuf,
    name: String,
    size: u64,
    before: u64,
}

impl Download {
    /// Fetches `url`, of which `size` bytes are expected, at most at `rate` (curl's `--limit-rate`, `100M`).
    ///
    /// # Errors
    /// If curl cannot be started.
    pub fn start(site: &Site, name: &str, url: &str, rate: &str, size: u64) -> Result<Self> {
        let client = site.client();
        let before = client.received_bytes("eth0")?;
        let (sum, code) = (format!("{name}.sha256"), format!("{name}.code"));
        let limit = PATIENCE.as_secs();
        let mut command = client.command("sh")?;
        command.current_dir(site.dir()).args([
            "-c",
            &format!(
                "{{ curl -sS -g --fail --max-time {limit} --limit-rate {rate} '{url}'; echo $? >{code}; }} | sha256sum >{sum}"
            ),
        ]);
        let process = Process::spawn(&mut command, site.dir(), &format!("download-{name}"))?;
        Ok(Self { process, client, dir: site.dir().to_owned(), name: name.to_owned(), size, before })
    }

    /// Waits until `part` of `whole` parts of the bytes have reached the client.
    ///
    /// # Errors
    /// If it ends or stands still before.
    pub fn wait_for(&mut self, part: u64, whole: u64) -> Result<()> {
        let wanted = self.before + self.size / whole * part;
        let (client, process) = (&self.client, &mut self.process);
        interrupt::wait_until(&format!("{part}/{whole} of the download"), PATIENCE, || {
            if client.received_bytes("eth0")? >= wanted {
                return Ok(true);
            }
            ensure!(process.running()?, "the download ended before {part}/{whole}: {}", process.log());
            Ok(false)
        })?;
        ensure!(
            self.running()?,
            "the download was over at {part}/{whole} of it: it is too short for this test"
        );
        Ok(())
    }

    /// Whether it goes on.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn running(&mut self) -> Result<bool> {
        self.process.running()
    }

    /// Waits for its end; the SHA-256 of what arrived.
    ///
    /// # Errors
    /// If curl failed or it takes too long.
    pub fn sha256(mut self) -> Result<String> {
        if self.process.wait(PATIENCE)?.is_none() {
            bail!("the download does not end within {PATIENCE:?}");
        }
        let read = |what: &str| {
            let path = self.dir.join(format!("{}.{what}", self.name));
            fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
        };
        let code = read("code")?;
        ensure!(code.trim() == "0", "curl ended with {}: {}", code.trim(), self.process.log());
        let sum = read("sha256")?;
        Ok(sum.split_whitespace().next().unwrap_or_default().to_owned())
    }
}
