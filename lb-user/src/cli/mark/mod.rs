//! `lbadm mark`: the rules that give packets firewall marks, in iptables' words.
//!
//! [`parse()`] reads a command line, [`text`] writes a rule as `iptables-save` does, [`saved`] reads what that
//! program prints, [`execute`](self::run) asks lbd.

mod error;
mod execute;
mod import;
mod line;
mod option;
mod parse;
mod rule;
mod saved;
mod text;

pub(super) use self::execute::run;
pub(super) use self::text::text;

#[cfg(test)]
mod tests;
