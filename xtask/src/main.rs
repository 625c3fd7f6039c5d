//! Set-up, build, tests, demo and measurements of the project: `cargo xtask COMMAND`.

mod compile;
mod ebpf_build;
mod elf;
mod interrupt;
mod repo;
mod run;
mod setup;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{repo::Repo, setup::Purpose};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set-up, build, tests, demo and measurements of the project")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what build, test and demo need and is missing; silent when all is there
    Setup,
    /// Builds target/release/lbd, with its data path, and target/release/lbadm
    Build,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run_task(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_task(task: Task) -> Result<ExitCode> {
    interrupt::install()?;
    let repo = Repo::find();
    match task {
        Task::Build => compile::build(&repo).map(|()| ExitCode::SUCCESS),
        Task::Setup => setup::ensure(&repo, Purpose::Test).map(|_| ExitCode::SUCCESS),
    }
}
