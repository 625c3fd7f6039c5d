//! lbadm and its ipvsadm names at the edges: other users, no daemon, bad configuration.

use anyhow::{Result, ensure};
use netns_tests::{Director, DirectorOptions, Site};

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn only_root_may() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let director = Director::start(site)?;
        for line in ["ipvsadm -Ln", "ipvsadm -A -t 192.0.2.1:80", "ipvsadm-save", "ipvsadm -C"] {
            let done = director.recorded(line, "", "nobody")?;
            let expected = "Can't initialize ipvs: Permission denied (you must be root)";
            ensure!(done.code == 2, "{line} by nobody ended with {}: {}", done.code, done.stderr);
            ensure!(done.stderr.starts_with(expected), "{line} by nobody said {}", done.stderr);
        }
        let listing = director.adm("-Ln")?;
        ensure!(!listing.contains("192.0.2.1"), "nobody added a service:\n{listing}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn without_lbd_a_listing_reads_the_tables_and_a_change_is_refused() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let mut director = Director::start(site)?;
        director.adm_all(&["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m -w 7"])?;
        director.kill()?;
        let done = director.lbadm(&["list"])?;
        ensure!(done.stdout.contains("192.0.2.1:80"), "no listing without lbd: {done:?}");
        ensure!(done.stderr.contains("lbd"), "it does not say that lbd is down: {done:?}");
        let done = director.lbadm(&["-A", "-t", "192.0.2.2:80"])?;
        ensure!(!done.ok() && done.stderr.contains("lbd"), "a change without lbd: {done:?}");
        let done = director.lbadm(&["status"])?;
        ensure!(!done.ok(), "status is fine without lbd: {done:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_bad_configuration_is_told_by_line_and_column() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        for (config, parts) in [
            (
                "[[service]]\ntcp = \"192.0.2.1:80\"\nscheduler = \"rr\"\ncolour = \"red\"\n",
                [":4:1", "colour"],
            ),
            ("[[service]]\ntcp = \"192.0.2.1:80\"\nscheduler = \"best\"\n", [":3:13", "best"]),
        ] {
            let options = DirectorOptions { config: Some(config.into()), ..DirectorOptions::default() };
            let said = match Director::start_with(site, options) {
                Ok(_director) => String::from("nothing"),
                Err(e) => format!("{e:#}"),
            };
            for part in parts {
                ensure!(said.contains(part), "`{part}` is missing in what lbd said: {said}");
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn two_instances_do_not_meet() -> Result<()> {
    let first = Site::nat_dr()?;
    let second = Site::nat_dr()?;
    let one = Director::start(&first)?;
    let two = Director::start(&second)?;
    one.adm("-A -t 192.0.2.1:80 -s rr")?;
    two.adm("-A -t 192.0.2.2:80 -s wrr")?;
    let (a, b) = (one.adm("-Ln")?, two.adm("-Ln")?);
    ensure!(a.contains("192.0.2.1:80") && !a.contains("192.0.2.2:80"), "the first lists\n{a}");
    ensure!(b.contains("192.0.2.2:80") && !b.contains("192.0.2.1:80"), "the second lists\n{b}");
    Ok(())
}
