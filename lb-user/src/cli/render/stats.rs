//! `lbadm stats`: what all services count together.

use std::io::{self, Write};

use super::columns::Columns;
use crate::api::{Rates, Stats};

/// Prints counters and rates in decimal.
pub(in crate::cli) fn stats(out: &mut dyn Write, stats: &Stats, rates: &Rates) -> io::Result<()> {
    let mut rows = Columns::default();
    rows.row(["", "TOTAL", "PER SECOND"]);
    for (name, total, rate) in [
        ("connections", stats.connections, rates.connections),
        ("packets in", stats.in_packets, rates.in_packets),
        ("packets out", stats.out_packets, rates.out_packets),
        ("bytes in", stats.in_bytes, rates.in_bytes),
        ("bytes out", stats.out_bytes, rates.out_bytes),
    ] {
        rows.row([name, &total.to_string(), &rate.to_string()]);
    }
    rows.print(out, "")
}

/// Prints them as scripts know them from `/proc/net/ip_vs_stats` (ip_vs_ctl.c: ip_vs_stats_show): hexadecimal, in
/// columns of 8 and 16 digits.
pub(in crate::cli) fn stats_of_proc(out: &mut dyn Write, stats: &Stats, rates: &Rates) -> io::Result<()> {
    let line = |out: &mut dyn Write, [a, b, c, d, e]: [&str; 5]| {
        writeln!(out, "{a:>8} {b:>8} {c:>8} {d:>16} {e:>16}")
    };
    let numbers = |out: &mut dyn Write, values: [u64; 5]| {
        let [a, b, c, d, e] = values;
        writeln!(out, "{a:8X} {b:8X} {c:8X} {d:16X} {e:16X}")
    };
    line(out, ["Total", "Incoming", "Outgoing", "Incoming", "Outgoing"])?;
    line(out, ["Conns", "Packets", "Packets", "Bytes", "Bytes"])?;
    let s = stats;
    numbers(out, [s.connections, s.in_packets, s.out_packets, s.in_bytes, s.out_bytes])?;
    writeln!(out)?;
    line(out, ["Conns/s", "Pkts/s", "Pkts/s", "Bytes/s", "Bytes/s"])?;
    let r = rates;
    numbers(out, [r.connections, r.in_packets, r.out_packets, r.in_bytes, r.out_bytes])
}
