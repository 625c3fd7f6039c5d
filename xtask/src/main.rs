//! Set-up, build, tests, demo and measurements of the project.

mod demo;
mod replay;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
enum Command {
    /// Recordings of the real ipvsadm and IPVS against our director.
    Replay(replay::ReplayArgs),
    /// A small site in namespaces, and what a director does in it.
    Demo(demo::DemoArgs),
    /// The recordings that must pass.
    ReplaySuite,
}

fn main() -> anyhow::Result<ExitCode> {
    let ok = match Command::parse() {
        Command::Replay(args) => replay::run(&args)?.ok(),
        Command::Demo(args) => demo::run(&args)?,
        Command::ReplaySuite => replay::run_suite()?.ok(),
    };
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
