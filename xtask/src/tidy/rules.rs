//! The tables of the layer check (ARCHITECTURE.md, 3.3): who may use whom. A new edge is a decision about the
//! architecture; it is made here, in a commit that says why.

/// How near the outside world a module of lb-user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// No tokio, no sockets, no clock, no files.
    Pure,
    /// One outside world each.
    Adapter,
    /// Puts the rest together.
    Composition,
}

/// A module of lb-user.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: &'static str,
    pub(crate) layer: Layer,
    /// The modules it may use.
    pub(crate) uses: &'static [&'static str],
}

const fn module(name: &'static str, layer: Layer, uses: &'static [&'static str]) -> Module {
    Module { name, layer, uses }
}

/// What an adapter turns into events and gets as effects. Never another adapter, never the director.
const WORDS: &[&str] = &["model", "instance", "config", "api", "plan", "vrrp", "health"];
/// The same, for the adapters that serve the command line.
const WORDS_AND_CLI: &[&str] = &["model", "instance", "api", "cli"];

/// Every module of lb-user.
pub(crate) const MODULES: [Module; 19] = [
    module("model", Layer::Pure, &[]),
    module("instance", Layer::Pure, &["model"]),
    module("config", Layer::Pure, &["model", "instance"]),
    module("api", Layer::Pure, &["model", "instance"]),
    module("vrrp", Layer::Pure, &["model"]),
    module("health", Layer::Pure, &["model"]),
    module("plan", Layer::Pure, &["model"]),
    module("director", Layer::Pure, &["model", "plan", "vrrp", "health", "api", "config"]),
    module("cli", Layer::Pure, &["api", "model", "instance"]),
    module("bpf", Layer::Adapter, WORDS),
    module("netlink", Layer::Adapter, WORDS),
    module("wire", Layer::Adapter, WORDS),
    module("check", Layer::Adapter, WORDS),
    module("notify", Layer::Adapter, WORDS),
    module("server", Layer::Adapter, WORDS),
    module("client", Layer::Adapter, WORDS_AND_CLI),
    module("names", Layer::Adapter, WORDS_AND_CLI),
    module("record", Layer::Adapter, WORDS),
    module("daemon", Layer::Composition, &[]),
];

/// A crate that is confined to some places.
#[derive(Debug)]
pub(crate) struct Confined {
    pub(crate) name: &'static str,
    /// Beginnings of the paths where it may be used.
    pub(crate) places: &'static [&'static str],
}

const BPF: &[&str] = &["lb-user/src/bpf/", "lb-user/tests/", "xtask/src/bench", "tests/netns/"];
const NETLINK: &[&str] = &["lb-user/src/netlink/"];
const NOT_IN_THE_LIBRARY: &[&str] = &["lb-user/src/bin/", "lb-user/tests/", "xtask/", "tests/netns/"];

/// Crates with one home.
pub(crate) const CONFINED: [Confined; 8] = [
    Confined { name: "aya", places: BPF },
    Confined { name: "aya_obj", places: BPF },
    Confined { name: "aya_log", places: BPF },
    Confined { name: "rtnetlink", places: NETLINK },
    Confined { name: "netlink_packet_route", places: NETLINK },
    Confined { name: "netlink_packet_core", places: NETLINK },
    Confined { name: "netlink_sys", places: NETLINK },
    Confined { name: "anyhow", places: NOT_IN_THE_LIBRARY },
];

/// What reaches into the world and so may not be named in pure code: beginnings of paths.
pub(crate) const IMPURE_PATHS: [&[&str]; 15] = [
    &["tokio"],
    &["tokio_util"],
    &["nix"],
    &["libc"],
    &["socket2"],
    &["memmap2"],
    &["sd_notify"],
    &["rtnetlink"],
    &["aya"],
    &["std", "fs"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "env"],
    &["std", "os"],
    &["tracing_subscriber"],
];

/// Types that are sockets, wherever they come from.
pub(crate) const SOCKETS: [&str; 6] =
    ["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "UnixListener", "UnixDatagram"];

/// Calls that read a clock: the last two words of a path.
pub(crate) const CLOCKS: [[&str; 2]; 2] = [["Instant", "now"], ["SystemTime", "now"]];

/// Where `unsafe` may stand: beginnings of paths.
pub(crate) const UNSAFE_PLACES: [&str; 7] = [
    "lb-ebpf/src/",
    "lb-common/src/abi.rs",
    "lb-common/src/abi/",
    "lb-user/src/bpf/",
    "lb-user/src/wire/",
    "lb-user/src/names/",
    "tests/netns/src/",
];

/// Length of a source file from which it is mentioned, and from which it is an error.
pub(crate) const LONG_FILE: usize = 400;
/// See [`LONG_FILE`].
pub(crate) const TOO_LONG_FILE: usize = 500;
/// The binaries only parse, run and map errors to exit codes.
pub(crate) const TOO_LONG_BINARY: usize = 60;

/// Hosts of package registries, which come and go and have mirrors: nothing we write names one. Spelled so that this file
/// passes.
pub(crate) const FORBIDDEN_WORDS: [&str; 7] = [
    concat!("crates", ".io"),
    concat!("deb.", "debian.org"),
    concat!("security.", "debian.org"),
    concat!("snapshot.", "debian.org"),
    concat!("pypi", ".org"),
    concat!("registry.", "npmjs.org"),
    concat!("proxy.", "golang.org"),
];

/// The module of this name.
pub(crate) fn find_module(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.name == name)
}

/// What of lb-common only tests on the host have (feature `testing`): beginnings of paths.
pub(crate) const HOST_ONLY: [&str; 2] = ["lb-common/src/testing/", "lb-common/src/abi/host.rs"];
