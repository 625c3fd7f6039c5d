//! The personality against recordings of ipvsadm 1.31 on a real kernel, with a director in memory.

mod fake;
mod listing;
mod replay;
mod session;

use self::fake::{Director, Hosts};
use super::{Personality, Session};

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Printed {
    code: u8,
    out: String,
    err: String,
}

/// Runs `words` (the program's name first) against `director`.
fn run(director: &mut Director, words: &[String], input: &str, root: bool) -> Printed {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = Session {
        program: "ipvsadm".to_owned(),
        root,
        names: &Hosts,
        control: director,
        input: &mut input.as_bytes(),
        out: &mut out,
        err: &mut err,
    }
    .run(Personality::of(&words[0], &words[1..]).unwrap(), &words[1..])
    .unwrap();
    Printed { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// Runs a line as a shell would cut it, `''` being an empty word.
fn shell(director: &mut Director, line: &str, input: &str) -> Printed {
    run(director, &words(line), input, true)
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|w| if w == "''" { String::new() } else { w.to_owned() }).collect()
}
