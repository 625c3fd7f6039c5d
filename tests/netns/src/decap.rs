//! Real servers behind tunnels on kernels without tunnel devices: an XDP program takes the outer headers off.

use anyhow::{Context, Result};

use crate::server::PYTHON;
use crate::shell;
use crate::site::Site;

const LOAD: &str = include_str!("../files/decap.py");

/// Port of GUE that the real servers listen on.
pub const GUE_PORT: u16 = 6080;

/// Has the real servers take IPIP, GRE and GUE headers off what reaches them.
///
/// # Errors
/// If the program does not load or attach.
pub fn on_real_servers(site: &Site) -> Result<()> {
    let pin = site.bpffs().join("decap");
    shell::check(std::process::Command::new(PYTHON).args(["-c", LOAD]).arg(&pin), "")
        .context("cannot load the program that decapsulates")?;
    for name in ["rs1", "rs2", "rs3"] {
        // Not `ip -n`: the pin must stay visible.
        let attach = format!("ip link set dev eth0 xdp pinned {}", pin.display());
        site.host(name).must(&attach).with_context(|| format!("real server {name}"))?;
    }
    std::fs::remove_file(&pin).context("cannot remove the pin of the decapsulating program")
}
