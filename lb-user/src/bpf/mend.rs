//! Pins that somebody removed while lbd runs: noticed, and made again.

use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapInfo};

use super::specs::specs;
use super::{AttachError, Attached, Dataplane, LoadError, Sizes, pins, sys};
use crate::instance::link_path;

/// The maps of a data path that is open, and where each is pinned. Without its pin a map ends with lbd and the
/// program, and the next lbd begins with an empty one.
#[derive(Debug)]
pub struct MapPins {
    dir: PathBuf,
    /// Name and kernel id.
    maps: Vec<(&'static str, u32)>,
}

impl MapPins {
    /// Those in a directory of maps, all of them there.
    ///
    /// # Errors
    /// [`LoadError`] where one cannot be looked at.
    pub fn of(maps_dir: &Path) -> Result<Self, LoadError> {
        let id = |name: &'static str| match MapInfo::from_pin(maps_dir.join(name)) {
            Ok(info) => Ok((name, info.id())),
            Err(error) => Err(failed("look at pinned map", &maps_dir.join(name), error)),
        };
        let maps = specs(&Sizes::default()).iter().map(|spec| id(spec.name)).collect::<Result<_, _>>()?;
        Ok(Self { dir: maps_dir.to_path_buf(), maps })
    }

    /// Pins again what is not pinned any more; the names of those maps.
    ///
    /// # Errors
    /// [`LoadError`] at the first that cannot be pinned.
    pub fn mend(&self) -> Result<Vec<&'static str>, LoadError> {
        let mut mended = Vec::new();
        for (name, id) in &self.maps {
            let path = self.dir.join(name);
            if path.exists() {
                continue;
            }
            pins::make_dir(&self.dir)?;
            let map = MapData::from_id(*id).map_err(|error| failed("find again the map of", &path, error))?;
            map.pin(&path).map_err(|error| failed("pin again", &path, error))?;
            mended.push(*name);
        }
        Ok(mended)
    }
}

fn failed(
    doing: &'static str,
    path: &Path,
    error: impl std::error::Error + Send + Sync + 'static,
) -> LoadError {
    LoadError::Io { doing, path: path.to_path_buf(), source: io::Error::other(error) }
}

impl Dataplane {
    /// Whether the link of an interface is still pinned and holds the program there. Where it is not, the program
    /// is off: the pin alone holds it.
    ///
    /// # Errors
    /// [`AttachError`] where the pin cannot be looked at.
    pub fn holds(&self, attached: &Attached) -> Result<bool, AttachError> {
        let path = link_path(&self.links_dir, &attached.name);
        match sys::xdp_link(&path) {
            Ok(link) => Ok(link.is_some_and(|link| link.ifindex == attached.ifindex)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(AttachError::Pin { doing: "look at", path, source }),
        }
    }
}
