//! Comparing what a command said with what was recorded.
//!
//! Everything is compared to the letter but for what differs from run to run:
//! - `<usage text>` stands for any text that is not empty;
//! - the services of a `--nosort` listing, and the destinations of one, come in any order;
//! - the lines of a connection list come in any order, and an expiry time may be off by [`EXPIRY_TOLERANCE`] seconds;
//! - rates (`--rate`): numbers of an entry that are not all 0 in the recording may be any numbers, an entry without
//!   traffic must show zeros;
//! - packets and bytes of `--stats` with traffic: each connection may take one packet more or fewer (a delayed ACK
//!   that rides on data, or does not), the count of connections is exact.

use netns_tests::shell::Finished;

use super::recording::Outcome;

/// How far an expiry time may be from the recorded one, in seconds: recorded listings were taken some seconds after
/// the traffic.
pub(crate) const EXPIRY_TOLERANCE: i64 = 20;
/// The largest packet without data, an IPv6 SYN.
const BYTES_OF_A_PACKET: i64 = 80;
const USAGE: &str = "<usage text>";

/// What differs, in lines ready to be printed; empty where nothing does.
#[must_use]
pub(crate) fn outcome(cmd: &str, expected: &Outcome, got: &Finished) -> Vec<String> {
    let mut found = Vec::new();
    if expected.rc != got.code {
        found.push(format!("exit code: expected {}, got {}", expected.rc, got.code));
    }
    if let Some(lines) = text(cmd, &expected.stdout, &got.stdout) {
        found.push("stdout (- expected, + got):".into());
        found.extend(lines);
    }
    if let Some(lines) = text("", &expected.stderr, &got.stderr) {
        found.push("stderr (- expected, + got):".into());
        found.extend(lines);
    }
    found
}

/// The differences of one stream, `None` where it is as expected.
fn text(cmd: &str, expected: &str, got: &str) -> Option<Vec<String>> {
    let alike = if expected.contains(USAGE) {
        usage(expected, got)
    } else if has(cmd, 'c', "--connection") {
        connections(expected, got)
    } else if has_long(cmd, "--stats") || has_long(cmd, "--rate") {
        tables(cmd, expected, got)
    } else if has_long(cmd, "--nosort") {
        blocks(expected) == blocks(got)
    } else {
        expected == got
    };
    (!alike).then(|| diff(expected, got))
}

fn usage(expected: &str, got: &str) -> bool {
    let (before, after) = expected.split_once(USAGE).unwrap_or((expected, ""));
    got.strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
        .is_some_and(|middle| !middle.trim().is_empty())
}

/// Whether a command has a long option.
fn has_long(cmd: &str, long: &str) -> bool {
    cmd.split_whitespace().any(|w| w == long)
}

/// Whether a listing command has an option in its short (also grouped: `-Lnc`) or long form.
fn has(cmd: &str, short: char, long: &str) -> bool {
    let list = |w: &str| w.starts_with('-') && !w.starts_with("--");
    let lists = cmd.split_whitespace().any(|w| (list(w) && w.contains(['L', 'l'])) || w == "--list");
    lists && (has_long(cmd, long) || cmd.split_whitespace().any(|w| list(w) && w.contains(short)))
}

/// A listing as its head and sorted blocks, each a service with its sorted destinations.
fn blocks(listing: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let mut head = Vec::new();
    let mut all: Vec<Vec<&str>> = Vec::new();
    for line in listing.lines() {
        let is_head =
            line.starts_with("IP Virtual") || line.starts_with("Prot ") || line.contains("RemoteAddress:");
        match all.last_mut() {
            _ if is_head => head.push(line),
            Some(block) if line.starts_with("  ->") => block.push(line),
            _ => all.push(vec![line]),
        }
    }
    for block in &mut all {
        if let Some(destinations) = block.get_mut(1..) {
            destinations.sort_unstable();
        }
    }
    all.sort();
    (head, all)
}

/// A connection line as its text without the expiry time, and that time in seconds.
fn connection(line: &str) -> Option<(String, i64)> {
    let mut words = line.split_whitespace();
    let protocol = words.next()?;
    let (minutes, seconds) = words.next()?.split_once(':')?;
    let expiry = minutes.parse::<i64>().ok()? * 60 + seconds.parse::<i64>().ok()?;
    // The columns: the text must be what it was, and as wide.
    let (_, rest) = line.split_once(&format!("{minutes}:{seconds}"))?;
    Some((format!("{protocol}|{rest}"), expiry))
}

fn connections(expected: &str, got: &str) -> bool {
    let mut left: Vec<&str> = got.lines().collect();
    let all_found = expected.lines().all(|line| {
        let same = |other: &&str| match (connection(line), connection(other)) {
            (Some((text, time)), Some((text2, time2))) => {
                text == text2 && (time - time2).abs() <= EXPIRY_TOLERANCE
            }
            _ => line == *other,
        };
        left.iter().position(same).map(|at| left.remove(at)).is_some()
    });
    all_found && left.is_empty()
}

/// The five numbers at the end of a line of `--stats` or `--rate`, and the text before them.
fn numbers(line: &str) -> Option<(&str, [i64; 5])> {
    let mut rest = line;
    let mut values = [0; 5];
    for value in values.iter_mut().rev() {
        let (before, word) = rest.trim_end().rsplit_once(' ')?;
        *value = word.parse().ok()?;
        rest = before;
    }
    Some((rest.trim_end(), values))
}

fn tables(cmd: &str, expected: &str, got: &str) -> bool {
    let rates = has_long(cmd, "--rate") && !has_long(cmd, "--stats");
    let same_line = |(line, other): (&str, &str)| match (numbers(line), numbers(other)) {
        (Some((text, want)), Some((text2, have))) if want != [0; 5] => {
            text == text2 && line.len() == other.len() && (rates || near(want, have))
        }
        _ => line == other,
    };
    let same = |a: &[&str], b: &[&str]| {
        a.len() == b.len() && a.iter().copied().zip(b.iter().copied()).all(same_line)
    };
    if has_long(cmd, "--nosort") {
        let ((head, all), (head2, all2)) = (blocks(expected), blocks(got));
        head == head2 && all.len() == all2.len() && all.iter().zip(&all2).all(|(a, b)| same(a, b))
    } else {
        same(&expected.lines().collect::<Vec<_>>(), &got.lines().collect::<Vec<_>>())
    }
}

/// Whether counters are the recorded ones but for a packet for each connection.
fn near(want: [i64; 5], have: [i64; 5]) -> bool {
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = want;
    let [connections2, in_packets2, out_packets2, in_bytes2, out_bytes2] = have;
    let packets = |a: i64, b: i64| (a - b).abs() <= connections;
    let bytes = |a: i64, b: i64| (a - b).abs() <= connections * BYTES_OF_A_PACKET;
    connections == connections2
        && packets(in_packets, in_packets2)
        && packets(out_packets, out_packets2)
        && bytes(in_bytes, in_bytes2)
        && bytes(out_bytes, out_bytes2)
}

/// The lines of both with `-` for those only expected and `+` for those only got, by their longest common
/// subsequence.
#[must_use]
pub(crate) fn diff(expected: &str, got: &str) -> Vec<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (lines(expected), lines(got));
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] =
                if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push(format!("    {}", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j >= b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("  - {}", a[i]));
            i += 1;
        } else {
            out.push(format!("  + {}", b[j]));
            j += 1;
        }
    }
    out
}

/// Lines with their ends: a missing end of the last line is a difference.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').map(|l| l.strip_suffix('\n').unwrap_or(l)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(cmd: &str, expected: &str, got: &str) -> bool {
        text(cmd, expected, got).is_none()
    }

    #[test]
    fn usage_is_any_text() {
        assert!(same("x", "a\n<usage text>\n", "a\nhow to\nuse\n"));
        assert!(!same("x", "a\n<usage text>\n", "a\n\n"));
        assert!(!same("x", "a\n<usage text>\n", "b\nhow to\n"));
    }

    #[test]
    fn an_unsorted_listing_is_compared_by_blocks() {
        let a = "Prot L\n  -> RemoteAddress:Port\nTCP  a rr\n  -> 1 x\n  -> 2 x\nUDP  b rr\n";
        let b = "Prot L\n  -> RemoteAddress:Port\nUDP  b rr\nTCP  a rr\n  -> 2 x\n  -> 1 x\n";
        let moved = "Prot L\n  -> RemoteAddress:Port\nUDP  b rr\n  -> 2 x\nTCP  a rr\n  -> 1 x\n";
        assert!(same("ipvsadm -Ln --nosort", a, b));
        assert!(!same("ipvsadm -Ln", a, b));
        assert!(!same("ipvsadm -Ln --nosort", a, moved));
    }

    #[test]
    fn connections_come_in_any_order_with_about_the_expiry() {
        let a = "head\nTCP 14:54  ESTABLISHED c:1               v:80\nUDP 04:54  UDP         c:2 v:80\n";
        let b = "head\nUDP 04:59  UDP         c:2 v:80\nTCP 15:00  ESTABLISHED c:1               v:80\n";
        for cmd in ["ipvsadm -Lnc", "ipvsadm -L -n -c", "ipvsadm --list --connection", "ipvsadm -lc"] {
            assert!(same(cmd, a, b), "{cmd}");
        }
        assert!(!same("ipvsadm -Lnc", a, &b.replace("15:00", "15:20")), "too far");
        assert!(
            !same("ipvsadm -Lnc", a, &b.replace("ESTABLISHED c:1", "ESTABLISHED  c:1")),
            "a column is off"
        );
        assert!(!same("ipvsadm -Lnc", a, "head\n"), "one is missing");
        assert!(!same("ipvsadm -C", a, b), "no listing");
    }

    #[test]
    fn rates_are_loose_only_where_there_was_traffic() {
        let line = |n: &str| format!("TCP  192.0.2.1:80        {n}\n");
        let cmd = "ipvsadm -Ln --rate";
        assert!(same(cmd, &line("    1     3     2   151   115"), &line("    0     9     2   999   222")));
        assert!(!same(cmd, &line("    0     0     0     0     0"), &line("    0     1     0     0     0")));
        assert!(!same(cmd, &line("    1     3     2   151   115"), "UDP  192.0.2.1:80  1 3 2 151 115\n"));
    }

    #[test]
    fn counters_may_differ_by_a_packet_for_each_connection() {
        let line = |n: &str| format!("TCP  192.0.2.1:80        {n}\n");
        let cmd = "ipvsadm -Ln --stats";
        assert!(same(cmd, &line("    2    10     7   537   392"), &line("    2    11     8   589   444")));
        assert!(!same(cmd, &line("    2    10     7   537   392"), &line("    3    10     7   537   392")));
        assert!(!same(cmd, &line("    2    10     7   537   392"), &line("    2    14     7   537   392")));
    }

    #[test]
    fn a_difference_shows_both_sides() {
        assert_eq!(diff("a\nb\nc\n", "a\nx\nc\n"), ["    a", "  - b", "  + x", "    c"]);
        let expected = Outcome { rc: 0, stdout: "a\n".into(), stderr: String::new() };
        let got = Finished { code: 2, stdout: String::new(), stderr: "no\n".into() };
        let said = outcome("ipvsadm -Ln", &expected, &got).join("\n");
        for part in ["expected 0, got 2", "  - a", "  + no"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
