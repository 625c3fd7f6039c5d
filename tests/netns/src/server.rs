//! Small servers that answer with their names.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::{Site, interrupt};

/// Debian's interpreter, not whatever a version manager put in front of it.
pub const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = concat!(include_str!("../files/blob.py"), "\n", include_str!("../files/server.py"));

/// Where a server that speaks TLS leaves its certificate, in the site's directory; clients may trust it.
pub const CERTIFICATE: &str = "cacert.pem";

/// What a server answers on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ports {
    /// Says its name at once and after everything it is sent.
    pub tcp: Vec<u16>,
    /// Answers its name.
    pub udp: Vec<u16>,
    /// `GET /` answers its name, `GET /blob/N` N bytes of which [`crate::Agent::blob_sha256`] knows the sum.
    pub http: Vec<u16>,
    /// The same by TLS, as www.ilinux.io.
    pub https: Vec<u16>,
}

impl Ports {
    /// The ports of the recordings: TCP and UDP on 80, 443, 8080 and 8443.
    #[must_use]
    pub fn recorded() -> Self {
        let ports = vec![80, 443, 8080, 8443];
        Self { tcp: ports.clone(), udp: ports, ..Self::default() }
    }
}

#[derive(Serialize)]
struct Job<'a> {
    name: &'a str,
    certificate: &'a Path,
    #[serde(flatten)]
    ports: &'a Ports,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// The process, for a test that stops it.
    pub process: Process,
}

impl Server {
    /// Starts a server called `name` in `namespace` and waits until it listens. Its log goes to `dir`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(namespace: &Namespace, dir: &Path, name: &str, ports: &Ports) -> Result<Self> {
        Self::spawn(namespace, dir, name, ports, Process::spawn)
    }

    /// As [`Server::start`] for a server that may outlive us ([`Process::keep`]).
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_keepable(namespace: &Namespace, dir: &Path, name: &str, ports: &Ports) -> Result<Self> {
        Self::spawn(namespace, dir, name, ports, Process::spawn_keepable)
    }

    fn spawn(
        namespace: &Namespace,
        dir: &Path,
        name: &str,
        ports: &Ports,
        spawn: fn(&mut Command, &Path, &str) -> Result<Process>,
    ) -> Result<Self> {
        let certificate = dir.join(CERTIFICATE);
        if !ports.https.is_empty() {
            // Key and certificate of nobody: good for tests alone.
            fs::write(&certificate, include_str!("../files/www.ilinux.io.pem"))
                .context("cannot write a certificate")?;
        }
        let job = serde_json::to_string(&Job { name, certificate: &certificate, ports })
            .context("cannot write the job")?;
        let mut command = namespace.command(PYTHON)?;
        command.args(["-c", SCRIPT, &job]);
        let mut process = spawn(&mut command, dir, &format!("server-{name}"))?;
        interrupt::wait_until(&format!("server {name} listens"), Duration::from_secs(10), || {
            if !process.running()? {
                bail!("server {name} ended:\n{}", process.log());
            }
            Ok(process.log().lines().any(|l| l == "ready"))
        })?;
        Ok(Self { process })
    }

    /// One on each of the real servers `rs1` to `rs3`.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start_all(site: &Site, ports: &Ports) -> Result<Vec<Self>> {
        ["rs1", "rs2", "rs3"]
            .into_iter()
            .map(|name| Self::start(&site.host(name), site.dir(), name, ports))
            .collect()
    }
}
