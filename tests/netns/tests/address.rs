//! Virtual addresses for which nobody answers ARP, or somebody else does.

use std::time::Duration;

use anyhow::{Result, ensure};
use netns_tests::{Director, Site, interrupt};
use serde_json::Value;

/// A tick of lbd, and the kernel asking twice.
const ASKED: Duration = Duration::from_secs(20);
/// The next round over all addresses comes within forty seconds.
const ROUND: Duration = Duration::from_secs(70);

fn warnings(director: &Director) -> Result<Vec<String>> {
    let status = director.status()?;
    let all = status.get("warnings").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(all.iter().filter_map(|w| w.as_str().map(str::to_owned)).collect())
}

fn warned_of(director: &Director, address: &str) -> Result<Option<String>> {
    let asked = |w: &String| {
        w.contains(&format!("ARP for {address}")) || w.contains(&format!("solicitations for {address}"))
    };
    Ok(warnings(director)?.into_iter().find(asked))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn only_an_address_that_nobody_has_is_warned_of() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let director = Director::start(site)?;
        // In turn: the director's own, nobody's and in its subnet, nobody's and in none, the client's.
        for address in [
            "192.0.2.1",
            "198.51.100.60",
            "192.0.2.50",
            "203.0.113.55",
            "[2001:db8:1::60]",
            "[2001:db8:3::10]",
        ] {
            director.adm(&format!("-A -t {address}:80 -s rr"))?;
        }
        for address in ["198.51.100.60", "192.0.2.50", "2001:db8:1::60"] {
            interrupt::wait_until(&format!("{address} is warned of"), ASKED, || {
                Ok(warned_of(&director, address)?.is_some_and(|w| w.starts_with("nobody answers")))
            })?;
        }
        let remedy = warned_of(&director, "198.51.100.60")?.unwrap_or_default();
        ensure!(remedy.contains("ip address add 198.51.100.60/32 dev eth0"), "{remedy}");
        let routed = warned_of(&director, "192.0.2.50")?.unwrap_or_default();
        ensure!(routed.contains("no subnet of this host"), "{routed}");
        for (address, mac) in [("203.0.113.55", "02:00:00:00:00:02"), ("2001:db8:3::10", "02:00:00:00:00:02")]
        {
            interrupt::wait_until(&format!("{address} is seen elsewhere"), ASKED, || {
                let status = director.status()?;
                let all =
                    status.get("answered_elsewhere").and_then(Value::as_array).cloned().unwrap_or_default();
                Ok(all
                    .iter()
                    .any(|a| a.get("address") == Some(&address.into()) && a.get("mac") == Some(&mac.into())))
            })?;
        }
        for address in ["192.0.2.1", "203.0.113.55", "2001:db8:3::10"] {
            let warned = warned_of(&director, address)?;
            ensure!(warned.is_none(), "{address}: {warned:?}");
        }
        let shown = director.adm("status")?;
        ensure!(shown.contains("203.0.113.55 is answered for by 02:00:00:00:00:02 on eth0"), "{shown}");

        // The director gets one, another host another.
        site.director().must("ip addr add 198.51.100.60/32 dev eth0")?;
        interrupt::wait_until("the director has it", ASKED, || {
            Ok(warned_of(&director, "198.51.100.60")?.is_none())
        })?;
        site.host("rs3").must("ip addr add 192.0.2.50/32 dev eth0")?;
        interrupt::wait_until("another host has it", ROUND, || {
            Ok(warned_of(&director, "192.0.2.50")?.is_none())
        })?;
        ensure!(warned_of(&director, "2001:db8:1::60")?.is_some(), "nobody got this one");
        Ok(())
    })
}
