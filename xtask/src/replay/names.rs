//! Host and service names back to numbers, so that `vip.example:http` and `192.0.2.1:80` are the same thing.

use std::collections::BTreeMap;

/// Names and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    hosts: BTreeMap<String, String>,
    ports: BTreeMap<(String, String), u16>,
}

impl Names {
    /// Reads the texts of an /etc/hosts and an /etc/services.
    #[must_use]
    pub(crate) fn new(hosts: &str, services: &str) -> Self {
        let mut names = Self::default();
        for words in lines(hosts) {
            for name in words.iter().skip(1) {
                names.hosts.entry((*name).to_owned()).or_insert_with(|| words[0].to_owned());
            }
        }
        for words in lines(services) {
            let Some((port, protocol)) = words.get(1).and_then(|w| w.split_once('/')) else { continue };
            let Ok(port) = port.parse() else { continue };
            for name in words.iter().take(1).chain(words.iter().skip(2)) {
                names.ports.entry(((*name).to_owned(), protocol.to_owned())).or_insert(port);
            }
        }
        names
    }

    /// An endpoint as `address:port`, numbers only; `port` where it names none.
    #[must_use]
    pub(crate) fn endpoint(&self, text: &str, protocol: &str, port: u16) -> String {
        let (host, named) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match text.split_once(':') {
                // More than one colon without brackets is an IPv6 address without a port.
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        let host = self.hosts.get(host).map_or(host, String::as_str);
        let port = named.map_or(port, |name| self.port(name, protocol));
        format!("{host}:{port}")
    }

    fn port(&self, name: &str, protocol: &str) -> u16 {
        let by_name = || self.ports.get(&(name.to_owned(), protocol.to_owned())).copied();
        name.parse().ok().or_else(by_name).unwrap_or(0)
    }
}

/// The words of each line that has some, without comments.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines()
        .map(|l| l.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_an_endpoint_are_one() {
        let names = Names::new(
            "192.0.2.1 vip.example vip\n2001:db8::1 vip6.example # comment\n",
            "http 80/tcp www # web\ndomain 53/udp\n",
        );
        for (text, endpoint) in [
            ("vip.example:http", "192.0.2.1:80"),
            ("vip:www", "192.0.2.1:80"),
            ("192.0.2.1", "192.0.2.1:7"),
            ("[vip6.example]:8080", "2001:db8::1:8080"),
            ("[2001:db8::1]", "2001:db8::1:7"),
            ("2001:db8::1", "2001:db8::1:7"),
            ("192.0.2.9:domain", "192.0.2.9:0"),
        ] {
            assert_eq!(names.endpoint(text, "tcp", 7), endpoint, "{text}");
        }
    }
}
