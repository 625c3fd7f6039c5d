//! The recorded sequence of wrr goes on in its period.

use anyhow::{Context, Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site};
use serde_json::Value;

/// Weights 1, 2 and 3: six connections, then all over again.
const PERIOD: usize = 6;

fn recorded() -> Result<Vec<String>> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../recordings/scheduling.json"))?;
    let case = cases
        .iter()
        .find(|c| c.get("name").and_then(Value::as_str) == Some("wrr-1-2-3"))
        .context("wrr-1-2-3 is not recorded")?;
    let steps = case.get("steps").and_then(Value::as_array).context("no steps")?;
    Ok(steps
        .iter()
        .filter(|s| s.get("connect").is_some())
        .filter_map(|s| s.get("got").and_then(Value::as_str).map(str::to_owned))
        .collect())
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn two_hundred_more_connections_keep_the_period() -> Result<()> {
    let recorded = recorded()?;
    ensure!(recorded.len() == 18, "18 connections are recorded");
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        director.adm("-A -t 192.0.2.1:80 -s wrr")?;
        for n in 1..=3 {
            director.adm(&format!("-a -t 192.0.2.1:80 -r 198.51.100.1{n}:80 -m -w {n}"))?;
        }
        let names = client.many("203.0.113.10", 20010, ("192.0.2.1", 80), 218)?;
        for (n, name) in names.iter().enumerate() {
            let expected = recorded.get(n).or_else(|| recorded.get(n % PERIOD)).context("no expectation")?;
            ensure!(name == expected, "connection {} went to {name} instead of {expected}: {names:?}", n + 1);
        }
        Ok(())
    })
}
