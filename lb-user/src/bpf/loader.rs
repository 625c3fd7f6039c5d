//! Loads the programs over pinned maps, made at the first start and adopted at every later one.

use std::path::{Path, PathBuf};

use super::{Clock, Events, LoadError, MapError, Maps};
use crate::plan::{MapOp, Observed};

/// Sizes of the maps, decided when they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// IPv4 connections expected at once; at most 3/8 of the table's slots are then in use.
    pub connections: u32,
    /// IPv6 connections expected at once; `None`: a quarter of `connections`.
    pub connections6: Option<u32>,
    /// Virtual services of each family and of marks.
    pub services: u32,
    /// Destinations, removed ones that still have connections included.
    pub destinations: u32,
    /// Slots of scheduler tables, free room for replacing one included.
    pub slots: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { connections: 262_144, connections6: None, services: 4096, destinations: 16_384, slots: 262_144 }
    }
}

/// Where the data path lies, and how large it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Mount point of the bpffs (`/sys/fs/bpf`): mounted there where nothing is.
    pub bpffs: PathBuf,
    /// Directory of the pinned maps, below `bpffs`.
    pub maps_dir: PathBuf,
    /// Directory of the pinned links, below `bpffs`.
    pub links_dir: PathBuf,
    /// Sizes; those of maps that exist already win, with a warning.
    pub sizes: Sizes,
}

/// A program of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgramName {
    /// The director, with its tail calls.
    Director,
    /// Opens IPv4 connections; reached by tail call.
    Open4,
    /// Opens IPv6 connections; reached by tail call.
    Open6,
    /// Nothing but the call.
    Empty,
    /// Passes everything.
    Pass,
    /// Reports the clocks.
    Clock,
}

/// What BPF_PROG_TEST_RUN returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The program's XDP action (`XDP_PASS` 2 ...).
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Nanoseconds a run, the mean over all repetitions.
    pub nanoseconds: u32,
}

/// The data path of one director: programs loaded, maps open. Dropping it leaves pinned maps and
/// links as they are: the data path goes on.
pub struct Dataplane {
    maps: Maps,
    clock: Clock,
}

impl Dataplane {
    /// Opens or makes the maps and loads the programs. Attaches nothing.
    ///
    /// # Errors
    /// [`LoadError`], with the place and the remedy.
    pub fn open(options: &OpenOptions) -> Result<Self, LoadError> {
        let _ = options;
        todo!()
    }

    /// What an operator should know about the way it was opened, in words.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        todo!()
    }

    /// Whether the maps of an earlier lbd were taken over.
    #[must_use]
    pub fn adopted(&self) -> bool {
        todo!()
    }

    /// The kernel's tick.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The maps.
    #[must_use]
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Executes operations in order ([`Maps::execute`]).
    ///
    /// # Errors
    /// [`MapError`] of the first operation that failed; those before it are done.
    pub fn execute(&mut self, ops: &[MapOp]) -> Result<(), MapError> {
        self.maps.execute(ops)
    }

    /// What the maps hold ([`Maps::observe`]).
    ///
    /// # Errors
    /// [`MapError`].
    pub fn observe(&self) -> Result<Observed, MapError> {
        self.maps.observe()
    }

    /// The events of the data path; once.
    ///
    /// # Errors
    /// [`MapError`] where the ring cannot be mapped; must be called inside of a tokio runtime.
    pub fn take_events(&mut self) -> Result<Option<Events>, MapError> {
        todo!()
    }

    /// Runs the director over a frame (BPF_PROG_TEST_RUN), as if it came in by interface `ifindex` of
    /// this network namespace (0: none). With `repeat` above 1 each run gets the frame that the one
    /// before left.
    ///
    /// # Errors
    /// [`LoadError`] where the kernel refuses.
    pub fn run(&mut self, frame: &[u8], ifindex: u32, repeat: u32) -> Result<Run, LoadError> {
        self.run_program(ProgramName::Director, frame, ifindex, repeat)
    }

    /// As [`Self::run`], with another program.
    ///
    /// # Errors
    /// [`LoadError`] where the kernel refuses.
    pub fn run_program(
        &mut self,
        program: ProgramName,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<Run, LoadError> {
        let _ = (program, frame, ifindex, repeat);
        todo!()
    }
}

/// Removes the pinned maps (`lbadm detach`, after the links). The programs that still run keep theirs.
///
/// # Errors
/// [`LoadError`] where a pin cannot be removed.
pub fn remove_maps(maps_dir: &Path) -> Result<(), LoadError> {
    let _ = maps_dir;
    todo!()
}
