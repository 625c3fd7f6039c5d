//! lbadm's own subcommands: what ipvsadm has no words for.
//!
//! Exit codes: 0 done, 1 refused (of `status`: lbd answers but does not forward), 2 usage, 3 lbd does
//! not answer.

use std::io::{self, Write};

use clap::{Parser, Subcommand};

use super::ipvsadm::Names;
use super::render::{marks, sort, stats, stats_of_proc, status, table};
use super::set::{self, SetArgs};
use super::{Control, ControlError, ipvsadm, mark};
use crate::api::{Refusal, Request, Response};
use crate::instance::InstanceArgs;

/// Exit code where lbd refuses or does not forward.
pub(super) const REFUSED: u8 = 1;
/// Exit code of a command line that cannot be.
const USAGE: u8 = 2;
/// Exit code where lbd does not answer.
const UNREACHABLE: u8 = 3;

/// The command line of lbadm, where it is not one of ipvsadm's grammar.
#[derive(Debug, Parser)]
#[command(
    name = "lbadm",
    version,
    about = "Lists and controls a director (lbd)",
    after_help = "lbadm also takes ipvsadm's commands (-A -E -D -a -e -d -L -S -R -Z -C --set): \
                  lbadm --help shows them.",
    after_long_help = format!(
        "lbadm also takes ipvsadm's commands, as do links to it named ipvsadm, ipvsadm-save and \
         ipvsadm-restore:\n\n{}",
        ipvsadm::help("lbadm")
    )
)]
pub struct Cli {
    /// Which director.
    #[command(flatten)]
    pub instance: InstanceArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Subcommands,
}

/// The global options alone, in front of a command of ipvsadm's grammar.
#[derive(Debug, Parser)]
#[command(name = "lbadm", disable_help_flag = true)]
pub struct Globals {
    /// Which director.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

/// lbadm's own subcommands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Subcommands {
    /// List services and destinations with owner, thresholds and neighbour
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell whether lbd answers and forwards (exit code 0), only answers (1), or is not there (3)
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what all services count together, and its rates a second
    Stats {
        /// As JSON
        #[arg(long, conflicts_with = "proc")]
        json: bool,
        /// As the text of /proc/net/ip_vs_stats (hexadecimal), for scripts that read that
        #[arg(long)]
        proc: bool,
    },
    /// Take the data path away: links and maps, with every service and connection; lbd must be stopped
    Detach,
    /// List the rules that give packets a firewall mark
    Marks {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give packets firewall marks, by iptables' words: lbadm mark --help
    #[command(disable_help_flag = true)]
    Mark {
        /// -A, -I, -D, -F, -S ... as iptables takes them; import
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Set sysctls of IPVS (net.ipv4.vs.*), or list them
    Set(SetArgs),
}

/// Why a subcommand has no answer.
pub(super) enum Failure {
    Refused(Refusal),
    Unreachable(ControlError),
    Impossible(ControlError),
    /// What was typed cannot be.
    Usage(Refusal),
}

/// Does what `command` says and gives the exit code.
///
/// # Errors
/// Only those of writing the output.
pub fn run(
    command: Subcommands,
    control: &mut dyn Control,
    names: &dyn Names,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let (failing, done) = match command {
        Subcommands::List { json } => ("cannot list services", list(json, control, out)?),
        Subcommands::Status { json } => ("cannot tell the status", report(json, control, out)?),
        Subcommands::Stats { json, proc } => ("cannot tell counters", total(json, proc, control, out)?),
        Subcommands::Detach => ("cannot detach", detach(control, out)?),
        Subcommands::Marks { json } => ("cannot list marks", list_marks(json, control, out)?),
        Subcommands::Mark { words } => return mark::run(&words, control, names, out, err),
        Subcommands::Set(args) => (args.failing(), set::run(&args, control, out, err)?),
    };
    out.flush()?;
    let (message, hint, code) = match done {
        Ok(code) => return Ok(code),
        Err(Failure::Refused(r)) => (r.message, r.hint, REFUSED),
        Err(Failure::Unreachable(e)) => (e.message, e.hint, UNREACHABLE),
        Err(Failure::Impossible(e)) => (e.message, e.hint, REFUSED),
        Err(Failure::Usage(r)) => (r.message, r.hint, USAGE),
    };
    writeln!(err, "error: {failing}: {message}")?;
    if let Some(hint) = hint {
        writeln!(err, "hint: {hint}")?;
    }
    Ok(code)
}

/// Every response to `request` but a refusal.
pub(super) fn ask(control: &mut dyn Control, request: &Request) -> Result<Vec<Response>, Failure> {
    let mut parts = Vec::new();
    let mut refusal = None;
    control
        .ask(request, &mut |response| match response {
            Response::Refused(why) => refusal = Some(why),
            other => parts.push(other),
        })
        .map_err(Failure::Unreachable)?;
    refusal.map_or(Ok(parts), |why| Err(Failure::Refused(why)))
}

pub(super) fn write_json(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn list(json: bool, control: &mut dyn Control, out: &mut dyn Write) -> io::Result<Result<u8, Failure>> {
    let parts = match ask(control, &Request::Services { key: None }) {
        Ok(parts) => parts,
        // Without lbd from what it left pinned, where that is possible.
        Err(Failure::Unreachable(error)) => match control.offline_listing(None, error) {
            Ok(services) => vec![Response::Services { services }],
            Err(error) => return Ok(Err(Failure::Unreachable(error))),
        },
        Err(refused) => return Ok(Err(refused)),
    };
    let mut services = Vec::new();
    for part in parts {
        if let Response::Services { services: some } = part {
            services.extend(some);
        }
    }
    sort(&mut services);
    if json {
        write_json(out, &services)?
    } else {
        table(out, &services)?
    }
    Ok(Ok(0))
}

fn report(json: bool, control: &mut dyn Control, out: &mut dyn Write) -> io::Result<Result<u8, Failure>> {
    let parts = match ask(control, &Request::Status) {
        Ok(parts) => parts,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut code = REFUSED;
    for part in parts {
        if let Response::Status(s) = part {
            if json {
                write_json(out, &s)?
            } else {
                status(out, &s)?
            }
            code = if s.forwarding { 0 } else { REFUSED };
        }
    }
    Ok(Ok(code))
}

fn total(
    json: bool,
    proc: bool,
    control: &mut dyn Control,
    out: &mut dyn Write,
) -> io::Result<Result<u8, Failure>> {
    let parts = match ask(control, &Request::Stats) {
        Ok(parts) => parts,
        Err(failure) => return Ok(Err(failure)),
    };
    for part in parts {
        if let Response::Stats { stats: counted, rates } = part {
            if json {
                write_json(out, &serde_json::json!({"stats": counted, "rates": rates}))?
            } else if proc {
                stats_of_proc(out, &counted, &rates)?
            } else {
                stats(out, &counted, &rates)?
            }
        }
    }
    Ok(Ok(0))
}

fn detach(control: &mut dyn Control, out: &mut dyn Write) -> io::Result<Result<u8, Failure>> {
    match control.detach() {
        Ok(interfaces) => {
            let from = if interfaces.is_empty() { "no interface".to_owned() } else { interfaces.join(", ") };
            writeln!(out, "detached from {from}; services and connections are forgotten")?;
            Ok(Ok(0))
        }
        Err(error) => Ok(Err(Failure::Impossible(error))),
    }
}

fn list_marks(json: bool, control: &mut dyn Control, out: &mut dyn Write) -> io::Result<Result<u8, Failure>> {
    let parts = match ask(control, &Request::Marks) {
        Ok(parts) => parts,
        Err(failure) => return Ok(Err(failure)),
    };
    for part in parts {
        if let Response::Marks { rules } = part {
            if json { write_json(out, &rules)? } else { marks(out, &rules)? }
        }
    }
    Ok(Ok(0))
}

#[cfg(test)]
mod tests;
