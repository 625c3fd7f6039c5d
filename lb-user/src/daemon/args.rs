//! The command line of lbd.

use std::path::PathBuf;

use clap::Parser;

use crate::instance::InstanceArgs;

/// The director: loads the data path, attaches it to interfaces and keeps it as it is configured
///
/// It stays in the foreground and logs to standard error (LB_LOG=debug for more). SIGHUP reads the
/// configuration again; SIGTERM and SIGINT end lbd and leave the data path forwarding (lbadm detach
/// takes it away).
#[derive(Debug, Clone, Parser)]
#[command(name = "lbd", version)]
pub struct Args {
    /// Attach the data path to this interface; may be given several times
    #[arg(long, value_name = "INTERFACE")]
    pub interface: Vec<String>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "LB_CONFIG")]
    pub config: Option<PathBuf>,
    /// Only check the configuration file, and say what is wrong with it
    #[arg(long)]
    pub check: bool,
    /// Which director.
    #[command(flatten)]
    pub instance: InstanceArgs,
}
