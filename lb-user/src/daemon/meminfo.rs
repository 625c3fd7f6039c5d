//! How much memory the host has left, as IPVS counts it (ip_vs_ctl.c: update_defense_level).

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

const MEMINFO: &str = "/proc/meminfo";

/// Free and buffer pages, `None` where the kernel does not say.
pub(super) fn available_pages() -> Option<u64> {
    let text = match fs::read_to_string(MEMINFO) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "cannot read {MEMINFO}: whether memory is short is told by the tables alone");
            return None;
        }
    };
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| u64::try_from(bytes).ok())?;
    available_kibibytes(&text)?.saturating_mul(1024).checked_div(page)
}

/// MemFree and Buffers together.
fn available_kibibytes(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some(field("MemFree")?.saturating_add(field("Buffers")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_and_buffers_are_added() {
        let text = "MemTotal:  8000000 kB\nMemFree:    1000 kB\nMemAvailable: 7000 kB\nBuffers:   24 kB\nCached: 5 kB\n";
        assert_eq!(available_kibibytes(text), Some(1024));
        assert_eq!(available_kibibytes("MemFree: 1 kB\n"), None);
        assert_eq!(available_kibibytes("MemFree: x kB\nBuffers: 1 kB\n"), None);
        assert!(available_pages().is_some_and(|pages| pages > 0), "this machine's own");
    }
}
