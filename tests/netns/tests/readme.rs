//! The README's own commands, run as they are written there.
//!
//! Blocks of README.md whose fence says `sh tested` run line by line as root on the director of a site, those that
//! say `sh tested client` on its client; `sudo` is dropped. A line must succeed; a line that ends in `&` is left
//! running. What a client's block prints must name a real server of one's own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use netns_tests::server::Ports;
use netns_tests::{Process, Server, Site, interrupt, shell};

#[derive(Debug, PartialEq, Eq)]
struct Block {
    client: bool,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let words: Vec<&str> = info.split_whitespace().collect();
                if words.starts_with(&["sh", "tested"]) {
                    open = Some(Block { client: words.contains(&"client"), lines: Vec::new() });
                }
            }
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some(block), None) => {
                let line = line.trim();
                if let Some(last) = block.lines.last_mut()
                    && let Some(start) = last.strip_suffix('\\')
                {
                    *last = format!("{start}{line}");
                } else if !line.is_empty() && !line.starts_with('#') {
                    block.lines.push(line.strip_prefix("sudo ").unwrap_or(line).to_owned());
                }
            }
            (None, None) => {}
        }
    }
    all
}

#[test]
fn tested_blocks_are_found() {
    let text = "```sh\nno\n```\n```sh tested\nsudo lbd \\\n  --x &\n\n# a comment\nlbadm -Ln\n```\n```sh tested client\ncurl x\n```\n";
    let block =
        |client, lines: &[&str]| Block { client, lines: lines.iter().map(|l| (*l).to_owned()).collect() };
    assert_eq!(blocks(text), [block(false, &["lbd --x &", "lbadm -Ln"]), block(true, &["curl x"])]);
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn the_readme_balances_a_server_of_ones_own() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(&path).context("no README.md")?;
    let blocks = blocks(&text);
    ensure!(blocks.iter().any(|b| b.client), "no block of README.md says `sh tested client`");
    ensure!(blocks.iter().any(|b| !b.client), "no block of README.md says `sh tested`");
    Site::nat_dr()?.test(|site| {
        let ports = Ports { http: vec![80, 8080], ..Ports::default() };
        let _servers = Server::start_all(site, &ports)?;
        let bin = fs::canonicalize(netns_tests::director::bin_dir()).context("no built programs")?;
        // The README's lbd uses the default places; each is the site's own here.
        let places = format!(
            "export PATH=\"{}:$PATH\" LB_INSTANCE=readme LB_RUN_DIR=\"{}/run\" LB_BPFFS=\"{}\"; cd \"{}\"",
            bin.display(),
            site.dir().display(),
            site.bpffs().display(),
            site.dir().display(),
        );
        let mut running = Vec::new();
        let mut named = false;
        for block in &blocks {
            let host = if block.client { site.client() } else { site.director() };
            for line in &block.lines {
                if let Some(line) = line.strip_suffix('&') {
                    let mut command = host.command("sh")?;
                    command.args(["-c", &format!("{places}; exec {line}")]);
                    running.push(Process::spawn(&mut command, site.dir(), "readme")?);
                    let script = format!("{places}; lbadm status");
                    interrupt::wait_until("lbd is up", Duration::from_secs(20), || {
                        Ok(host.sh(&script)?.ok())
                    })?;
                    continue;
                }
                let said = shell::check(host.command("sh")?.args(["-c", &format!("{places}; {line}")]), "")
                    .with_context(|| format!("`{line}`"))?;
                println!("$ {line}\n{said}");
                named |= block.client && said.contains("rs");
            }
        }
        if !named {
            bail!("no client's command of README.md was answered by a real server");
        }
        Ok(())
    })
}
