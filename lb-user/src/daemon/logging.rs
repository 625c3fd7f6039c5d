//! The log: one line an event on standard error, fields in the architecture's words.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts the log. `LB_LOG`, or else `RUST_LOG`, says what is told, as
/// `tracing_subscriber::EnvFilter` reads it; without them everything from `info` up.
pub fn init() {
    let wanted = ["LB_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::builder().parse_lossy(wanted.as_deref().unwrap_or("info"));
    let terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false);
    // A second call, in tests, changes nothing.
    drop(log.try_init());
}
