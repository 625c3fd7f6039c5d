//! The full text of each error of services and destinations.

use super::super::parse;
use super::refused;
use crate::model::{Tunnel, TunnelChecksum, TunnelKind};

#[test]
fn keys_of_a_service() {
    refused(
        "[[service]]\nscheduler = \"rr\"\n",
        r#"
error: a service needs one of `tcp`, `udp`, `sctp` and `fwmark`
 --> lbd.toml:1:1
  |
1 | [[service]]
  | ^^^^^^^^^^^
  |
  = help: add: tcp = "192.0.2.1:80"
"#,
    );
    refused(
        "[[service]]\ntcp = \"192.0.2.1:80\"\nudp = \"192.0.2.1:80\"\n",
        r#"
error: a service is either `tcp` or `udp`
 --> lbd.toml:3:1
  |
3 | udp = "192.0.2.1:80"
  | ^^^
  |
  = help: write a second [[service]]
"#,
    );
    refused(
        "[[service]]\ntcp = \"192.0.2.1:80\"\nipv6 = true\n",
        r"
error: `ipv6` belongs to `fwmark`
 --> lbd.toml:3:8
  |
3 | ipv6 = true
  |        ^^^^
  |
  = help: remove it: the address tells its family
",
    );
    refused(
        "[[service]]\nfwmark = 0\n",
        r"
error: `fwmark` must be a whole number from 1 to 4294967295
 --> lbd.toml:2:10
  |
2 | fwmark = 0
  |          ^ out of range
",
    );
    refused(
        "[[service]]\ntcp = \"2001:db8::1:80\"\n",
        r#"
error: `2001:db8::1:80` is no address and port
 --> lbd.toml:2:7
  |
2 | tcp = "2001:db8::1:80"
  |       ^^^^^^^^^^^^^^^^
  |
  = help: write it as: tcp = "[2001:db8::1]:80"
"#,
    );
    refused(
        "[[service]]\ntcp = \"192.0.2.1:0\"\n",
        r"
error: a service of every port (port 0) must be persistent
 --> lbd.toml:1:1
  |
1 | [[service]]
  | ^^^^^^^^^^^
  |
  = help: add: persistent = 360
",
    );
    let twice = "[[service]]\ntcp = \"192.0.2.1:80\"\n";
    refused(
        &format!("{twice}{twice}"),
        r"
error: service 192.0.2.1:80/tcp is defined twice
 --> lbd.toml:3:1
  |
3 | [[service]]
  | ^^^^^^^^^^^ the second one
  |
  = help: remove one of the two
",
    );
    refused(
        "service = 3\n",
        r"
error: `service` must be a list of tables
 --> lbd.toml:1:11
  |
1 | service = 3
  |           ^ this is a whole number
  |
  = help: begin each with a line of its own: [[service]]
",
    );
}

#[test]
fn options_of_a_service() {
    let service = |options: &str| format!("[[service]]\ntcp = \"192.0.2.1:80\"\n{options}\n");
    refused(
        &service("scheduler = \"fastest\""),
        r#"
error: unknown scheduler `fastest`
 --> lbd.toml:3:13
  |
3 | scheduler = "fastest"
  |             ^^^^^^^^^
  |
  = help: one of rr, wrr, lc, wlc, sh, dh, fo, sed, nq, ovf, mh, lblc, lblcr, twos
"#,
    );
    refused(
        &service("flags = [\"sh-port\"]"),
        r#"
error: flag `sh-port` is only for the scheduler sh
 --> lbd.toml:3:10
  |
3 | flags = ["sh-port"]
  |          ^^^^^^^^^
  |
  = help: add: scheduler = "sh"
"#,
    );
    refused(
        &service("scheduler = \"sh\"\nflags = [\"mh-port\", 3]"),
        r#"
error: flag `mh-port` is only for the scheduler mh
 --> lbd.toml:4:10
  |
4 | flags = ["mh-port", 3]
  |          ^^^^^^^^^
  |
  = help: add: scheduler = "mh"

error: `flags` must be a list of strings
 --> lbd.toml:4:21
  |
4 | flags = ["mh-port", 3]
  |                     ^ this is a whole number
"#,
    );
    refused(
        &service("scheduler = \"mh\"\nflags = [\"mh-ports\"]"),
        r#"
error: unknown scheduler flag `mh-ports`
 --> lbd.toml:4:10
  |
4 | flags = ["mh-ports"]
  |          ^^^^^^^^^^
  |
  = help: one of sh-fallback, sh-port, mh-fallback, mh-port
"#,
    );
    refused(
        &service("scheduler = \"mh\"\nmh-table-size = 4096"),
        r"
error: a table of mh cannot have 4096 buckets
 --> lbd.toml:4:17
  |
4 | mh-table-size = 4096
  |                 ^^^^
  |
  = help: one of 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071
",
    );
    refused(
        &service("mh-table-size = 4093"),
        r#"
error: `mh-table-size` is only for the scheduler mh, not for wlc
 --> lbd.toml:3:17
  |
3 | mh-table-size = 4093
  |                 ^^^^
  |
  = help: remove it, or write: scheduler = "mh"
"#,
    );
    refused(
        &service("persistent = 2678401"),
        r"
error: `persistent` must be a whole number from 1 to 2678400 seconds
 --> lbd.toml:3:14
  |
3 | persistent = 2678401
  |              ^^^^^^^ out of range
",
    );
    refused(
        &service("netmask = 33"),
        r#"
error: `netmask` must be a mask or a prefix length from 1 to 32
 --> lbd.toml:3:11
  |
3 | netmask = 33
  |           ^^
  |
  = help: write it as: netmask = "255.255.255.0"
"#,
    );
    refused(
        "[[service]]\nfwmark = 1\nipv6 = true\nnetmask = \"255.255.255.0\"\n",
        r#"
error: `netmask` must be a prefix length from 1 to 128
 --> lbd.toml:4:11
  |
4 | netmask = "255.255.255.0"
  |           ^^^^^^^^^^^^^^^
  |
  = help: write it as: netmask = 64
"#,
    );
    refused(
        &service("one-packet = true"),
        r"
error: one-packet scheduling is only for UDP
 --> lbd.toml:3:14
  |
3 | one-packet = true
  |              ^^^^
  |
  = help: remove it, or make the service a `udp` or a `fwmark` one
",
    );
    refused(
        &service("one-packet = 1"),
        r"
error: `one-packet` must be true or false
 --> lbd.toml:3:14
  |
3 | one-packet = 1
  |              ^ this is a whole number
  |
  = help: write it as: one-packet = true
",
    );
}

#[test]
fn destinations() {
    let with =
        |lines: &str| format!("[[service]]\ntcp = \"192.0.2.1:80\"\n[[service.destination]]\n{lines}\n");
    refused(
        &with("weight = 1"),
        r#"
error: a destination needs an `address`
 --> lbd.toml:3:1
  |
3 | [[service.destination]]
  | ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: add: address = "198.51.100.11:80"
"#,
    );
    refused(
        &with("address = \"real1\""),
        r#"
error: `real1` is no address
 --> lbd.toml:4:11
  |
4 | address = "real1"
  |           ^^^^^^^
  |
  = help: write an address, with a port where it is not the service's: address = "198.51.100.11:80"
"#,
    );
    refused(
        &with("address = \"198.51.100.11:8080\""),
        r#"
error: without NAT the destination's port is the service's, 80
 --> lbd.toml:4:11
  |
4 | address = "198.51.100.11:8080"
  |           ^^^^^^^^^^^^^^^^^^^^
  |
  = help: write "198.51.100.11", or method = "nat"
"#,
    );
    refused(
        &with("address = \"2001:db8:1::11\"\nmethod = \"nat\""),
        r#"
error: destination [2001:db8:1::11]:80 is of another address family than 192.0.2.1:80/tcp
 --> lbd.toml:4:11
  |
4 | address = "2001:db8:1::11"
  |           ^^^^^^^^^^^^^^^^
  |
  = help: only a tunnel leads into the other family: method = "tunnel"
"#,
    );
    refused(
        &with("address = \"198.51.100.11\"\nmethod = \"route\""),
        r#"
error: unknown forwarding method `route`
 --> lbd.toml:5:10
  |
5 | method = "route"
  |          ^^^^^^^
  |
  = help: one of dr, nat, tunnel
"#,
    );
    refused(
        &with("address = \"198.51.100.11\"\nupper = 10\nlower = 11"),
        r"
error: the lower threshold is above the upper one
 --> lbd.toml:6:9
  |
6 | lower = 11
  |         ^^ upper is 10
  |
  = help: raise `upper`
",
    );
    let twice = with("address = \"198.51.100.11\"\n[[service.destination]]\naddress = \"198.51.100.11:80\"");
    refused(
        &twice,
        r"
error: destination 198.51.100.11:80 is defined twice in this service
 --> lbd.toml:5:1
  |
5 | [[service.destination]]
  | ^^^^^^^^^^^^^^^^^^^^^^^ the second one
  |
  = help: remove one of the two
",
    );
}

#[test]
fn encapsulations() {
    let service = |lines: &str| {
        format!(
            "[[service]]\ntcp = \"192.0.2.1:80\"\n[[service.destination]]\naddress = \"198.51.100.11\"\n{lines}\n"
        )
    };
    for (lines, kind, port, checksum) in [
        ("method = \"tunnel\"", TunnelKind::Ipip, 0, TunnelChecksum::None),
        (
            "method = \"tunnel\"\ntunnel = \"gre\"\ntunnel-checksum = \"csum\"",
            TunnelKind::Gre,
            0,
            TunnelChecksum::Checksum,
        ),
        (
            "method = \"tunnel\"\ntunnel = \"gue\"\ntunnel-port = 6080\ntunnel-checksum = \"remcsum\"",
            TunnelKind::Gue,
            6080,
            TunnelChecksum::Remote,
        ),
    ] {
        let config = parse(&service(lines), "lbd.toml").unwrap();
        assert_eq!(config.services[0].1[0].tunnel, Some(Tunnel { kind, port, checksum }), "{lines}");
    }
    for (lines, wrong) in [
        ("tunnel = \"gre\"", "`tunnel` is only for tunnels"),
        ("method = \"nat\"\ntunnel-port = 1", "`tunnel-port` is only for tunnels"),
        ("method = \"tunnel\"\ntunnel = \"vxlan\"", "unknown encapsulation `vxlan`"),
        ("method = \"tunnel\"\ntunnel = \"gue\"", "gue needs a port"),
        ("method = \"tunnel\"\ntunnel = \"gre\"\ntunnel-port = 9", "only gue has a port"),
        ("method = \"tunnel\"\ntunnel-checksum = \"csum\"", "ipip has no checksum"),
        (
            "method = \"tunnel\"\ntunnel = \"gre\"\ntunnel-checksum = \"remcsum\"",
            "gre has no remote checksum",
        ),
        (
            "method = \"tunnel\"\ntunnel = \"gre\"\ntunnel-checksum = \"crc\"",
            "unknown checksum variant `crc`",
        ),
    ] {
        let text = parse(&service(lines), "lbd.toml").unwrap_err().to_string();
        assert!(text.contains(wrong), "{lines}: {text}");
    }
    let text = parse("[tunnels]\nouter-source = \"10.0.0.0/33\"\n", "lbd.toml").unwrap_err().to_string();
    assert!(text.contains("is no network that outer addresses can come from"), "{text}");
}
