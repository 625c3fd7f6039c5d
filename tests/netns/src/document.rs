//! Transcripts: commands on the hosts of a site, and what each must print.
//!
//! A line is `HOST# COMMAND`, run by bash as root on that host; `stop HOST`, which ends its server; or what the
//! command before must have printed, where blanks count for nothing. `each: 5 RS1, 5 RS2` says how often which line was
//! printed, `one: 10` that so many equal lines were.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::recorded::with_hosts;
use crate::shell;
use crate::{Director, Site};

/// Commands that this machine need not have, by what it has: in the PATH of a transcript's commands.
const TOOLS: [(&str, &str); 2] =
    [("iptables", include_str!("../files/iptables")), ("ifconfig", include_str!("../files/ifconfig"))];

/// A command with what it must print.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it runs.
    pub host: String,
    /// By bash.
    pub line: String,
    /// Its output.
    pub expected: Vec<String>,
}

/// A step of a transcript.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A command.
    Run(Command),
    /// The server of a host ends.
    Stop(String),
}

/// Reads a transcript.
///
/// # Errors
/// If output comes before the first command.
pub fn read(text: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let host = line.split_once("# ").filter(|(host, _)| host.bytes().all(|b| b.is_ascii_alphanumeric()));
        if let Some((host, command)) = host {
            let (host, line) = (host.to_owned(), command.to_owned());
            steps.push(Step::Run(Command { host, line, expected: Vec::new() }));
        } else if let Some(host) = line.strip_prefix("stop ") {
            steps.push(Step::Stop(host.to_owned()));
        } else if let Some(Step::Run(command)) = steps.last_mut() {
            command.expected.push(line.to_owned());
        } else {
            bail!("`{line}` is no output of any command");
        }
    }
    Ok(steps)
}

/// What runs the commands of a transcript.
#[derive(Debug)]
pub struct Player<'s> {
    site: &'s Site,
    /// By host.
    directors: BTreeMap<String, &'s Director>,
    tools: PathBuf,
}

impl<'s> Player<'s> {
    /// For the hosts of a site, whose names `hosts` (a text as /etc/hosts is) resolves.
    ///
    /// # Errors
    /// If files cannot be written.
    pub fn new(site: &'s Site, hosts: &str, directors: &[(&str, &'s Director)]) -> Result<Self> {
        let tools = site.dir().join("tools");
        fs::create_dir_all(&tools).context("cannot make the directory of the tools")?;
        for (name, script) in TOOLS {
            let path = tools.join(name);
            fs::write(&path, script).context("cannot write a tool")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("cannot write a tool")?;
        }
        fs::write(site.dir().join("names"), hosts).context("cannot write the hosts of a transcript")?;
        let directors = directors.iter().map(|(host, d)| ((*host).to_owned(), *d)).collect();
        Ok(Self { site, directors, tools })
    }

    /// Runs a command and compares what it prints.
    ///
    /// # Errors
    /// If it fails or prints something else.
    pub fn run(&self, command: &Command) -> Result<()> {
        let Command { host, line, expected } = command;
        let mut bash = self.site.host(host).command("bash")?;
        let environment = self.directors.get(host).map(|d| d.environment()).unwrap_or_default();
        let path = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let path = path("PATH").or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
        bash.envs(environment).env("PATH", format!("{}:{path}", self.tools.display()));
        // curl says nothing but what it is asked for and what goes wrong, at once and not again.
        bash.env("CURL_HOME", self.tools.as_os_str());
        bash.current_dir(self.site.dir()).args(["-c", line]);
        with_hosts(&mut bash, self.site.dir().join("names"));
        let said = shell::finish(&mut bash, "")?;
        println!("{host}# {line}\n{}{}", said.stdout, said.stderr);
        let compared = if said.ok() { compare(&said.stdout, expected) } else { Err(anyhow!("it failed")) };
        compared.with_context(|| {
            format!("{host}# {line}\nended with {}, printed\n{}{}", said.code, said.stdout, said.stderr)
        })
    }

    /// The directory the commands run in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.site.dir()
    }
}

/// A line without the blanks at its ends, and one where there are more.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn compare(said: &str, expected: &[String]) -> Result<()> {
    let said: Vec<String> = said.lines().map(plain).filter(|l| !l.is_empty()).collect();
    if let [only] = expected {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &said {
            *counts.entry(line).or_default() += 1;
        }
        if let Some(each) = only.strip_prefix("each: ") {
            let wanted: BTreeMap<&str, usize> = each
                .split(", ")
                .map(|part| {
                    let (count, line) = part.split_once(' ').context("not `COUNT LINE`")?;
                    Ok((line, count.parse()?))
                })
                .collect::<Result<_>>()?;
            ensure!(counts == wanted, "{counts:?} instead of {wanted:?}");
            return Ok(());
        }
        if let Some(count) = only.strip_prefix("one: ") {
            ensure!(counts.len() == 1 && said.len() == count.parse::<usize>()?, "{counts:?}");
            return Ok(());
        }
    }
    let expected: Vec<String> = expected.iter().map(|l| plain(l)).collect();
    ensure!(said == expected, "expected\n{}", expected.join("\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_read() {
        let run = |host: &str, line: &str, expected: &[&str]| {
            let expected = expected.iter().map(|l| (*l).to_owned()).collect();
            Step::Run(Command { host: host.into(), line: line.into(), expected })
        };
        let text = "# why\nrs1# echo 1 # one\n1\n\nstop rs1\nclient# true\n";
        let expected =
            [run("rs1", "echo 1 # one", &["1"]), Step::Stop("rs1".into()), run("client", "true", &[])];
        assert_eq!(read(text).unwrap(), expected);
        assert!(read("1\n").is_err());
    }

    #[test]
    fn output_is_compared() {
        let fits = |said: &str, expected: &[&str]| {
            compare(said, &expected.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>()).is_ok()
        };
        assert!(fits("  -> a   1  \n\nb\n", &["-> a 1", "b"]));
        assert!(!fits("a\n", &[]) && !fits("", &["a"]) && !fits("b\na\n", &["a", "b"]));
        assert!(fits("a\nb c\na\n", &["each: 2 a, 1 b c"]) && !fits("a\na\n", &["each: 2 a, 1 b"]));
        assert!(fits("a\na\n", &["one: 2"]) && !fits("a\nb\n", &["one: 2"]) && !fits("a\n", &["one: 2"]));
    }
}
