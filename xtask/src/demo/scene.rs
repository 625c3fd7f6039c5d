//! The site of the demo: a client, a director, and three real servers that each run their own nginx.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netns_tests::server::Ports;
use netns_tests::shell::{self, Finished};
use netns_tests::{Agent, Director, DirectorOptions, Namespace, Process, Server, Site, interrupt};

use super::report::Report;

const SERVERS: [&str; 3] = ["rs1", "rs2", "rs3"];
/// Bytes of the file that is downloaded while lbd dies.
pub(crate) const FILE_SIZE: u64 = 100_000_000;
/// Where Debian puts it.
const NGINX: &str = "/usr/sbin/nginx";

/// Everything that is up during the demo.
#[derive(Debug)]
pub(crate) struct Scene {
    // Fields are dropped in this order: processes before the site they run in.
    pub(crate) agent: Agent,
    pub(crate) director: Director,
    names: Vec<Server>,
    nginx: Vec<Process>,
    pub(crate) site: Site,
}

impl Scene {
    /// Builds the site and starts everything but the services. What is not to be kept dies with us, whatever happens.
    pub(crate) fn build(report: &mut Report, keep: bool) -> Result<Self> {
        let start_server = if keep { Server::start_keepable } else { Server::start };
        report.chapter("A small site in network namespaces of this machine");
        report.say(
            "  client 203.0.113.10 -- bridge -- director 203.0.113.1 and 198.51.100.1\n\
             \x20                        |\n\
             \x20                        +--- real servers rs1 198.51.100.11, rs2 .12, rs3 .13, each with its own nginx",
        );
        let site = Site::nat_dr()?;
        let file = site.dir().join("file");
        write_file(&file)?;
        let mut nginx = Vec::new();
        let mut names = Vec::new();
        for name in SERVERS {
            nginx.push(start_nginx(&site, name, keep)?);
            let ports = Ports { udp: vec![53], ..Ports::default() };
            names.push(start_server(&site.host(name), site.dir(), name, &ports)?);
        }
        let interface =
            site.director_interfaces().into_iter().next().context("the director has no interface")?;
        report.command("director", &format!("lbd --interface {interface}"));
        let options =
            DirectorOptions { instance: Some("demo".into()), keepable: keep, ..DirectorOptions::default() };
        let director = Director::start_with(&site, options)?;
        let agent = Agent::start(&site.client(), site.dir())?;
        let scene = Self { agent, director, names, nginx, site };
        report.check(&format!("lbd runs: {}", scene.status_in_words()?), true);
        Ok(scene)
    }

    /// The first line of `lbadm status`.
    fn status_in_words(&self) -> Result<String> {
        Ok(self.director.adm("status")?.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Runs curl on the client: what it printed, or how it failed.
    pub(crate) fn curl(&self, url: &str) -> Result<String> {
        interrupt::check()?;
        let mut command = self.site.client().command("curl")?;
        let Finished { code, stdout, .. } =
            shell::finish(command.args(["-sS", "--max-time", "5", "-H", "Connection: close", url]), "")?;
        Ok(if code == 0 { stdout.trim().to_owned() } else { format!("curl failed with {code}") })
    }

    /// The SHA-256 of the file that is downloaded.
    pub(crate) fn file_sha256(&self) -> Result<String> {
        let said =
            shell::check(std::process::Command::new("sha256sum").arg(self.site.dir().join("file")), "")?;
        Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Prints the ends of all logs.
    pub(crate) fn print_logs(&self) {
        self.site.print_logs();
    }

    /// Leaves everything up and says how to use it.
    pub(crate) fn keep(mut self) -> Result<()> {
        self.site.keep()?;
        self.director.keep();
        self.nginx.iter_mut().for_each(Process::keep);
        self.names.iter_mut().for_each(|s| s.process.keep());
        let enter = |host: Namespace| format!("nsenter --net={}", host.path().display());
        let environment: Vec<String> = self
            .director
            .environment()
            .into_iter()
            .filter(|(name, _)| name.starts_with("LB_"))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let lbadm = self.site.dir().join("bin/lbadm");
        println!("\nThe site stays up. Try, as root:");
        println!("  {} curl http://192.0.2.1/", enter(self.site.client()));
        println!("  {} curl http://192.0.2.2/", enter(self.site.client()));
        println!("  export {}", environment.join(" "));
        for rest in ["-Ln --stats", "-Lnc", "status", "-e -t 192.0.2.2:80 -r 198.51.100.13:8080 -m -w 9"] {
            println!("  {} {rest}", lbadm.display());
        }
        println!("  {} tcpdump -ni eth0", enter(self.site.host("rs1")));
        println!("  cargo xtask demo --clean      (takes it down)");
        Ok(())
    }
}

/// Noise, so that a wrong byte or a missing piece shows in the checksum.
fn write_file(path: &Path) -> Result<()> {
    let mut file =
        BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..FILE_SIZE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_be_bytes()).context("cannot write the file to download")?;
    }
    file.flush().context("cannot write the file to download")
}

/// An nginx with its own prefix, inside the namespace of one real server.
fn start_nginx(site: &Site, name: &str, keep: bool) -> Result<Process> {
    let prefix = site.dir().join(format!("nginx-{name}"));
    fs::create_dir_all(prefix.join("tmp")).with_context(|| format!("cannot make {}", prefix.display()))?;
    let config = prefix.join("nginx.conf");
    fs::write(&config, nginx_config(name, &prefix, site.dir()))
        .context("cannot write nginx's configuration")?;
    let mut command = site.host(name).command(NGINX)?;
    command.arg("-p").arg(&prefix).arg("-c").arg(&config).arg("-e").arg(prefix.join("error.log"));
    let spawn = if keep { Process::spawn_keepable } else { Process::spawn };
    let mut process = spawn(&mut command, site.dir(), &format!("nginx-{name}"))
        .context("Debian package nginx-light; `cargo xtask setup` installs it")?;
    let host = site.host(name);
    interrupt::wait_until(&format!("nginx of {name} answers"), Duration::from_secs(10), || {
        if !process.running()? {
            bail!("nginx of {name} ended: {}", process.log());
        }
        Ok(host.sh("curl -s --max-time 1 http://127.0.0.1/")?.stdout.trim() == name)
    })?;
    Ok(process)
}

fn nginx_config(name: &str, prefix: &Path, files: &Path) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| {
            format!("  {kind}_temp_path {};\n", PathBuf::from(prefix).join("tmp").join(kind).display())
        })
        .concat();
    format!(
        "daemon off;\nworker_processes 1;\npid {pid};\nevents {{}}\nhttp {{\n  access_log off;\n{temporary}  default_type application/octet-stream;\n  server {{\n    listen 80;\n    listen 8080;\n    location = / {{ return 200 \"{name}\\n\"; }}\n    location = /file {{ root {root}; }}\n  }}\n}}\n",
        pid = prefix.join("nginx.pid").display(),
        root = files.display(),
    )
}
