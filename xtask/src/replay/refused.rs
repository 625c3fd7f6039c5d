//! Recorded commands that use what this version refuses.
//!
//! With allowance (the suite, `--allow-refused`) such a command must fail with a message that says so, and what it
//! would have made is taken out of the recorded listings. When a feature arrives, its line here goes.

use std::collections::BTreeSet;

use super::names::Names;

/// Options that this version refuses, and what they are.
const OPTIONS: [(&str, &str); 7] = [
    ("-i", "tunnels"),
    ("--ipip", "tunnels"),
    ("--tun-type", "tunnels"),
    ("--tun-port", "tunnels"),
    ("--tun-csum", "tunnels"),
    ("--tun-nocsum", "tunnels"),
    ("--tun-remcsum", "tunnels"),
];

/// What a service is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Protocol and `address:port`.
    Address(&'static str, String),
    /// Mark, and whether IPv6.
    Mark(u32, bool),
}

/// What of a recording is not there because it was refused.
#[derive(Debug)]
pub(crate) struct Refused<'n> {
    names: &'n Names,
    services: BTreeSet<Key>,
    destinations: BTreeSet<(Key, String)>,
}

/// The parts of an ipvsadm line that matter here.
struct Line<'a> {
    command: &'a str,
    key: Option<Key>,
    destination: Option<String>,
    feature: Option<String>,
}

impl<'n> Refused<'n> {
    /// Nothing is refused yet.
    #[must_use]
    pub(crate) const fn new(names: &'n Names) -> Self {
        Self { names, services: BTreeSet::new(), destinations: BTreeSet::new() }
    }

    /// Why this command will be refused, `None` where it will not; follows what it does to the tables.
    pub(crate) fn judge(&mut self, line: &str) -> Option<String> {
        let parsed = self.parse(line);
        let key = parsed.key.clone()?;
        let on_refused = self.services.contains(&key);
        match (parsed.command, parsed.destination.clone()) {
            ("-A", _) => {
                let feature = parsed.feature?;
                self.services.insert(key);
                Some(feature)
            }
            ("-E", _) => parsed.feature.or_else(|| on_refused.then(|| "a service refused before".into())),
            ("-D", _) => {
                self.destinations.retain(|(k, _)| *k != key);
                self.services.remove(&key).then(|| "a service refused before".into())
            }
            ("-a" | "-e", Some(destination)) => {
                let why = parsed.feature.or_else(|| on_refused.then(|| "a service refused before".into()))?;
                self.destinations.insert((key, destination));
                Some(why)
            }
            ("-d", Some(destination)) => {
                let gone = self.destinations.remove(&(key, destination));
                (gone || on_refused).then(|| "a destination refused before".into())
            }
            // A listing or zeroing of one service.
            _ => on_refused.then(|| "a service refused before".into()),
        }
    }

    /// `ipvsadm -C`: all is as at the start.
    pub(crate) fn clear(&mut self) {
        self.services.clear();
        self.destinations.clear();
    }

    /// A recorded listing (`-L` or `-S`) without what was refused.
    #[must_use]
    pub(crate) fn strip(&self, listing: &str) -> String {
        let mut current: Option<Key> = None;
        let keep = |line: &&str| -> bool {
            let head = line.split_whitespace().next().unwrap_or_default();
            if let Some(key) = self.heading(line) {
                current = Some(key);
                return current.as_ref().is_none_or(|k| !self.services.contains(k));
            }
            match (head, &current) {
                ("->", Some(key)) => {
                    let name = line.split_whitespace().nth(1).unwrap_or_default();
                    let destination = self.names.endpoint(name, protocol(key), 0);
                    !self.services.contains(key) && !self.destinations.contains(&(key.clone(), destination))
                }
                ("-A" | "-a", _) => {
                    let parsed = self.parse(line);
                    let Some(key) = parsed.key else { return true };
                    let gone =
                        parsed.destination.is_some_and(|d| self.destinations.contains(&(key.clone(), d)));
                    !self.services.contains(&key) && !gone
                }
                _ => true,
            }
        };
        let mut keep = keep;
        listing.split_inclusive('\n').filter(|line| keep(line)).collect()
    }

    /// The service a listing's line begins.
    fn heading(&self, line: &str) -> Option<Key> {
        let mut words = line.split_whitespace();
        let protocol = match words.next()? {
            _ if line.starts_with(' ') => return None,
            "TCP" => "tcp",
            "UDP" => "udp",
            "SCTP" => "sctp",
            "FWM" => return Some(Key::Mark(mark(words.next()?)?, words.next() == Some("IPv6"))),
            _ => return None,
        };
        Some(Key::Address(protocol, self.names.endpoint(words.next()?, protocol, 0)))
    }

    fn parse<'a>(&self, line: &'a str) -> Line<'a> {
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|w| w.trim_matches(['\'', '"']))
            .skip_while(|w| *w == "ipvsadm")
            .collect();
        let value = |names: &[&str]| {
            words.iter().position(|w| names.contains(w)).and_then(|at| words.get(at + 1)).copied()
        };
        let address = |protocol: &'static str, names: &[&str]| {
            value(names).map(|v| Key::Address(protocol, self.names.endpoint(v, protocol, 0)))
        };
        let key = address("tcp", &["-t", "--tcp-service"])
            .or_else(|| address("udp", &["-u", "--udp-service"]))
            .or_else(|| address("sctp", &["--sctp-service"]))
            .or_else(|| {
                let mark = mark(value(&["-f", "--fwmark-service"])?)?;
                Some(Key::Mark(mark, words.iter().any(|w| ["-6", "--ipv6"].contains(w))))
            });
        let masquerades = words.iter().any(|w| ["-m", "--masquerading"].contains(w));
        let destination = key.as_ref().and_then(|key| {
            let text = value(&["-r", "--real-server"])?;
            let service_port = match key {
                Key::Address(_, endpoint) => endpoint.rsplit(':').next()?.parse().ok()?,
                Key::Mark(..) => 0,
            };
            let own = self.names.endpoint(text, protocol(key), service_port);
            // Only masquerading may map ports, but for marks, which have none.
            let forced = !masquerades && matches!(key, Key::Address(..));
            let host = own.rsplit_once(':')?.0.to_owned();
            Some(if forced { format!("{host}:{service_port}") } else { own })
        });
        let option = OPTIONS.iter().find(|(option, _)| words.contains(option));
        let feature = option.map(|(_, what)| (*what).to_owned());
        Line { command: command(&words), key, destination, feature }
    }
}

/// The command of a line in its short form.
fn command<'a>(words: &[&'a str]) -> &'a str {
    words
        .iter()
        .find_map(|w| match *w {
            "-A" | "--add-service" => Some("-A"),
            "-E" | "--edit-service" => Some("-E"),
            "-D" | "--delete-service" => Some("-D"),
            "-a" | "--add-server" => Some("-a"),
            "-e" | "--edit-server" => Some("-e"),
            "-d" | "--delete-server" => Some("-d"),
            _ => None,
        })
        .unwrap_or_default()
}

const fn protocol(key: &Key) -> &'static str {
    match key {
        Key::Address(protocol, _) => protocol,
        Key::Mark(..) => "tcp",
    }
}

/// A mark as commands and listings write it: listings print it as a signed number.
fn mark(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

/// Whether a message says that this version does not do something.
#[must_use]
pub(crate) fn says_so(message: &str) -> bool {
    let lower = message.to_lowercase();
    ["not supported", "does not support", "unsupported", "this version"].iter().any(|t| lower.contains(t))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "192.0.2.1 vip.example\n198.51.100.11 real1.example\n";
    const SERVICES: &str = "http 80/tcp\nsip 5060/udp\n";

    #[test]
    fn what_is_refused_leaves_the_listings() {
        let names = Names::new(HOSTS, SERVICES);
        let mut refused = Refused::new(&names);
        for (line, reason) in [
            ("ipvsadm -A -t 192.0.2.1:80 -s wrr -p 60", None),
            ("ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.11:80 -m -w 100", None),
            ("ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.12:99 -i", Some("tunnels")),
            ("ipvsadm -A -u 192.0.2.1:5060 -s mh", Some("scheduler mh")),
            ("ipvsadm -a -u 192.0.2.1:5060 -r 198.51.100.11 -m", Some("a service refused before")),
            ("ipvsadm -A -f 4000000000 -s mh --pe sip", Some("persistence engines")),
            ("ipvsadm -Ln", None),
        ] {
            assert_eq!(refused.judge(line).as_deref(), reason, "{line}");
        }
        let listing = "Prot\nFWM  -294967296 mh\n  -> real1.example:0 Route\nTCP  vip.example:http wrr\n  -> real1.example:http Masq\n  -> 198.51.100.12:http Tunnel\nUDP  vip.example:sip rr\n  -> real1.example:sip Masq\n";
        assert_eq!(refused.strip(listing), "Prot\nTCP  vip.example:http wrr\n  -> real1.example:http Masq\n");
        let saved = "-A -f -294967296 -s mh\n-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m -w 1\n-a -t 192.0.2.1:80 -r 198.51.100.12:80 -i -w 1 --tun-type ipip\n";
        assert_eq!(
            refused.strip(saved),
            "-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m -w 1\n"
        );
        assert_eq!(refused.judge("ipvsadm -D -f 4000000000").as_deref(), Some("a service refused before"));
        assert_eq!(refused.judge("ipvsadm -A -f 4000000000 -s rr"), None);
        refused.clear();
        assert_eq!(refused.strip(saved), saved);
    }

    #[test]
    fn a_refusal_is_recognised() {
        assert!(says_so("a tunnel is not supported by this version"));
        assert!(!says_so("Service already exists"));
    }
}
