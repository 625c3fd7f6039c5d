//! A flood: packets from random sources, made by an XDP program on live frames (BPF_PROG_TEST_RUN with
//! BPF_F_TEST_XDP_LIVE_FRAMES) at the bridge port of a director, and taken off there when the director sends them on.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use aya::maps::{Array, Map, MapData, PerCpuArray};
use aya::programs::{TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, programs};
use etherparse::PacketBuilder;

use crate::director::bin_dir;
use crate::{Namespace, Site};

/// Bytes of a frame: what Ethernet pads to.
const FRAME: usize = 60;
/// Frames that the kernel throws in at once.
const BATCH: u32 = 64;

/// What a flood aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// SYNs to an address and port.
    Syn(SocketAddrV4),
    /// Datagrams to an address and port.
    Udp(SocketAddrV4),
}

/// The flood's programs, loaded; dropped, they are gone.
#[derive(Debug)]
pub struct Flood {
    ebpf: Ebpf,
    switch: Namespace,
    ifindex: u32,
}

/// Where `cargo xtask build` leaves the object, beside the directory of the programs.
fn object() -> PathBuf {
    bin_dir().join("../ebpf/bpfel-unknown-none/release/flood")
}

impl Flood {
    /// Takes the bridge port of the site's first director interface: from now on it takes whatever has to do with
    /// the flood's sources, and passes the rest.
    ///
    /// # Errors
    /// If the object is not there or the kernel refuses it.
    pub fn at(site: &Site) -> Result<Self> {
        let path = object();
        let bytes = std::fs::read(&path)
            .with_context(|| format!("cannot read {}: run `cargo xtask build`", path.display()))?;
        let mut ebpf = Ebpf::load(&bytes).context("the flood's maps cannot be made")?;
        for name in ["flood", "sink"] {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("the kernel refuses the flood's program {name}"))?;
        }
        let switch = site.host("switch");
        let interface = site.director_interfaces().into_iter().next().context("no director in the site")?;
        let port = format!("director-{interface}");
        // The port has a program already, by netlink; a link cannot replace it.
        switch.must(&format!("ip link set dev {port} xdpdrv off"))?;
        let ifindex = switch.enter(|| {
            program(&mut ebpf, "sink")?
                .attach(&port, XdpMode::Driver)
                .with_context(|| format!("cannot attach the flood's sink to {port}"))?;
            nix::net::if_::if_nametoindex(port.as_str()).with_context(|| format!("no interface {port}"))
        })?;
        Ok(Self { ebpf, switch, ifindex })
    }

    /// What the next frames go to, at random; the director's interface has `mac`.
    ///
    /// # Errors
    /// If there are more than 16 targets, or not a power of two.
    pub fn aim(&mut self, mac: [u8; 6], targets: &[Target]) -> Result<()> {
        ensure!(targets.len().is_power_of_two() && targets.len() <= 16, "{} targets", targets.len());
        let mut templates: Array<_, [u64; 9]> = array(&mut self.ebpf, "TEMPLATES")?;
        for (i, target) in (0..).zip(targets) {
            templates.set(i, template(mac, *target)?, 0).context("cannot write a template")?;
        }
        let mut plan: Array<_, [u32; 2]> = array(&mut self.ebpf, "PLAN")?;
        let mask = u32::try_from(targets.len())? - 1;
        plan.set(0, [mask, self.ifindex], 0).context("cannot write the plan")
    }

    /// Sends so many frames, as fast as they go; some may be lost where the director does not keep up.
    ///
    /// # Errors
    /// If the kernel refuses to run the program on live frames (5.18 and later do it).
    pub fn send(&mut self, frames: u32) -> Result<()> {
        let flood = program(&mut self.ebpf, "flood")?;
        let run = || -> Result<()> {
            let options = TestRunOptions {
                data_in: Some(&[0; FRAME]),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            };
            programs::TestRun::test_run(flood, options).context("cannot send live frames")?;
            Ok(())
        };
        // An interface's index is looked up in the namespace of who runs the program.
        self.switch.enter(run)
    }

    /// Frames that the director sent on so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn taken(&self) -> Result<u64> {
        let map = self.ebpf.map("TAKEN").context("the flood's object has no map TAKEN")?;
        let taken: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        Ok(taken.get(&0, 0).context("cannot read the flood's counter")?.iter().sum())
    }
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf.program_mut(name).with_context(|| format!("the flood's object has no {name}"))?;
    Ok(program.try_into()?)
}

fn array<'e, T: aya::Pod>(ebpf: &'e mut Ebpf, name: &str) -> Result<Array<&'e mut MapData, T>> {
    let map: &mut Map =
        ebpf.map_mut(name).with_context(|| format!("the flood's object has no map {name}"))?;
    Array::try_from(map).with_context(|| format!("map {name} of the flood is of another size"))
}

/// A frame from 10.0.0.0 port 0, and where its transport checksum is.
fn template(mac: [u8; 6], target: Target) -> Result<[u64; 9]> {
    let from = |to: &SocketAddrV4| {
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xf0], mac).ipv4([10, 0, 0, 0], to.ip().octets(), 64)
    };
    let mut frame = Vec::new();
    let checksum_at: u64 = match target {
        Target::Syn(to) => {
            from(&to).tcp(0, to.port(), 1, 64240).syn().write(&mut frame, &[])?;
            50
        }
        Target::Udp(to) => {
            from(&to).udp(0, to.port()).write(&mut frame, &[0x6c; 18])?;
            40
        }
    };
    frame.resize(64, 0);
    let mut words = [0; 9];
    for (word, bytes) in words.iter_mut().zip(frame.chunks(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().map_err(|_short| anyhow!("not whole words"))?);
    }
    if let Some(last) = words.last_mut() {
        *last = checksum_at;
    }
    Ok(words)
}

/// Anonymous memory of a process, in bytes.
///
/// # Errors
/// If the process is gone.
pub fn anonymous_memory(pid: u32) -> Result<u64> {
    let path = Path::new("/proc").join(pid.to_string()).join("status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context("RssAnon is no number")?;
    Ok(kilobytes * 1024)
}
