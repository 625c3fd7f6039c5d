//! What is pinned: taken away by `lbadm detach`, and mended where somebody else took it away.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site, interrupt};

const SOON: Duration = Duration::from_secs(10);

fn root(site: &Site) -> PathBuf {
    site.bpffs().join("lb/test")
}

/// The directory of the maps, whatever their version.
fn maps(site: &Site) -> Result<PathBuf> {
    let found = fs::read_dir(root(site))?.filter_map(|e| e.ok().map(|e| e.path()));
    let version = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('v'));
    found.filter(|path| version(path)).last().context("no maps are pinned")
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn detach_takes_the_data_path_of_a_dead_lbd_and_never_that_of_a_live_one() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        // Whoever the director's own stack answers by, where packets reach it.
        let _own = Server::start(&site.director(), site.dir(), "director", &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let mut director = Director::start(site)?;
        director.adm_all(&["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m"])?;
        ensure!(client.connect(("203.0.113.10", 29200), ("192.0.2.1", 80))? == "rs1");

        let refused = director.lbadm(&["detach"])?;
        ensure!(refused.code == 1, "detach of a live lbd ended with {}: {refused:?}", refused.code);
        ensure!(refused.stderr.contains("is running") && refused.stderr.contains("SIGTERM"), "{refused:?}");
        ensure!(director.program_id("eth0")?.is_some(), "the program went all the same");
        ensure!(client.connect(("203.0.113.10", 29201), ("192.0.2.1", 80))? == "rs1");

        director.kill()?;
        ensure!(client.connect(("203.0.113.10", 29202), ("192.0.2.1", 80))? == "rs1");
        let said = director.adm("detach")?;
        ensure!(said.contains("detached from eth0"), "{said}");
        ensure!(director.program_id("eth0")?.is_none(), "the program is still there");
        ensure!(!root(site).exists(), "left behind: {:?}", names(&root(site))?);
        let got = client.connect(("203.0.113.10", 29203), ("192.0.2.1", 80))?;
        ensure!(got == "director", "after the detaching, {got} answered");
        let again = director.lbadm(&["detach"])?;
        ensure!(again.code == 1 && again.stderr.contains("has nothing at"), "{again:?}");

        director.restart()?;
        let listing = director.adm("-Ln")?;
        ensure!(!listing.contains("192.0.2.1"), "a new lbd does not begin with nothing:\n{listing}");
        director.adm_all(&["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 198.51.100.12:80 -m"])?;
        ensure!(director.counters()?.connections == 0, "counters of before");
        ensure!(client.connect(("203.0.113.10", 29204), ("192.0.2.1", 80))? == "rs2");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn pins_that_somebody_removes_are_made_again() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let mut director = Director::start(site)?;
        director.adm_all(&["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m"])?;
        client.hold(1, ("203.0.113.10", 29300), ("192.0.2.1", 80))?;
        let maps = maps(site)?;
        let before = names(&maps)?;
        fs::remove_file(maps.join("SERVICES4"))?;
        fs::remove_file(maps.join("CONNECTIONS4"))?;
        interrupt::wait_until("the maps are pinned again", SOON, || Ok(names(&maps)? == before))?;

        // The program goes with the pin of its link.
        fs::remove_file(root(site).join("links/eth0"))?;
        interrupt::wait_until("the program is back", SOON, || Ok(director.program_id("eth0")?.is_some()))?;
        interrupt::wait_until("the link is pinned again", SOON, || {
            Ok(root(site).join("links/eth0").exists())
        })?;
        ensure!(director.log().contains("attaching again"), "{}", director.log());
        director.status()?;
        let got = client.echo(1)?;
        ensure!(got == "rs1", "the open connection got {got}");

        // Everything at once, the directories too; and what is pinned now is what was pinned before.
        fs::remove_file(root(site).join("links/eth0"))?;
        fs::remove_dir(root(site).join("links"))?;
        for name in names(&maps)? {
            fs::remove_file(maps.join(name))?;
        }
        fs::remove_dir(&maps)?;
        interrupt::wait_until("all is pinned again", SOON, || {
            Ok(root(site).join("links/eth0").exists() && maps.exists() && names(&maps)? == before)
        })?;
        director.kill()?;
        director.restart()?;
        ensure!(director.adm("-Ln")?.contains("198.51.100.11:80"), "the rules are lost");
        ensure!(client.echo(1)? == "rs1", "the connection is lost");
        ensure!(client.connect(("203.0.113.10", 29301), ("192.0.2.1", 80))? == "rs1");
        Ok(())
    })
}
