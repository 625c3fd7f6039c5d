//! `cargo xtask demo`: a small site in network namespaces, and a director that balances real traffic in it.

mod play;
mod report;
mod scene;

use anyhow::{Result, bail};
use netns_tests::{interrupt, stale};

use self::report::Report;
use self::scene::Scene;

/// Arguments of `cargo xtask demo`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoArgs {
    /// Leave the site up at the end and print commands to try in it.
    #[arg(long, conflicts_with = "clean")]
    pub(crate) keep: bool,
    /// Only take down what an earlier `--keep` left up.
    #[arg(long)]
    pub(crate) clean: bool,
}

/// Plays the demo; whether everything was as it should be. What was built is taken down again, also after a failure
/// or Ctrl-C.
///
/// # Errors
/// If the site cannot be built, a program does not start, or on Ctrl-C.
pub(crate) fn run(args: &DemoArgs) -> Result<bool> {
    interrupt::install()?;
    let removed = stale::remove_kept();
    if !removed.is_empty() {
        println!("Took down the site that was left up before ({}).", removed.join(", "));
    }
    if args.clean {
        return Ok(true);
    }
    let mut report = Report::new();
    let mut scene = match Scene::build(&mut report, args.keep) {
        Ok(scene) => scene,
        Err(e) => bail!("the site could not be built: {e:#}"),
    };
    let played = play::all(&mut scene, &mut report);
    if let Err(e) = &played {
        println!();
        scene.print_logs();
        println!("The demo stopped: {e:#}");
    }
    let ok = report.summary() && played.is_ok();
    if args.keep && played.is_ok() {
        scene.keep()?;
        return Ok(ok);
    }
    drop(scene);
    println!("The site is taken down.");
    played.map(|()| ok)
}
