//! The full text of each error of everything but services.

use super::refused;

#[test]
fn keys_that_nobody_knows() {
    refused(
        "[timeout]\ntcp = 3\n",
        r"
error: unknown key `timeout` of the file
 --> lbd.toml:1:2
  |
1 | [timeout]
  |  ^^^^^^^
  |
  = help: did you mean `timeouts`?
",
    );
    refused(
        "[tables]\nconections = 5000\nbuckets = 3\n",
        r"
error: unknown key `conections` of the table sizes
 --> lbd.toml:2:1
  |
2 | conections = 5000
  | ^^^^^^^^^^
  |
  = help: did you mean `connections`?

error: unknown key `buckets` of the table sizes
 --> lbd.toml:3:1
  |
3 | buckets = 3
  | ^^^^^^^
  |
  = help: known here: connections, services, destinations, slots
",
    );
    refused(
        "[director]\nsomething-else = 1\n",
        r"
error: unknown key `something-else` of the director
 --> lbd.toml:2:1
  |
2 | something-else = 1
  | ^^^^^^^^^^^^^^
  |
  = help: known here: interfaces, mh-table-size
",
    );
}

#[test]
fn marks() {
    refused(
        "[[mark]]\nports = 80\n",
        r#"
error: a mark needs a `destination`
 --> lbd.toml:1:1
  |
1 | [[mark]]
  | ^^^^^^^^
  |
  = help: add: destination = "192.0.2.0/24"

error: a mark needs a `mark`
 --> lbd.toml:1:1
  |
1 | [[mark]]
  | ^^^^^^^^
  |
  = help: add: mark = 1
"#,
    );
    refused(
        "[[mark]]\ndestination = \"192.0.2.3/31\"\nmark = 1\n",
        r#"
error: `192.0.2.3/31` is not the first address of its network
 --> lbd.toml:2:15
  |
2 | destination = "192.0.2.3/31"
  |               ^^^^^^^^^^^^^^
  |
  = help: write "192.0.2.2/31"
"#,
    );
    refused(
        "[[mark]]\ndestination = \"192.0.2.0/33\"\nmark = 1\n",
        r#"
error: the prefix length of `192.0.2.0/33` must be a number from 0 to 32
 --> lbd.toml:2:15
  |
2 | destination = "192.0.2.0/33"
  |               ^^^^^^^^^^^^^^
  |
  = help: for one address alone write "192.0.2.0"
"#,
    );
    refused(
        "[[mark]]\ndestination = \"vip\"\nmark = 1\nprotocol = \"icmp\"\n",
        r#"
error: `vip` is no network
 --> lbd.toml:2:15
  |
2 | destination = "vip"
  |               ^^^^^
  |
  = help: write an address with its prefix length: "192.0.2.0/24"

error: unknown protocol `icmp`
 --> lbd.toml:4:12
  |
4 | protocol = "icmp"
  |            ^^^^^^
  |
  = help: write "tcp", "udp" or "sctp", or leave it out for all
"#,
    );
    refused(
        "[[mark]]\ndestination = \"192.0.2.1\"\nmark = 1\nports = [0, \"9-8\", true]\n",
        r#"
error: `ports` must be a port, a range of ports or a list of them
 --> lbd.toml:4:10
  |
4 | ports = [0, "9-8", true]
  |          ^
  |
  = help: ports go from 1 to 65535: ports = [80, "1000-2000"]

error: `ports` must be a port, a range of ports or a list of them
 --> lbd.toml:4:13
  |
4 | ports = [0, "9-8", true]
  |             ^^^^^
  |
  = help: ports go from 1 to 65535: ports = [80, "1000-2000"]

error: `ports` must be a port, a range of ports or a list of them
 --> lbd.toml:4:20
  |
4 | ports = [0, "9-8", true]
  |                    ^^^^ this is true or false
  |
  = help: write it as: ports = [80, "1000-2000"]
"#,
    );
    refused(
        "[[mark]]\ndestination = \"192.0.2.1\"\nmark = 1\nports = []\n",
        r"
error: `ports` is empty
 --> lbd.toml:4:9
  |
4 | ports = []
  |         ^^
  |
  = help: leave `ports` out for every port
",
    );
}

#[test]
fn numbers_and_interfaces() {
    refused(
        "[timeouts]\ntcp = 0\nudp = 1.5\n",
        r"
error: `tcp` must be a whole number from 1 to 2678400 seconds
 --> lbd.toml:2:7
  |
2 | tcp = 0
  |       ^ out of range

error: `udp` must be a whole number from 1 to 2678400 seconds
 --> lbd.toml:3:7
  |
3 | udp = 1.5
  |       ^^^ this is a number with a fraction
",
    );
    refused(
        "[tables]\nconnections = 99999999999999999999\n",
        r"
error: `connections` must be a whole number from 1024 to 16777216
 --> lbd.toml:2:15
  |
2 | connections = 99999999999999999999
  |               ^^^^^^^^^^^^^^^^^^^^ out of range
",
    );
    refused(
        "[director]\ninterfaces = [\"a b\", \"eth0\", \"eth0\"]\n",
        r#"
error: `a b` cannot be the name of an interface
 --> lbd.toml:2:15
  |
2 | interfaces = ["a b", "eth0", "eth0"]
  |               ^^^^^
  |
  = help: `ip link` shows the names

error: interface `eth0` is named twice
 --> lbd.toml:2:30
  |
2 | interfaces = ["a b", "eth0", "eth0"]
  |                              ^^^^^^
  |
  = help: remove it here
"#,
    );
    refused(
        "[director]\ninterfaces = \"eth0\"\n",
        r#"
error: `interfaces` must be a list of strings
 --> lbd.toml:2:14
  |
2 | interfaces = "eth0"
  |              ^^^^^^ this is a string
  |
  = help: write it as: interfaces = ["eth0"]
"#,
    );
}

#[test]
fn text_that_is_no_toml() {
    refused(
        "[[service]]\ntcp = 192.0.2.1:80\n",
        r"
error: invalid float, expected nothing
 --> lbd.toml:2:12
  |
2 | tcp = 192.0.2.1:80
  |            ^^^^^^^
  |
  = help: text stands in double quotes
",
    );
}

#[test]
fn all_errors_at_once_in_the_order_of_the_file() {
    refused(
        "[[service]]\ntcp = \"192.0.2.1\"\nshceduler = \"rr\"\npersistent = \"x\"\n\
         [[service.destination]]\nweight = 70000\n",
        r#"
error: `192.0.2.1` is no address and port
 --> lbd.toml:2:7
  |
2 | tcp = "192.0.2.1"
  |       ^^^^^^^^^^^
  |
  = help: write it as: tcp = "192.0.2.1:80"

error: unknown key `shceduler` of a service
 --> lbd.toml:3:1
  |
3 | shceduler = "rr"
  | ^^^^^^^^^
  |
  = help: did you mean `scheduler`?

error: `persistent` must be a whole number from 1 to 2678400 seconds
 --> lbd.toml:4:14
  |
4 | persistent = "x"
  |              ^^^ this is a string

error: a destination needs an `address`
 --> lbd.toml:5:1
  |
5 | [[service.destination]]
  | ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: add: address = "198.51.100.11:80"

error: `weight` must be a whole number from 0 to 65535
 --> lbd.toml:6:10
  |
6 | weight = 70000
  |          ^^^^^ out of range
"#,
    );
}
