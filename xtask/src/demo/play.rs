//! The acts of the demo.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use netns_tests::download::Download;
use netns_tests::interrupt;

use super::report::{Report, in_words, shares};
use super::scene::{FILE_SIZE, Scene};

/// Plays all acts.
pub(crate) fn all(scene: &mut Scene, report: &mut Report) -> Result<()> {
    direct_routing(scene, report)?;
    translation(scene, report)?;
    datagrams(scene, report)?;
    statistics(scene, report)?;
    out_and_quiet(scene, report)?;
    without_lbd(scene, report)
}

fn give(scene: &Scene, report: &mut Report, line: &str) -> Result<String> {
    interrupt::check()?;
    report.command("director", &format!("lbadm {line}"));
    scene.director.adm(line)
}

/// Runs curl `count` times and compares who answered how often.
fn curls(
    scene: &Scene,
    report: &mut Report,
    url: &str,
    count: usize,
    expected: &[(&str, usize)],
    why: &str,
) -> Result<()> {
    report.command("client", &format!("curl {url}      # {count} times"));
    let answers: Vec<String> = (0..count).map(|_| scene.curl(url)).collect::<Result<_>>()?;
    let seen = shares(&answers);
    let wanted: BTreeMap<&str, usize> = expected.iter().copied().collect();
    report.check(&format!("{why}: {}", in_words(&seen)), seen == wanted);
    Ok(())
}

fn direct_routing(scene: &Scene, report: &mut Report) -> Result<()> {
    report.chapter("Direct routing, round robin");
    report.say("  The director only rewrites MAC addresses; the real servers answer the client themselves.");
    give(scene, report, "-A -t 192.0.2.1:80 -s rr")?;
    for n in 1..=3 {
        give(scene, report, &format!("-a -t 192.0.2.1:80 -r 198.51.100.1{n}:80 -g"))?;
    }
    let expected = [("rs1", 4), ("rs2", 4), ("rs3", 4)];
    curls(scene, report, "http://192.0.2.1/", 12, &expected, "all take equal shares")
}

fn translation(scene: &Scene, report: &mut Report) -> Result<()> {
    report.chapter("Address translation to another port, weighted round robin");
    report
        .say("  The director rewrites addresses and ports both ways; nginx listens on 8080 behind port 80.");
    give(scene, report, "-A -t 192.0.2.2:80 -s wrr")?;
    for n in 1..=3 {
        give(scene, report, &format!("-a -t 192.0.2.2:80 -r 198.51.100.1{n}:8080 -m -w {n}"))?;
    }
    let expected = [("rs1", 2), ("rs2", 4), ("rs3", 6)];
    curls(scene, report, "http://192.0.2.2/", 12, &expected, "shares follow the weights 1, 2 and 3")
}

fn datagrams(scene: &mut Scene, report: &mut Report) -> Result<()> {
    report.chapter("UDP");
    give(scene, report, "-A -u 192.0.2.3:53 -s rr")?;
    for n in 1..=3 {
        give(scene, report, &format!("-a -u 192.0.2.3:53 -r 198.51.100.1{n}:53 -m"))?;
    }
    report.command("client", "a datagram to 192.0.2.3 port 53 from each of 6 ports");
    let mut answers = Vec::new();
    for port in 40001..=40006 {
        answers.push(scene.agent.udp(("203.0.113.10", port), ("192.0.2.3", 53))?);
    }
    let seen = shares(&answers);
    let wanted = BTreeMap::from([("rs1", 2), ("rs2", 2), ("rs3", 2)]);
    report.check(&format!("every flow is answered by its real server: {}", in_words(&seen)), seen == wanted);
    Ok(())
}

fn statistics(scene: &Scene, report: &mut Report) -> Result<()> {
    report.chapter("What the director counted");
    let said = give(scene, report, "-Ln --stats")?;
    report.output(&said);
    let connections = |service: &str| {
        let line = said.lines().find(|l| l.contains(service))?;
        line.split_whitespace().nth(2)?.parse::<u64>().ok()
    };
    let counted = (connections("192.0.2.1:80"), connections("192.0.2.2:80"), connections("192.0.2.3:53"));
    report.check("12, 12 and 6 connections are counted", counted == (Some(12), Some(12), Some(6)));
    Ok(())
}

fn out_and_quiet(scene: &Scene, report: &mut Report) -> Result<()> {
    report.chapter("Taking real servers out");
    report.say("  rs2 is removed, rs3 gets weight 0: it keeps its connections but gets no new ones.");
    give(scene, report, "-d -t 192.0.2.1:80 -r 198.51.100.12:80")?;
    give(scene, report, "-e -t 192.0.2.1:80 -r 198.51.100.13:80 -g -w 0")?;
    curls(scene, report, "http://192.0.2.1/", 6, &[("rs1", 6)], "only rs1 is left")?;
    give(scene, report, "-a -t 192.0.2.1:80 -r 198.51.100.12:80 -g")?;
    give(scene, report, "-e -t 192.0.2.1:80 -r 198.51.100.13:80 -g -w 1")?;
    let expected = [("rs1", 2), ("rs2", 2), ("rs3", 2)];
    curls(scene, report, "http://192.0.2.1/", 6, &expected, "all three are back")
}

fn without_lbd(scene: &mut Scene, report: &mut Report) -> Result<()> {
    report.chapter("lbd dies under load");
    report.say("  The data path is in the kernel: it goes on when lbd is killed, and lbd finds it again.");
    let interface = scene.site.director_interfaces().into_iter().next().context("no interface")?;
    report.command("client", "curl --limit-rate 10M http://192.0.2.2/file | sha256sum      # 100 MB");
    let mut transfer = Download::start(&scene.site, "demo", "http://192.0.2.2/file", "10M", FILE_SIZE)?;
    transfer.wait_for(1, 3)?;
    report.command(
        "director",
        &format!("kill -9 {}      # lbd, at a third of the download", scene.director.pid()),
    );
    scene.director.kill()?;
    let running = scene.director.program_id(&interface)?.is_some();
    report.check("without lbd the XDP program is still attached", running);
    let expected = [("rs1", 1), ("rs2", 1), ("rs3", 1)];
    curls(scene, report, "http://192.0.2.1/", 3, &expected, "without lbd new connections are balanced")?;
    transfer.wait_for(2, 3)?;
    report.command("director", &format!("lbd --interface {interface}      # at two thirds"));
    scene.director.restart()?;
    report.check("lbd is back while the download goes on", transfer.running()?);
    let sum = transfer.sha256()?;
    report.check("the download is complete and its SHA-256 is right", sum == scene.file_sha256()?);
    let said = give(scene, report, "-Ln --stats")?;
    report.output(&said);
    let kept = said.lines().find(|l| l.contains("192.0.2.1:80")).and_then(|l| l.split_whitespace().nth(2));
    report.check("no rule and no counter is lost: 27 connections to 192.0.2.1", kept == Some("27"));
    Ok(())
}
