//! The configuration file, read and checked.

use std::fs;
use std::path::Path;

use super::Error;
use crate::config::{self, Config};
use crate::director::Director;

/// Reads a configuration that can be applied.
///
/// # Errors
/// [`Error::ReadConfig`], [`Error::Config`] with every wrong place, [`Error::Unsupported`].
pub(super) fn read(path: &Path) -> Result<Config, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::ReadConfig { path: path.to_owned(), source })?;
    let config = config::parse(&text, &path.display().to_string()).map_err(Error::Config)?;
    let refusals = Director::check(&config);
    if refusals.is_empty() {
        return Ok(config);
    }
    let lines: Vec<String> = refusals
        .into_iter()
        .map(|refusal| match refusal.hint {
            Some(hint) => format!("{}\n  hint: {hint}", refusal.message),
            None => refusal.message,
        })
        .collect();
    Err(Error::Unsupported { path: path.to_owned(), list: lines.join("\n") })
}
