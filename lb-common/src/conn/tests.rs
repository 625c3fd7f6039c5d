//! The tables of states held to the text they were taken from (ipvs-semantics §5.1), column by column.

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
