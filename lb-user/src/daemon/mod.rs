//! lbd: everything put together, on one thread. The only place that spawns tasks.
//!
//! [`run`] opens the data path, lets the director adopt what is in the maps and apply the configuration,
//! attaches the interfaces, and then turns what happens into the director's events and its effects into
//! system calls ([`core`]) until a signal ends it. The data path goes on without lbd (decision 14).

mod args;
mod attach;
mod config;
mod core;
mod error;
mod event_loop;
mod host;
mod live;
mod logging;
mod meminfo;
mod offline;
mod start;
mod state_dir;
mod status;

pub use self::args::Args;
pub use self::error::Error;
pub use self::logging::init as init_logging;
pub use self::offline::Console;

/// Runs lbd until it is told to stop.
///
/// # Errors
/// [`Error`], with its exit code.
pub fn run(args: Args) -> Result<(), Error> {
    let instance = args.instance.clone().instance()?;
    if args.check {
        let Some(path) = &args.config else { return Err(Error::NothingToCheck) };
        config::read(path)?;
        tracing::info!(path = %path.display(), "the configuration is right");
        return Ok(());
    }
    let config = args.config.as_deref().map(config::read).transpose()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(start::start(args, instance, config))
}
