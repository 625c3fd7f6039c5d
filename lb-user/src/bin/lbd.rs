//! The daemon of the director.

use std::process::ExitCode;

use clap::Parser;
use lb_user::daemon::{self, Args};

fn main() -> ExitCode {
    let args = Args::parse();
    daemon::init_logging();
    match daemon::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.text());
            ExitCode::from(error.code())
        }
    }
}
