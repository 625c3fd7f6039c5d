//! The tables of states held to the text they were taken from (ipvs-semantics §5.1), column by column.

use super::sctp;
use super::tcp::{self, Direction};
use super::{is_active, next_tcp, protocol, timeout};
use crate::abi::{Settings, settings_flags};

/// States in the order of the columns.
const STATES: [&str; 11] = ["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"];

const TABLES: &str = "
INPUT     syn   SR  ES  ES  SR  SR  SR  SR  SR  SR  SR  SR
          fin   CL  CW  SS  TW  TW  TW  CL  CW  LA  LI  TW
          ack   ES  ES  SS  ES  FW  TW  CL  CW  CL  LI  ES
          rst   CL  CL  CL  SR  CL  CL  CL  CL  LA  LI  SR
OUTPUT    syn   SS  ES  SS  SR  SS  SS  SS  SS  SS  LI  SR
          fin   TW  FW  SS  TW  FW  TW  CL  TW  LA  LI  TW
          ack   ES  ES  SS  ES  FW  TW  CL  CW  LA  ES  ES
          rst   CL  CL  SS  CL  CL  TW  CL  CL  CL  CL  CL
IN-ONLY   syn   SR  ES  ES  SR  SR  SR  SR  SR  SR  SR  SR
          fin   CL  FW  SS  TW  FW  TW  CL  CW  LA  LI  TW
          ack   ES  ES  SS  ES  FW  TW  CL  CW  CL  LI  ES
          rst   CL  CL  CL  SR  CL  CL  CL  CL  LA  LI  CL
";

/// What `secure_tcp` has otherwise, as the text words it: whole rows.
const SECURE: &str = "
INPUT     syn   SR  ES  ES  SR  SR  SR  SR  SR  SR  SR  SA
          fin   CL  CW  SS  TW  TW  TW  CL  CW  LA  LI  SA
          ack   ES  ES  SS  SR  FW  TW  CL  CW  CL  LI  SA
          rst   CL  CL  CL  SR  CL  CL  CL  CL  LA  LI  CL
OUTPUT    syn   SS  ES  SS  SA  SS  SS  SS  SS  SS  LI  SA
          fin   TW  FW  SS  TW  FW  TW  CL  TW  LA  LI  TW
          ack   ES  ES  SS  ES  FW  TW  CL  CW  LA  ES  ES
          rst   CL  CL  SS  CL  CL  TW  CL  CL  CL  CL  CL
IN-ONLY   syn   SA  ES  ES  SR  SA  SA  SA  SA  SA  SA  SA
          fin   CL  FW  SS  TW  FW  TW  CL  CW  LA  LI  TW
          ack   ES  ES  SS  ES  FW  TW  CL  CW  CL  LI  ES
          rst   CL  CL  CL  SR  CL  CL  CL  CL  LA  LI  CL
";

/// The event of the flags: one, by priority.
fn event(flags: u8) -> Option<&'static str> {
    [(4, "rst"), (2, "syn"), (1, "fin"), (16, "ack")]
        .into_iter()
        .find_map(|(bit, name)| (flags & bit != 0).then_some(name))
}

#[test]
fn every_step_is_that_of_the_tables() {
    let settings = Settings { flags: 0, ..Settings::default() };
    hold(TABLES, tcp::next);
    hold(TABLES, |direction, flags, state| next_tcp(&settings, direction, flags, state));
}

#[test]
fn secure_tcp_has_a_table_of_its_own() {
    let settings = Settings { flags: settings_flags::SECURE_TCP, ..Settings::default() };
    hold(SECURE, |direction, flags, state| next_tcp(&settings, direction, flags, state));
}

/// Holds a function to a table.
fn hold(table: &str, next: impl Fn(Direction, u8, u8) -> u8) {
    let mut rows = Vec::new();
    let mut direction = Direction::Input;
    for line in table.lines().filter(|line| !line.is_empty()) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "INPUT" => direction = Direction::Input,
            "OUTPUT" => direction = Direction::Output,
            "IN-ONLY" => direction = Direction::InputOnly,
            _ => words.insert(0, ""),
        }
        rows.push((direction, words[1], words[2..].to_vec()));
    }
    assert_eq!(rows.len(), 12);
    for direction in [Direction::Input, Direction::Output, Direction::InputOnly] {
        for flags in 0..=255 {
            for state in 0..11_u8 {
                let right = match event(flags) {
                    None => "CL",
                    Some(event) => {
                        rows.iter().find(|(d, e, _)| *d == direction && *e == event).unwrap().2
                            [usize::from(state)]
                    }
                };
                let next = next(direction, flags, state);
                assert_eq!(
                    STATES[usize::from(next)],
                    right,
                    "{direction:?} {flags:#x} {}",
                    STATES[usize::from(state)]
                );
            }
        }
    }
}

#[test]
fn what_is_active_weak_and_how_long_it_lasts() {
    let named = |test: fn(u8) -> bool| -> Vec<&str> {
        (0..11).filter(|s| test(*s)).map(|s| STATES[usize::from(s)]).collect()
    };
    assert_eq!(named(|s| is_active(protocol::TCP, s)), ["ES", "SS", "SR", "SA"]);
    assert_eq!(named(|s| is_active(protocol::UDP, s)), [""; 0], "UDP never is");
    assert_eq!(named(tcp::is_weak), ["NO", "SS", "SR", "SA"], "the client has not answered yet");
    assert_eq!(tcp::TIMEOUTS, [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120]);
    let mut settings = Settings { udp_timeout: 7, ..Settings::default() };
    settings.tcp_timeouts[usize::from(tcp::FIN_WAIT)] = 9;
    assert_eq!(timeout(&settings, protocol::TCP, tcp::FIN_WAIT), 9);
    assert_eq!(timeout(&settings, protocol::UDP, tcp::FIN_WAIT), 7);
}

#[test]
fn only_a_syn_without_rst_opens() {
    for flags in 0..=255_u8 {
        assert_eq!(tcp::is_opener(flags), flags & 2 != 0 && flags & 4 == 0, "{flags:#x}");
    }
}

/// SCTP's states in the order of the columns.
const SCTP_STATES: [&str; 14] =
    ["NO", "I1", "IN", "CS", "CR", "CW", "CO", "CE", "ES", "SS", "SR", "SA", "RJ", "CL"];

/// The tables of ipvs-semantics §5.2, an event a line.
const SCTP_TABLES: &str = "
INPUT   data   ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        init   I1 IN IN CS CR CW CO CE ES SS SR SA IN IN
        i-ack  CW CW CW CS CR CO CO CE ES SS SR SA RJ CL
        c-echo CR IN IN CR CR CW CO CE ES SS SR SA RJ CL
        c-ack  ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL
        shut   SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
        s-ack  CL IN IN CS CR CW CO CE ES CL SR CL RJ CL
        s-comp CL CL CL CS CR CW CO CE ES SS SR CL RJ CL
        error  CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL
        abort  CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
OUTPUT  data   ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        init   CW CW CW CW CW CW CW CW ES CW CW CW CW CW
        i-ack  CS CS CS CS CR CW CO CE ES SS SR SA RJ CL
        c-echo CE CE CE CE CE CE CE CE ES SS SR SA RJ CL
        c-ack  ES ES ES ES ES ES ES ES ES SS SR SA RJ CL
        shut   SS SS SS SS SS SS SS SS SS SS SR SA RJ CL
        s-ack  SA SA SA SA SA CW CO CE ES SA SA SA RJ CL
        s-comp CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        error  CL CL CL CL CL CW CO CE ES SS SR SA RJ CL
        abort  CL RJ CL CL CL CL CL CL CL CL CL CL CL CL
IN-ONLY data   ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL
        init   I1 IN IN IN IN IN CO CE ES SS SR SA IN IN
        i-ack  CE CE CE CE CE CE CO CE ES SS SR SA RJ CL
        c-echo ES ES ES ES ES ES CO CE ES SS SR SA RJ CL
        c-ack  ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL
        shut   SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
        s-ack  CL IN IN CS CR CW CO CE CL CL SR CL RJ CL
        s-comp CL CL CL CL CL CW CO CE ES SS CL CL RJ CL
        error  CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
        abort  CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
";

/// The event of a first chunk (RFC 9260 section 3.2).
fn sctp_event(chunk: u8) -> &'static str {
    match chunk {
        1 => "init",
        2 => "i-ack",
        6 => "abort",
        7 => "shut",
        8 => "s-ack",
        9 => "error",
        10 => "c-echo",
        11 => "c-ack",
        14 => "s-comp",
        _ => "data",
    }
}

#[test]
fn every_step_of_sctp_is_that_of_the_tables() {
    let mut direction = Direction::Input;
    let mut cells = 0;
    for line in SCTP_TABLES.lines().filter(|line| !line.is_empty()) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "INPUT" => direction = Direction::Input,
            "OUTPUT" => direction = Direction::Output,
            "IN-ONLY" => direction = Direction::InputOnly,
            _ => words.insert(0, ""),
        }
        let chunks = (0..=255).filter(|c| sctp_event(*c) == words[1]).map(sctp::event);
        let aborted = (words[1] == "abort").then_some(sctp::ABORTED_COOKIE);
        for event in chunks.chain(aborted) {
            for (state, right) in (0..).zip(&words[2..]) {
                let next = sctp::next(direction, event, state);
                assert_eq!(SCTP_STATES[usize::from(next)], *right, "{direction:?} {event} {state}");
                cells += 1;
            }
        }
    }
    // Every type of chunk, and the cookie with an ABORT behind it, in every state and direction.
    assert_eq!(cells, 3 * 257 * 14);
}

#[test]
fn sctp_states_have_their_names_timeouts_and_weights() {
    let names: Vec<&str> = (0..15).map(|s| super::state_name(protocol::SCTP, s)).collect();
    assert_eq!(
        names.join(" "),
        "NONE INIT1 INIT C-SENT C-REPLIED C-WAIT COOKIE C-ECHOED ESTABLISHED S-SENT S-RECEIVED S-ACK-SENT REJECTED CLOSED ERR!"
    );
    let named = |test: fn(u8) -> bool| -> Vec<&str> {
        (0..14).filter(|s| test(*s)).map(|s| SCTP_STATES[usize::from(s)]).collect()
    };
    assert_eq!(named(|s| is_active(protocol::SCTP, s)), ["ES"]);
    assert_eq!(named(|s| super::is_weak(protocol::SCTP, s)), ["NO", "I1", "IN"]);
    assert_eq!(named(|s| super::is_assuring(protocol::SCTP, s)), ["ES"]);
    for (state, seconds) in (0..).zip(sctp::TIMEOUTS) {
        let right = match SCTP_STATES[usize::from(state)] {
            "NO" => 2,
            "I1" | "RJ" => 4,
            "ES" => 900,
            _ => 61,
        };
        assert_eq!(seconds, right);
        let mut settings = Settings::default();
        settings.sctp_timeouts[usize::from(state)] = 7;
        assert_eq!(timeout(&settings, protocol::SCTP, state), 7);
    }
}

#[test]
fn init_opens_and_when_sloppy_all_but_abort() {
    for chunk in 0..=255 {
        let event = sctp::event(chunk);
        assert_eq!(sctp::may_open(event, false), chunk == 1);
        assert_eq!(sctp::may_open(event, true), chunk != 6, "{chunk}");
        assert_eq!(sctp::is_cookie(event), chunk == 10 || chunk == 11);
    }
    // The kernel looks at the first chunk alone.
    assert!(sctp::may_open(sctp::ABORTED_COOKIE, true) && !sctp::may_open(sctp::ABORTED_COOKIE, false));
}
