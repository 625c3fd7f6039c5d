//! Ctrl-C, SIGTERM and SIGHUP end xtask in order: a flag is raised, whoever waits for a child looks at it, ends the child
//! and returns an error, and what was set up is put back on the way out. A second signal ends xtask at once.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Exit code of a program that was interrupted, as shells give it.
const INTERRUPTED: i32 = 130;

/// Starts to catch the signals. A command that calls this must look at [`requested`] wherever it waits.
///
/// # Errors
/// When the system refuses the handlers.
pub(crate) fn install() -> io::Result<()> {
    let requested = REQUESTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the first handler acts on the flag as the previous signal left it.
        flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(requested))?;
        flag::register(signal, Arc::clone(requested))?;
    }
    Ok(())
}

/// True once somebody asked xtask to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
