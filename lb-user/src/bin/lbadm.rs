//! The tool: ipvsadm's grammar where the first word is an option or the program is called so, else
//! lbadm's own subcommands.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use lb_user::cli::ipvsadm::{Personality, Session};
use lb_user::cli::lbadm::{self, Cli, Globals};
use lb_user::cli::split_globals;
use lb_user::daemon::Console;
use lb_user::instance::InstanceArgs;
use lb_user::names::SystemNames;

/// Exit code of a program that SIGPIPE killed, for whoever asked for output and left.
const BROKEN_PIPE: u8 = 141;

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program).file_name().map_or(program.clone(), |n| n.to_string_lossy().into());
    match run(&program, &words.collect::<Vec<_>>()) {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            // Where even that cannot be written, the code has to do.
            drop(writeln!(io::stderr(), "error: cannot read the input or write the output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(program: &str, words: &[String]) -> io::Result<u8> {
    let (globals, rest) = split_globals(words);
    let named = |words: &[String]| ["lbadm"].into_iter().map(str::to_owned).chain(words.to_vec());
    let (out, err) = (&mut BufWriter::new(io::stdout().lock()), &mut io::stderr());
    let Some(personality) = Personality::of(program, rest) else {
        let cli = Cli::parse_from(named(words));
        let Some(mut client) = client(cli.instance, err)? else { return Ok(2) };
        return lbadm::run(cli.command, &mut client, &SystemNames, out, err);
    };
    let Some(mut client) = client(Globals::parse_from(named(globals)).instance, err)? else { return Ok(2) };
    let program = program.to_owned();
    let root = nix::unistd::Uid::effective().is_root();
    let input = &mut io::stdin().lock();
    Session { program, root, names: &SystemNames, control: &mut client, input, out, err }
        .run(personality, rest)
}

fn client(args: InstanceArgs, err: &mut dyn Write) -> io::Result<Option<Console>> {
    match args.instance() {
        Ok(instance) => Ok(Some(Console::new(instance))),
        Err(error) => writeln!(err, "error: {error}").map(|()| None),
    }
}
