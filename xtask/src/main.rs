//! Set-up, build, tests, demo and measurements of the project: `cargo xtask COMMAND`.

mod bench;
mod compile;
mod demo;
mod ebpf_build;
mod elf;
mod fuzz;
mod interrupt;
mod replay;
mod repo;
mod run;
mod setup;
mod test;
mod tidy;
mod vm;

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
    /// Builds a small site in network namespaces and shows what a director does in it
    Demo(demo::DemoArgs),
    /// Runs recordings of the real ipvsadm and IPVS against our director
    Replay(replay::ReplayArgs),
    /// Checks the rules of the architecture: layers, crates, unsafe, file lengths
    Tidy,
    /// Measures nanoseconds a packet by BPF_PROG_TEST_RUN and compares them with the goals
    Bench(bench::Options),
    /// Throws bytes at the packet path with libFuzzer, some seconds for each target
    Fuzz(fuzz::Options),
    /// Runs the whole gate: checks, tests, namespaces, recordings, the oldest kernel
    Test(test::Options),
    /// Runs the tests that load the eBPF object on the oldest supported kernel, under qemu
    Vm(vm::Options),
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
    netns_tests::interrupt::observe(interrupt::requested);
    let repo = Repo::find();
    match task {
        Task::Bench(options) => bench::run(&repo, &options),
        Task::Build => compile::build(&repo).map(|()| ExitCode::SUCCESS),
        Task::Demo(args) => {
            if !args.clean {
                programs(&repo)?;
            }
            Ok(if demo::run(&args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Task::Fuzz(options) => {
            let counts = fuzz::run(&repo, &options)?;
            println!("{counts}");
            Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Task::Replay(args) => {
            programs(&repo)?;
            let counts = replay::run(&args)?;
            Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Task::Tidy => tidy::check(&repo).map(|()| ExitCode::SUCCESS),
        Task::Test(options) => test::run(&repo, &options),
        Task::Vm(options) => {
            setup::ensure(&repo, Purpose::Build)?;
            let counts = vm::run(&repo, &options)?;
            println!("{counts}");
            Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Task::Setup => setup::everything(&repo).map(|()| ExitCode::SUCCESS),
    }
}

/// What demo and recordings run: built here, unless `LB_BIN_DIR` names programs built elsewhere.
fn programs(repo: &Repo) -> Result<()> {
    setup::ensure(repo, Purpose::Demo)?;
    if std::env::var_os("LB_BIN_DIR").is_none() {
        compile::build(repo)?;
    }
    Ok(())
}
