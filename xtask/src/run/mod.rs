//! Child processes: with a time limit, with their output shown as it comes, in a process group of their own that is ended
//! as a whole.

mod group;

use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use group::Group;

use crate::interrupt;

/// How often a waiting xtask looks at the clock and at [`interrupt`].
const POLL: Duration = Duration::from_millis(100);
/// How often a step that shows nothing of its own says that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Lines shown of one command; the rest goes to its log alone.
const SHOWN_LINES: usize = 4000;
/// Lines kept for the message when a command fails.
const TAIL_LINES: usize = 40;

/// What a person sees of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Every line, as it comes.
    Live,
    /// A line every few seconds, and the last lines if it fails.
    Progress,
    /// Nothing, whatever happens.
    Nothing,
}

/// A command to run under supervision.
#[derive(Debug)]
pub(crate) struct Job {
    command: Command,
    label: String,
    limit: Duration,
    echo: Echo,
    log: Option<PathBuf>,
}

/// How a job ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The child's exit status.
    pub(crate) status: ExitStatus,
    /// The last lines it printed.
    pub(crate) tail: String,
}

impl Job {
    /// A job with a name for people, shown live, limited to ten minutes.
    pub(crate) fn new(label: &str, command: Command) -> Self {
        Self {
            command,
            label: label.to_owned(),
            limit: Duration::from_secs(600),
            echo: Echo::Live,
            log: None,
        }
    }

    /// Ends the job with an error after this time.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Shows signs of life instead of the output.
    pub(crate) fn progress(self) -> Self {
        self.echo(Echo::Progress)
    }

    /// Shows this much of the output.
    pub(crate) fn echo(mut self, echo: Echo) -> Self {
        self.echo = echo;
        self
    }

    /// Writes the whole output to a file as well.
    pub(crate) fn log(mut self, file: PathBuf) -> Self {
        self.log = Some(file);
        self
    }

    /// Runs it and wants it to succeed.
    ///
    /// # Errors
    /// When it cannot be started, takes too long, is interrupted or fails; the message ends with its last lines unless
    /// they were shown already.
    pub(crate) fn succeed(self) -> Result<()> {
        let (label, echo, command) = (self.label.clone(), self.echo, shown(&self.command));
        let finished = self.run(|_| {})?;
        if finished.status.success() {
            return Ok(());
        }
        match echo {
            Echo::Live => bail!("{label} failed ({}): {command}", finished.status),
            Echo::Progress | Echo::Nothing => {
                bail!("{label} failed ({}): {command}\n{}", finished.status, finished.tail)
            }
        }
    }

    /// Runs it, handing every line of its output to `on_line`.
    ///
    /// # Errors
    /// When it cannot be started, takes too long or is interrupted. A failure of the child itself is no error here.
    pub(crate) fn run(mut self, mut on_line: impl FnMut(&str)) -> Result<Finished> {
        let mut log = self.log.as_deref().map(create_log).transpose()?;
        let (sender, lines) = mpsc::channel();
        let mut group = Group::spawn(&mut self.command, sender)?;
        let started = Instant::now();
        let mut screen = Screen::new(&self.label, self.echo);
        let mut tail: Vec<String> = Vec::new();

        let mut take = |line: String, screen: &mut Screen| -> Result<()> {
            if let Some(log) = &mut log {
                writeln!(log, "{line}").context("cannot write the log")?;
            }
            on_line(&line);
            screen.line(&line);
            if tail.len() == TAIL_LINES {
                tail.remove(0);
            }
            tail.push(line);
            Ok(())
        };
        let status = loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => take(line, &mut screen)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if let Some(status) = group.finished()? {
                        break status;
                    }
                    screen.sign_of_life(started.elapsed());
                    // After both pipes are closed there is nothing to wait on but the clock.
                    thread::sleep(Duration::from_millis(5));
                }
            }
            if interrupt::requested() {
                group.stop();
                bail!("interrupted during {}", self.label);
            }
            if started.elapsed() > self.limit {
                group.stop();
                drain(&lines, |line| take(line, &mut screen))?;
                bail!("{} took longer than {} s and was stopped", self.label, self.limit.as_secs());
            }
        };
        // What the child left behind must not outlive it, nor keep the pipes open.
        group.stop();
        drain(&lines, |line| take(line, &mut screen))?;
        screen.end(started.elapsed(), status.success());
        Ok(Finished { status, tail: tail.join("\n") })
    }
}

/// Hands over the lines that are still under way; the readers end when the pipes close.
fn drain(lines: &Receiver<String>, mut take: impl FnMut(String) -> Result<()>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(2);
    while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        take(line)?;
    }
    Ok(())
}

fn create_log(file: &Path) -> Result<BufWriter<File>> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let created = File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
    Ok(BufWriter::new(created))
}

/// What is shown of one command.
struct Screen {
    label: String,
    echo: Echo,
    lines: usize,
    last: String,
    next_sign: Duration,
    signs: usize,
}

impl Screen {
    fn new(label: &str, echo: Echo) -> Self {
        Self {
            label: label.to_owned(),
            echo,
            lines: 0,
            last: String::new(),
            next_sign: SIGN_OF_LIFE,
            signs: 0,
        }
    }

    fn line(&mut self, line: &str) {
        self.lines += 1;
        if self.echo == Echo::Live && self.lines <= SHOWN_LINES {
            println!("{line}");
        } else if self.echo == Echo::Live && self.lines == SHOWN_LINES + 1 {
            println!("... more than {SHOWN_LINES} lines: the rest is in the log");
        }
        if !line.trim().is_empty() {
            line.trim().clone_into(&mut self.last);
        }
    }

    fn sign_of_life(&mut self, elapsed: Duration) {
        if self.echo == Echo::Progress && elapsed >= self.next_sign {
            let last: String = self.last.chars().take(80).collect();
            println!("  {} ... {} s  {last}", self.label, elapsed.as_secs());
            self.next_sign = elapsed + SIGN_OF_LIFE;
            self.signs += 1;
        }
    }

    fn end(&self, elapsed: Duration, ok: bool) {
        if self.echo == Echo::Progress && (self.signs > 0 || !ok) {
            println!(
                "  {}: {} after {:.0} s",
                self.label,
                if ok { "done" } else { "FAILED" },
                elapsed.as_secs_f64()
            );
        }
    }
}

/// The standard output of a command that must succeed, trimmed.
///
/// # Errors
/// When it cannot be started or fails; the message carries its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A command as a person would type it, without its environment.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A cargo command for the user's own toolchain at the repository's root, with colours if somebody looks.
pub(crate) fn cargo(root: &Path, subcommand: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(subcommand);
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_of_both_streams_arrive() {
        let mut lines = Vec::new();
        let job = Job::new("both", shell("echo one; echo two >&2; printf 'a\\rb'")).progress();
        let finished = job.run(|line| lines.push(line.to_owned())).unwrap();
        assert!(finished.status.success());
        lines.sort();
        assert_eq!(lines, ["a", "b", "one", "two"]);
    }

    #[test]
    fn a_failure_carries_the_last_lines() {
        let error =
            Job::new("failing", shell("echo why; exit 3")).progress().succeed().unwrap_err().to_string();
        assert!(error.contains("failing failed") && error.ends_with("why"), "{error}");
    }

    #[test]
    fn a_job_that_hangs_is_stopped_with_its_descendants() {
        let started = Instant::now();
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", note.display());
        let job = Job::new("hanging", shell(&script)).progress().limit(Duration::from_millis(300));
        let error = job.run(|_| {}).unwrap_err().to_string();
        assert!(error.contains("took longer"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
        let pid: i32 = fs::read_to_string(note).unwrap().trim().parse().unwrap();
        assert!(!is_running(pid), "the grandchild is still there");
    }

    #[test]
    fn what_a_child_leaves_behind_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}", note.display());
        let started = Instant::now();
        assert!(Job::new("leaving", shell(&script)).progress().run(|_| {}).unwrap().status.success());
        assert!(started.elapsed() < Duration::from_secs(5));
        let pid: i32 = fs::read_to_string(note).unwrap().trim().parse().unwrap();
        assert!(!is_running(pid), "the grandchild is still there");
    }

    /// A zombie that its adoptive parent has not fetched yet does not count.
    fn is_running(pid: i32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn output_is_trimmed_and_failure_told() {
        assert_eq!(output(&mut shell("echo hello")).unwrap(), "hello");
        let error = output(&mut shell("echo broken >&2; exit 1")).unwrap_err().to_string();
        assert!(error.ends_with("broken"), "{error}");
    }
}
