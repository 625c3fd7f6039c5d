//! The embedded eBPF object and its programs.

use std::path::Path;

use aya::programs::{ProgramError, ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_log::EbpfLogger;
use lb_common::abi::programs;

use super::LoadError;
use super::clock::Reading;
use super::specs::Spec;

/// The object, where this build has one (decision 15).
#[cfg(ebpf_embedded)]
const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("LB_EBPF_OBJECT")));
#[cfg(not(ebpf_embedded))]
const OBJECT: Option<&[u8]> = None;

/// Lines of the verifier's log that an error shows: its verdict is at the end.
const LOG_LINES: usize = 15;

/// Room that a program may grow a frame by.
const GROWTH: usize = 256;

/// A program of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProgramName {
    /// The director, with its tail calls.
    Director,
    /// Opens IPv4 connections; reached by tail call.
    Open4,
    /// Opens IPv6 connections; reached by tail call.
    Open6,
    /// Lets IPv4 connections in whose destination is chosen; reached by tail call.
    Admit4,
    /// Lets IPv6 connections in; reached by tail call.
    Admit6,
    /// Encapsulates IPv4 packets; reached by tail call.
    Encap4,
    /// Encapsulates IPv6 packets; reached by tail call.
    Encap6,
    /// IPv4 errors about connections; reached by tail call.
    Related4,
    /// The same of IPv6.
    Related6,
    /// IPv4 packets that are neither TCP nor UDP; reached by tail call.
    Other4,
    /// IPv6 packets that are neither TCP nor UDP; reached by tail call.
    Other6,
    /// Opens IPv4 connections of services with a persistence engine; reached by tail call.
    Engine4,
    /// Opens IPv6 connections of services with a persistence engine; reached by tail call.
    Engine6,
    /// Nothing but the call.
    Empty,
    /// Passes everything.
    Pass,
    /// Reports the clocks.
    Clock,
}

impl ProgramName {
    /// The programs behind the director's tail calls, and their places in map `OPENERS`.
    pub const TAIL_CALLED: [(u32, Self); 12] = [
        (programs::OPEN4, Self::Open4),
        (programs::OPEN6, Self::Open6),
        (programs::ADMIT4, Self::Admit4),
        (programs::ADMIT6, Self::Admit6),
        (programs::OTHER4, Self::Other4),
        (programs::OTHER6, Self::Other6),
        (programs::ENGINE4, Self::Engine4),
        (programs::ENGINE6, Self::Engine6),
        (programs::ENCAP4, Self::Encap4),
        (programs::ENCAP6, Self::Encap6),
        (programs::RELATED4, Self::Related4),
        (programs::RELATED6, Self::Related6),
    ];

    /// Its name in the object.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Director => "director",
            Self::Open4 => "open4",
            Self::Open6 => "open6",
            Self::Admit4 => "admit4",
            Self::Admit6 => "admit6",
            Self::Encap4 => "encap4",
            Self::Encap6 => "encap6",
            Self::Related4 => "related4",
            Self::Related6 => "related6",
            Self::Other4 => "other4",
            Self::Other6 => "other6",
            Self::Engine4 => "engine4",
            Self::Engine6 => "engine6",
            Self::Empty => "empty",
            Self::Pass => "pass",
            Self::Clock => "clock",
        }
    }
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

/// What the kernel says of a loaded program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramFacts {
    /// Kernel id.
    pub id: u32,
    /// Instructions after the verifier's rewriting, bytes.
    pub translated_bytes: u32,
    /// Machine code, bytes.
    pub machine_bytes: u32,
    /// Instructions that the verifier looked at.
    pub verified: u32,
}

/// The loaded object.
pub(super) struct Object {
    ebpf: Ebpf,
    /// Empties the log of a development build's programs.
    log: Option<Box<dyn FnMut() + Send>>,
}

impl Object {
    /// Makes the maps of the object: pinned in `dir`, or adopted from there, by the specifications.
    pub(super) fn open(dir: &Path, specs: &[Spec]) -> Result<Self, LoadError> {
        let mut loader = EbpfLoader::new();
        for spec in specs {
            loader.map_pin_path(spec.name, dir.join(spec.name)).map_max_entries(spec.name, spec.elements);
        }
        Self::load(&mut loader, specs)
    }

    /// Makes maps of the least size that nothing but the programs of this object sees.
    pub(super) fn alone() -> Result<Self, LoadError> {
        Self::load(&mut EbpfLoader::new(), &[])
    }

    fn load(loader: &mut EbpfLoader<'_>, specs: &[Spec]) -> Result<Self, LoadError> {
        let mut ebpf =
            loader.load(OBJECT.ok_or(LoadError::NoDataPath)?).map_err(|error| load_error(error, specs))?;
        for spec in specs {
            if ebpf.map(spec.name).is_none() {
                return Err(LoadError::Incomplete { what: "map", name: spec.name });
            }
        }
        let mut log: Option<Box<dyn FnMut() + Send>> = None;
        // Only a development build logs from its programs (toolchain: off in releases).
        if ebpf.map("AYA_LOGS").is_some()
            && let Ok(mut logger) = EbpfLogger::init(&mut ebpf)
        {
            log = Some(Box::new(move || logger.flush()));
        }
        Ok(Self { ebpf, log })
    }

    /// Passes what the programs of a development build logged on to the logger of crate `log`.
    pub(super) fn flush_log(&mut self) {
        if let Some(flush) = &mut self.log {
            flush();
        }
    }

    /// A program, loaded into the kernel.
    pub(super) fn program(&mut self, which: ProgramName) -> Result<&mut Xdp, LoadError> {
        let name = which.name();
        let missing = || LoadError::Incomplete { what: "program", name };
        let program: &mut Xdp =
            self.ebpf.program_mut(name).ok_or_else(missing)?.try_into().map_err(|source: ProgramError| {
                LoadError::Program { doing: "use as XDP", program: name, source: Box::new(source) }
            })?;
        if program.fd().is_err() {
            program.load().map_err(|error| program_error(name, error))?;
        }
        Ok(program)
    }

    /// The descriptor of a loaded program, for a PROG_ARRAY.
    pub(super) fn program_fd(&mut self, which: ProgramName) -> Result<&ProgramFd, LoadError> {
        let failed = |source| LoadError::Program { doing: "use", program: which.name(), source };
        self.program(which)?.fd().map_err(|error| failed(Box::new(error)))
    }

    /// What the kernel says of a program.
    pub(super) fn facts(&mut self, which: ProgramName) -> Result<ProgramFacts, LoadError> {
        let failed = |source| LoadError::Program { doing: "look at", program: which.name(), source };
        let info = self.program(which)?.info().map_err(|error| failed(Box::new(error)))?;
        Ok(ProgramFacts {
            id: info.id(),
            translated_bytes: info.size_translated().unwrap_or_default(),
            machine_bytes: info.size_jitted(),
            verified: info.verified_instruction_count().unwrap_or_default(),
        })
    }

    /// Runs a program over a frame.
    pub(super) fn run(
        &mut self,
        which: ProgramName,
        frame: &[u8],
        ifindex: u32,
        repeat: u32,
    ) -> Result<Run, LoadError> {
        let failed = |source| LoadError::Program { doing: "run", program: which.name(), source };
        let program = self.program(which)?;
        let mut out = vec![0; frame.len() + GROWTH];
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, length, 0, ifindex, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: (ifindex != 0).then_some(context.as_slice()),
                repeat,
                ..TestRunOptions::new()
            })
            .map_err(|error| failed(Box::new(error)))?;
        out.truncate(result.data_size_out as usize);
        let nanoseconds = u32::try_from(result.duration.as_nanos()).unwrap_or(u32::MAX);
        Ok(Run { action: result.return_value, frame: out, nanoseconds })
    }

    /// The kernel's two clocks, as program `clock` writes them into its frame.
    pub(super) fn read_clock(&mut self) -> Result<Reading, LoadError> {
        let frame = self.run(ProgramName::Clock, &[0; 64], 0, 1)?.frame;
        let word = |at: usize| {
            let bytes = frame.get(at..at + 8).and_then(|b| b.try_into().ok());
            bytes.map(u64::from_ne_bytes).ok_or(LoadError::Clock("the answer is too short"))
        };
        Ok(Reading { jiffies: word(0)?, nanoseconds: word(8)? })
    }
}

/// Why the object's maps could not be made.
fn load_error(error: EbpfError, specs: &[Spec]) -> LoadError {
    match error {
        EbpfError::MapError(aya::maps::MapError::CreateError { name, io_error: source }) => {
            if source.kind() == std::io::ErrorKind::PermissionDenied {
                return LoadError::Permission { doing: format!("make map {name}"), source };
            }
            let spec = specs.iter().find(|spec| spec.name == name);
            let (elements, bytes) = spec.map_or((0, 0), |spec| (spec.elements, spec.value));
            LoadError::CreateMap { map: name, elements, bytes, source }
        }
        error => LoadError::Object(Box::new(error)),
    }
}

/// Why a program could not be loaded.
fn program_error(program: &'static str, error: ProgramError) -> LoadError {
    match error {
        ProgramError::LoadError { io_error: source, verifier_log } => {
            if source.kind() == std::io::ErrorKind::PermissionDenied && verifier_log.to_string().is_empty() {
                return LoadError::Permission { doing: format!("load program `{program}`"), source };
            }
            LoadError::Verifier { program, log: last_lines(&verifier_log.to_string()), source }
        }
        error => LoadError::Program { doing: "load", program, source: Box::new(error) },
    }
}

/// The end of the verifier's log.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_at_the_end_of_a_long_log_is_shown() {
        let log: String = (0..1000).map(|i| format!("{i}: (b7) r0 = 0\n\n")).collect();
        let shown = last_lines(&log);
        assert_eq!(shown.lines().count(), LOG_LINES);
        assert!(shown.ends_with("999: (b7) r0 = 0"), "{shown}");
        assert_eq!(last_lines("one\n"), "one");
        assert_eq!(last_lines(""), "");
    }
}
