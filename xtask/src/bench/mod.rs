//! `cargo xtask bench`: nanoseconds a packet, by BPF_PROG_TEST_RUN, net of an empty program and in units of L, one
//! lookup in a preallocated HASH with a 16-byte key.
//!
//! The eBPF object `bench` holds the same programs as the one that is shipped (their tags are compared) and feeders that
//! give each run a fresh frame. Sends nothing: no frame leaves the test run.

mod case;
mod facts;
mod flows;
mod frames;
mod meter;
mod report;
mod services;
mod site;
mod value;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    ebpf_build,
    repo::Repo,
    setup::{self, Purpose},
};

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print JSON alone
    #[arg(long)]
    json: bool,
    /// Rounds of the cases with one flow; those with many flows take a fifth of it
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    rounds: u32,
    /// Runs of each case in a round
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    repeat: u32,
    /// Leave out the cases with many flows
    #[arg(long)]
    quick: bool,
    /// Compare the cases with one flow with those of this eBPF object, in alternation: an earlier `bench` of
    /// target/ebpf/bpfel-unknown-none/release
    #[arg(long, value_name = "OBJECT", conflicts_with = "json")]
    against: Option<PathBuf>,
}

/// Measures and prints. A missed goal is a result, not an error.
///
/// # Errors
/// When the objects cannot be built or loaded, or when the data path did not do in a case what the case is about.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("loading eBPF programs needs root: run `sudo cargo xtask bench`");
    }
    let toolchain = setup::ensure(repo, Purpose::Build)?;
    let build = |binary| {
        ebpf_build::build_binary(repo.root(), &toolchain, &repo.ebpf_target(), true, binary)
            .with_context(|| format!("the eBPF object `{binary}` cannot be built"))
    };
    let (shipped, measured) = (build(ebpf_build::BINARY)?, build("bench")?);
    let read = |path: &std::path::Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (shipped, measured) = (read(&shipped)?, read(&measured)?);

    if let Some(other) = &options.against {
        let mut sites = [site::Site::open(&read(other)?, true)?, site::Site::open(&measured, true)?];
        let results = case::one_flow(&mut sites, options.rounds, options.repeat)?;
        print!("{}", report::comparison(&results));
        return Ok(ExitCode::SUCCESS);
    }
    let mut site = site::Site::open(&measured, options.quick)?;
    let facts = facts::gather(&shipped, &site)?;
    eprintln!("bench: one flow, {} rounds of {} runs a case", options.rounds, options.repeat);
    let mut results = case::one_flow(std::slice::from_mut(&mut site), options.rounds, options.repeat)?;
    let mut results = results.pop().context("nothing was measured")?;
    if !options.quick {
        flows::many(&mut site, options.rounds.div_ceil(5), &mut results)?;
    }
    let report = report::Report::new(results, facts);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(ExitCode::SUCCESS)
}
