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
            let text = error.text();
            // The diagnostics of a configuration begin with the word themselves.
            let prefix = if text.starts_with("error: ") { "" } else { "error: " };
            eprintln!("{prefix}{text}");
            ExitCode::from(error.code())
        }
    }
}
