//! A running lbd in a site, and lbadm and the ipvsadm names that speak to it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::shell::{self, Finished};
use crate::{Site, interrupt};

/// Small tables: a test starts many directors.
pub const SMALL_TABLES: &str =
    "[tables]\nconnections = 4096\nservices = 256\ndestinations = 1024\nslots = 65536\n";

/// The marks of the recordings by lbadm's commands: TCP to 192.0.2.1 ports 80 and 443 is 1, anything to 192.0.2.2 to .16 is 2.
pub const RECORDED_MARKS: [&str; 2] = [
    "mark -t mangle -A PREROUTING -d 192.0.2.1 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 1",
    "mark -t mangle -A PREROUTING -m iprange --dst-range 192.0.2.2-192.0.2.16 -j MARK --set-mark 2",
];

/// lbd answers and forwards within this time.
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// How to start a director.
#[derive(Debug, Clone, Default)]
pub struct DirectorOptions {
    /// The interfaces, the site's own where empty.
    pub interfaces: Vec<String>,
    /// Configuration (TOML), [`SMALL_TABLES`] where `None`.
    pub config: Option<String>,
    /// The host it runs on, `director` where `None`; give each of several an instance of its own.
    pub host: Option<String>,
    /// `--instance`, `test` where `None`.
    pub instance: Option<String>,
    /// Whether it may outlive us ([`Director::keep`]).
    pub keepable: bool,
}

/// A running lbd. Dropping it kills lbd; what it pinned goes with the site.
#[derive(Debug)]
pub struct Director {
    process: Process,
    namespace: Namespace,
    dir: PathBuf,
    bpffs: PathBuf,
    instance: String,
    interfaces: Vec<String>,
    keepable: bool,
}

/// Where `lbd` and `lbadm` are: `LB_BIN_DIR`, else the workspace's target/release.
#[must_use]
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("LB_BIN_DIR") {
        return dir.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("release")
}

impl Director {
    /// Starts lbd with small tables on the interfaces of the site's director and waits until it forwards.
    ///
    /// # Errors
    /// If it ends or does not forward in time; its log is quoted.
    pub fn start(site: &Site) -> Result<Self> {
        Self::start_with(site, DirectorOptions::default())
    }

    /// As [`Director::start`] with options.
    ///
    /// # Errors
    /// As [`Director::start`].
    pub fn start_with(site: &Site, options: DirectorOptions) -> Result<Self> {
        let interfaces =
            if options.interfaces.is_empty() { site.director_interfaces() } else { options.interfaces };
        let instance = options.instance.unwrap_or_else(|| "test".into());
        link_tools(site.dir())?;
        fs::write(site.dir().join("lbd.toml"), options.config.as_deref().unwrap_or(SMALL_TABLES))
            .context("cannot write lbd's configuration")?;
        let namespace = options.host.map_or_else(|| site.director(), |host| site.host(&host));
        let (dir, bpffs) = (site.dir().to_owned(), site.bpffs());
        let keepable = options.keepable;
        let process = spawn(&namespace, &dir, &bpffs, &instance, &interfaces, keepable)?;
        let mut director = Self { process, namespace, dir, bpffs, instance, interfaces, keepable };
        director.wait_ready()?;
        Ok(director)
    }

    /// Waits until `lbadm status` says that lbd forwards.
    fn wait_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            if !self.process.running()? {
                bail!("lbd ended at once:\n{}", self.process.log());
            }
            let status = self.lbadm(&["status"])?;
            if status.ok() {
                return Ok(());
            }
            if Instant::now() > end {
                bail!(
                    "lbd does not forward after {START:?}; lbadm status: {}{}\nlog:\n{}",
                    status.stdout,
                    status.stderr,
                    self.process.log()
                );
            }
            interrupt::pause(Duration::from_millis(20))?;
        }
    }

    /// A command with the environment that makes lbadm find this director, inside its namespace.
    ///
    /// # Errors
    /// If the namespace is gone.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = self.namespace.command(program)?;
        command.envs(self.environment());
        Ok(command)
    }

    /// The environment that makes `lbadm`, `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore` reach this director.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        vec![
            ("LB_INSTANCE".into(), self.instance.clone()),
            ("LB_RUN_DIR".into(), self.run_dir().display().to_string()),
            ("LB_BPFFS".into(), self.bpffs.display().to_string()),
            ("PATH".into(), format!("{}:{path}", self.dir.join("bin").display())),
        ]
    }

    /// lbd's `--run-dir`.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The site's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs lbadm.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn lbadm(&self, arguments: &[&str]) -> Result<Finished> {
        shell::finish(self.command("lbadm")?.args(arguments), "")
    }

    /// Runs lbadm with the words of `line`, which must succeed; what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub fn adm(&self, line: &str) -> Result<String> {
        shell::check(self.command("lbadm")?.args(line.split_whitespace()), "")
    }

    /// Several lines of [`Director::adm`].
    ///
    /// # Errors
    /// At the first that fails.
    pub fn adm_all(&self, lines: &[&str]) -> Result<()> {
        lines.iter().try_for_each(|line| self.adm(line).map(|_said| ()))
    }

    /// `lbadm list --json`.
    ///
    /// # Errors
    /// If it fails or is no JSON.
    pub fn list(&self) -> Result<Value> {
        serde_json::from_str(&self.adm("list --json")?).context("lbadm list --json is no JSON")
    }

    /// `lbadm status --json`.
    ///
    /// # Errors
    /// If it fails or is no JSON.
    pub fn status(&self) -> Result<Value> {
        serde_json::from_str(&self.adm("status --json")?).context("lbadm status --json is no JSON")
    }

    /// The id of the XDP program on an interface, `None` where there is none.
    ///
    /// # Errors
    /// If the interface is gone.
    pub fn program_id(&self, interface: &str) -> Result<Option<u64>> {
        program_id(&self.namespace, interface)
    }

    /// lbd's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What lbd has logged since the site was built.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Whether lbd runs.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn running(&mut self) -> Result<bool> {
        self.process.running()
    }

    /// `kill -9` of lbd.
    ///
    /// # Errors
    /// If it was not running.
    pub fn kill(&mut self) -> Result<()> {
        ensure!(self.process.running()?, "lbd had ended before it was killed:\n{}", self.process.log());
        self.process.kill()
    }

    /// A signal to lbd.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// SIGTERM to lbd and its exit code.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(&mut self) -> Result<i32> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(STOP)?.with_context(|| format!("lbd does not end within {STOP:?} of SIGTERM"))
    }

    /// Starts lbd again, with the same options, after [`Director::kill`] or [`Director::stop`].
    ///
    /// # Errors
    /// As [`Director::start`].
    pub fn restart(&mut self) -> Result<()> {
        ensure!(!self.process.running()?, "lbd still runs");
        self.process =
            spawn(&self.namespace, &self.dir, &self.bpffs, &self.instance, &self.interfaces, self.keepable)?;
        self.wait_ready()
    }

    /// Replaces the configuration file that the next [`Director::restart`] reads.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_config(&self, text: &str) -> Result<()> {
        fs::write(self.dir.join("lbd.toml"), text).context("cannot write lbd's configuration")
    }

    /// Leaves lbd running when the handle goes.
    pub fn keep(&mut self) {
        self.process.keep();
    }
}

/// The id of the XDP program on an interface of a namespace.
///
/// # Errors
/// If the interface is gone.
pub fn program_id(namespace: &Namespace, interface: &str) -> Result<Option<u64>> {
    let text = shell::check(
        Command::new("ip").args(["-j", "-d", "-n", namespace.name(), "link", "show", "dev", interface]),
        "",
    )?;
    let links: Value = serde_json::from_str(&text).context("ip -j printed no JSON")?;
    Ok(links.pointer("/0/xdp/prog/id").and_then(Value::as_u64))
}

fn spawn(
    namespace: &Namespace,
    dir: &Path,
    bpffs: &Path,
    instance: &str,
    interfaces: &[String],
    keepable: bool,
) -> Result<Process> {
    let mut command = namespace.command(&bin_dir().join("lbd").display().to_string())?;
    for interface in interfaces {
        command.args(["--interface", interface]);
    }
    command.args(["--instance", instance]).arg("--run-dir").arg(dir.join("run"));
    command.arg("--bpffs").arg(bpffs).arg("--config").arg(dir.join("lbd.toml"));
    command.env_remove("NOTIFY_SOCKET");
    if keepable {
        Process::spawn_keepable(&mut command, dir, "lbd")
    } else {
        Process::spawn(&mut command, dir, "lbd")
    }
}

/// lbadm and the names under which it is ipvsadm, copied so that every user may run them.
fn link_tools(dir: &Path) -> Result<()> {
    let bin = dir.join("bin");
    if bin.exists() {
        return Ok(());
    }
    let lbadm = bin_dir().join("lbadm");
    fs::create_dir_all(&bin).context("cannot make the directory of the tools")?;
    // By another process: a child that this one forks meanwhile would keep a copy of its own open for
    // writing, and whatever is open for writing cannot be run.
    let copied = Command::new("cp").arg(&lbadm).arg(bin.join("lbadm")).status().context("cannot run cp")?;
    ensure!(copied.success(), "no {}: run `cargo xtask build`", lbadm.display());
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
        symlink("lbadm", bin.join(name)).context("cannot link the tools")?;
    }
    Ok(())
}
