//! Opens the data path: over maps made at the first start, and adopted at every later one.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use lb_common::abi::{ABI_VERSION, Settings, settings_flags};
use lb_common::conn::{sctp, tcp};

use super::object::{Object, ProgramFacts, ProgramName, Run};
use super::pins::{self, Pinned};
use super::specs::{Spec, specs};
use super::{Clock, Events, LoadError, LocalityKeeper, LocalityServices, MapError, Maps};
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
    /// 144 MiB of connection tables.
    fn default() -> Self {
        Self {
            connections: 262_144,
            connections6: None,
            services: 4096,
            destinations: 16_384,
            slots: 262_144,
        }
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

/// The data path of one director: programs loaded, maps open. Dropping it leaves pinned maps and
/// links as they are: the data path goes on.
pub struct Dataplane {
    pub(super) object: Object,
    pub(super) links_dir: PathBuf,
    maps: Maps,
    maps_dir: PathBuf,
    clock: Clock,
    warnings: Vec<String>,
    adopted: bool,
    events_taken: bool,
}

impl Dataplane {
    /// Opens or makes the maps and loads the programs; takes about 100 ms. Attaches nothing.
    ///
    /// The caller sees to it that no other lbd has the same directories.
    ///
    /// # Errors
    /// [`LoadError`], with the place and the remedy.
    pub fn open(options: &OpenOptions) -> Result<Self, LoadError> {
        let OpenOptions { bpffs, maps_dir, links_dir, sizes } = options;
        let mut warnings = pins::prepare(bpffs, maps_dir)?;
        warnings.extend(pins::prepare(bpffs, links_dir)?);
        let mut specs = specs(sizes);
        let adopted = adopt(maps_dir, &mut specs, &mut warnings)?;
        let mut object = Object::open(maps_dir, &specs)?;
        let clock = Clock::measure(|| object.read_clock())?.ok_or(NO_RATE)?;
        // Before anything is changed: a program that the verifier refuses must leave the running one whole.
        object.program(ProgramName::Director)?;
        let mut maps = Maps::open(maps_dir, &specs)?;
        if !adopted {
            initialise(&maps, &clock, random()?);
        }
        check(&maps, &clock, maps_dir)?;
        for (place, program) in ProgramName::TAIL_CALLED {
            maps.set_opener(place, object.program_fd(program)?)?;
        }
        let (maps_dir, links_dir) = (maps_dir.clone(), links_dir.clone());
        Ok(Self { object, links_dir, maps, maps_dir, clock, warnings, adopted, events_taken: false })
    }

    /// What an operator should know about the way it was opened, in words.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the maps of an earlier lbd were taken over.
    #[must_use]
    pub const fn adopted(&self) -> bool {
        self.adopted
    }

    /// The kernel's tick.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// The maps.
    #[must_use]
    pub const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Executes operations in order ([`Maps::execute`]).
    ///
    /// # Errors
    /// [`MapError`] of the first operation that failed; those before it are done.
    pub fn execute(&mut self, ops: &[MapOp]) -> Result<(), MapError> {
        self.maps.execute(ops)
    }

    /// Goes on taking away what lblc and lblcr remember and nobody asks for any more; `services` are those there are.
    ///
    /// # Errors
    /// [`MapError`]; the next try comes a minute later.
    pub fn keep_localities(
        &mut self,
        keeper: &mut LocalityKeeper,
        services: &LocalityServices,
    ) -> Result<(), MapError> {
        keeper.step(&mut self.maps, services, self.clock.now(), self.clock.hz())
    }

    /// What the maps hold ([`Maps::observe`]).
    ///
    /// # Errors
    /// [`MapError`].
    pub fn observe(&self) -> Result<Observed, MapError> {
        self.maps.observe()
    }

    /// The events of the data path; `None` from the second call on, because they have one reader.
    /// To be called inside of a tokio runtime.
    ///
    /// # Errors
    /// [`MapError`] where the ring cannot be mapped or polled.
    pub fn take_events(&mut self) -> Result<Option<Events>, MapError> {
        if self.events_taken {
            return Ok(None);
        }
        let events = Events::open(&self.maps_dir)?;
        self.events_taken = true;
        Ok(Some(events))
    }

    /// Passes what the programs of a development build logged on to the logger of crate `log`; nothing
    /// in other builds.
    pub fn flush_log(&mut self) {
        self.object.flush_log();
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
        self.object.run(program, frame, ifindex, repeat)
    }

    /// What the kernel says of a program, for the bench and for status.
    ///
    /// # Errors
    /// [`LoadError`] where it cannot be loaded.
    pub fn facts(&mut self, program: ProgramName) -> Result<ProgramFacts, LoadError> {
        self.object.facts(program)
    }
}

/// The ticks fit no rate that a kernel is built with.
const NO_RATE: LoadError = LoadError::Clock("its rate is none of 100, 250, 300 and 1000");

impl Clock {
    /// The kernel's tick without a data path: loads the one program that reads it, over maps of its own.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn alone() -> Result<Self, LoadError> {
        let mut object = Object::alone()?;
        Self::measure(|| object.read_clock())?.ok_or(NO_RATE)
    }
}

/// Whether a whole data path is pinned; then its sizes become those of the specifications.
fn adopt(dir: &Path, specs: &mut [Spec], warnings: &mut Vec<String>) -> Result<bool, LoadError> {
    let elements = match pins::inspect(dir, specs)? {
        Pinned::Nothing => return Ok(false),
        Pinned::Some { missing } => {
            if Maps::abi_of(dir)?.is_some_and(|abi| abi != 0) {
                return Err(LoadError::MapMissing { dir: dir.to_path_buf(), map: missing });
            }
            return afresh(dir, warnings);
        }
        Pinned::All(elements) => elements,
    };
    // The version is written last, when everything else is made.
    if Maps::abi_of(dir)? == Some(0) {
        return afresh(dir, warnings);
    }
    for (spec, pinned) in specs.iter_mut().zip(elements) {
        if spec.elements != pinned {
            let (name, wanted) = (spec.name, spec.elements);
            warnings.push(format!(
                "map {name} has {pinned} elements, the configuration asks for {wanted}: the size changes when the data path is made anew (`lbadm detach`, then start lbd)"
            ));
            spec.elements = pinned;
        }
    }
    Ok(true)
}

/// Clears away what an lbd left that ended while it made the maps.
fn afresh(dir: &Path, warnings: &mut Vec<String>) -> Result<bool, LoadError> {
    pins::remove_maps(dir)?;
    pins::make_dir(dir)?;
    warnings.push(format!("the maps in {} were never finished: made anew", dir.display()));
    Ok(false)
}

/// Fills the settings of new maps, the version last.
fn initialise(maps: &Maps, clock: &Clock, seed: [u64; 4]) {
    let hz = clock.hz();
    let ticks = |seconds: u32| seconds.saturating_mul(hz);
    let mut tcp_timeouts = [0; 16];
    for (timeout, seconds) in tcp_timeouts.iter_mut().zip(tcp::TIMEOUTS) {
        *timeout = ticks(seconds);
    }
    let mut sctp_timeouts = [0; 16];
    for (timeout, seconds) in sctp_timeouts.iter_mut().zip(sctp::TIMEOUTS) {
        *timeout = ticks(seconds);
    }
    let [buckets4, buckets6, templates4, templates6] = maps.masks();
    maps.initialise(&Settings {
        hz,
        buckets4,
        buckets6,
        templates4,
        templates6,
        seed,
        udp_timeout: ticks(UDP_TIMEOUT),
        tcp_timeouts,
        sctp_timeouts,
        // TCP, TCP FIN, UDP, as the kernel's defaults.
        timeouts_seconds: [900, 120, UDP_TIMEOUT],
        // The defaults of sysctls that are not 0.
        flags: settings_flags::EXPIRE_NODEST_UDP,
        reuse_mode: 1,
        icmp_per_second: 1000,
        icmp_burst: 50,
        icmp_interval: hz,
        minute: ticks(60),
        lblc_expiration: ticks(LOCALITY_EXPIRATION),
        lblcr_expiration: ticks(LOCALITY_EXPIRATION),
        ..Settings::default()
    });
}

/// `lblc_expiration` and `lblcr_expiration`, seconds (ip_vs_lblc.c, ip_vs_lblcr.c: DEFAULT_EXPIRATION).
const LOCALITY_EXPIRATION: u32 = 24 * 60 * 60;
/// Timeout of UDP, seconds (net/netfilter/ipvs/ip_vs_proto_udp.c: udp_timeouts).
const UDP_TIMEOUT: u32 = 300;

/// Holds the settings to this version and to the maps they speak of.
fn check(maps: &Maps, clock: &Clock, dir: &Path) -> Result<(), LoadError> {
    let settings = maps.settings();
    let differs = |what, pinned: u32, expected: u32| {
        let (path, pinned, expected) = (dir.join("SETTINGS"), pinned.to_string(), expected.to_string());
        Err(LoadError::MapDiffers { path, what, pinned, expected })
    };
    if settings.abi != ABI_VERSION {
        return differs("layout version", settings.abi, ABI_VERSION);
    }
    if settings.hz != clock.hz() {
        return differs("tick rate", settings.hz, clock.hz());
    }
    let pinned = [settings.buckets4, settings.buckets6, settings.templates4, settings.templates6];
    match pinned.into_iter().zip(maps.masks()).find(|(pinned, made)| pinned != made) {
        Some((pinned, made)) => differs("table mask", pinned, made),
        None => Ok(()),
    }
}

/// The secret multipliers of the tables' hashes: odd, so that they lose no bit.
fn random() -> Result<[u64; 4], LoadError> {
    let path = Path::new("/dev/urandom");
    let failed = |source| LoadError::Io { doing: "read", path: path.to_path_buf(), source };
    let mut source = File::open(path).map_err(failed)?;
    let mut seed = [0; 4];
    for word in &mut seed {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes).map_err(failed)?;
        *word = u64::from_ne_bytes(bytes) | 1;
    }
    Ok(seed)
}
