//! What the recordings do not hold: who may call, who answers, what is refused, what a restore does.

use std::net::{IpAddr, Ipv4Addr};

use super::{Director, Hosts, Printed, run, shell, words};
use crate::api::{ErrorKind, Refusal, Request};
use crate::cli::ipvsadm::{Names, Personality, Session};
use crate::model::{DestinationSpec, ForwardingMethod, Netmask, Persistence, Protocol, ServiceKey};

fn failed(code: u8, err: &str) -> Printed {
    Printed { code, out: String::new(), err: err.to_owned() }
}

#[test]
fn who_is_not_root_may_read_the_help_only() {
    let denied = failed(2, "Can't initialize ipvs: Permission denied (you must be root)\n");
    let mut director = Director::default();
    for line in ["ipvsadm", "ipvsadm -Ln", "ipvsadm --foo", "ipvsadm-save -n", "ipvsadm-restore"] {
        assert_eq!(run(&mut director, &words(line), "-C\n", false), denied, "{line}");
    }
    assert_eq!(director.asked, []);
    for line in ["ipvsadm -h", "ipvsadm --help", "ipvsadm-save -h", "ipvsadm-restore --help"] {
        let printed = run(&mut director, &words(line), "", false);
        assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{line}");
        assert!(printed.out.contains("ipvsadm -A|-E SERVICE"), "{line}");
    }
    let version = run(&mut director, &words("ipvsadm --version"), "", false);
    assert!(version.out.starts_with("ipvsadm v1.31 "), "{}", version.out);
    assert!(version.out.ends_with("IPVS v1.2.1)\n"), "{}", version.out);
}

#[test]
fn without_lbd_every_command_says_where_it_was_looked_for_and_what_to_do() {
    let mut director = Director { dead: true, ..Director::default() };
    let message = "Can't initialize ipvs: lbd of instance default does not answer at /run/lb/default/socket";
    let hint = "hint: start it with: lbd --interface INTERFACE\n";
    for line in [
        "ipvsadm -C",
        "ipvsadm -A -t 192.0.2.1:80",
        "ipvsadm -A -t 192.0.2.1:80 -s x",
        "ipvsadm -Lnc",
        "ipvsadm -L --timeout",
    ] {
        assert_eq!(shell(&mut director, line, ""), failed(2, &format!("{message}\n{hint}")), "{line}");
    }
    for line in ["ipvsadm", "ipvsadm -Ln", "ipvsadm -S", "ipvsadm-save", "ipvsadm -Ln -f 1"] {
        let text = format!("{message}; a listing without lbd is not available\n{hint}");
        assert_eq!(shell(&mut director, line, ""), failed(2, &text), "{line}");
    }
    // A restore does not try every line.
    director.asked.clear();
    shell(&mut director, "ipvsadm -R", "-C\n-C\n-C\n");
    assert_eq!(director.asked.len(), 1);
}

#[test]
fn every_refusal_has_ipvsadms_text() {
    let invalid = "Invalid operation.  Possibly wrong module version, address not unicast, ...\n";
    for (kind, of_service, of_destination) in [
        (ErrorKind::ServiceExists, "Service already exists\n", "Service already exists\n"),
        (ErrorKind::NoSuchService, "No such service\n", "Service not defined\n"),
        (ErrorKind::DestinationExists, "Destination already exists\n", "Destination already exists\n"),
        (ErrorKind::NoSuchDestination, "No such destination\n", "No such destination\n"),
        (
            ErrorKind::NoSuchScheduler,
            "Scheduler or persistence engine not found\n",
            "Scheduler or persistence engine not found\n",
        ),
        (ErrorKind::Invalid, invalid, invalid),
        (ErrorKind::OutOfRange, "Numerical result out of range\n", "Numerical result out of range\n"),
        (ErrorKind::NoSpace, "Memory allocation problem\n", "Memory allocation problem\n"),
        (ErrorKind::Unsupported, "no tunnels yet\nhint: use NAT\n", "no tunnels yet\nhint: use NAT\n"),
        (
            ErrorKind::Permission,
            "Permission denied (you must be root)\n",
            "Permission denied (you must be root)\n",
        ),
        (ErrorKind::Internal, "no tunnels yet\nhint: use NAT\n", "no tunnels yet\nhint: use NAT\n"),
    ] {
        let refusal =
            Refusal { kind, message: "no tunnels yet".to_owned(), hint: Some("use NAT".to_owned()) };
        let mut director = Director { refuses: Some(refusal), ..Director::default() };
        for (line, code, text) in [
            ("ipvsadm -D -t 192.0.2.1:80", 255, of_service),
            ("ipvsadm -Z -t 192.0.2.1:80", 255, of_service),
            ("ipvsadm -Ln -t 192.0.2.1:80", 1, of_service),
            ("ipvsadm -d -t 192.0.2.1:80 -r 198.51.100.11", 255, of_destination),
        ] {
            assert_eq!(shell(&mut director, line, ""), failed(code, text), "{line}");
        }
    }
}

#[test]
fn the_service_is_looked_for_before_its_scheduler() {
    let mut director = Director::default();
    assert_eq!(shell(&mut director, "ipvsadm -E -t 192.0.2.1:80 -s x", ""), failed(255, "No such service\n"));
    let unknown = failed(255, "Scheduler or persistence engine not found\n");
    assert_eq!(shell(&mut director, "ipvsadm -A -t 192.0.2.1:80 -s x", ""), unknown);
    assert_eq!(shell(&mut director, "ipvsadm -A -t 192.0.2.1:80", "").code, 0);
    assert_eq!(shell(&mut director, "ipvsadm -E -t 192.0.2.1:80 -s x", ""), unknown);
    let exists = failed(255, "Service already exists\n");
    assert_eq!(shell(&mut director, "ipvsadm -A -t 192.0.2.1:80 -s mh", ""), exists);
}

#[test]
fn a_command_line_becomes_one_request() {
    let mut director = Director::default();
    shell(&mut director, "ipvsadm -At192.0.2.1:80 -swrr -p -M255.255.0.0", "");
    shell(&mut director, "ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.11:8080 -w 3 -x 10 -y 5", "");
    shell(&mut director, "ipvsadm --set 1 2 3", "");
    let [
        Request::AddService { service },
        Request::AddDestination { key, destination },
        Request::SetTimeouts { timeouts },
    ] = director.asked.as_slice()
    else {
        panic!("{:?}", director.asked);
    };
    let address = "192.0.2.1:80".parse().unwrap();
    assert_eq!(service.key, ServiceKey::Address { protocol: Protocol::Tcp, address });
    assert_eq!(service.persistence, Some(Persistence { timeout: 360 }));
    assert_eq!(service.netmask, Netmask::V4(0xffff_0000));
    assert_eq!(*key, service.key);
    // DR does not rewrite, so the port is the service's.
    let expected = DestinationSpec {
        address: "198.51.100.11:80".parse().unwrap(),
        method: ForwardingMethod::DirectRoute,
        weight: 3,
        upper: 10,
        lower: 5,
        tunnel: None,
    };
    assert_eq!(*destination, expected);
    assert_eq!((timeouts.tcp, timeouts.tcp_fin, timeouts.udp), (1, 2, 3));
}

#[test]
fn usage_errors_that_were_not_recorded() {
    let mut director = Director::default();
    for (line, code, err) in [
        ("ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.11 -w 65536", 2, "illegal weight specified\n"),
        ("ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.11 -x -1", 2, "illegal u_threshold specified\n"),
        ("ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.11 -y a", 2, "illegal l_threshold specified\n"),
        (
            "ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.11 -g -m",
            2,
            "multiple 'forwarding-method' options specified\n",
        ),
        ("ipvsadm -A -6 -f 1", 2, "-6 used before -f\n\n"),
        ("ipvsadm -A -t 192.0.2.1:80 -6", 2, "-6 used before -f\n\n"),
        ("ipvsadm -A -t 192.0.2.1:80 -b sh-what -s sh", 2, "invalid scheduler flag `sh-what'\n"),
        ("ipvsadm -L --list", 2, "invalid option `--list'\n"),
        ("ipvsadm -L --list=all", 255, "--list=all: option does not take an argument\n"),
        ("ipvsadm -L extra", 2, "unexpected argument extra\n"),
        ("ipvsadm -C -n", 2, "Illegal 'numeric' option with the 'flush' command\n"),
        ("ipvsadm -L --timeout --stats", 2, "options conflicts in the list command\n"),
        ("ipvsadm -L --daemon --persistent-conn", 2, "options conflicts in the list command\n"),
        ("ipvsadm -Z --set 1 2 3", 2, "invalid option `--set'\n"),
        ("ipvsadm --start-daemon master --mcast-group ::1", 2, "invalid IPv6 mcast-group `::1'\n"),
        ("ipvsadm-restore -n", 2, "unexpected argument -n\n"),
        ("ipvsadm-save -c", 2, "Illegal 'connection' option with the 'save' command\n"),
    ] {
        assert_eq!(shell(&mut director, line, ""), failed(code, err), "{line}");
    }
    assert_eq!(director.asked, []);
}

#[test]
fn a_restore_takes_lines_in_any_dress() {
    let mut director = Director::default();
    let lines =
        "\r\n\t -A -t  192.0.2.1:80\t-s rr \r\nipvsadm -A -t 192.0.2.2:80\n-A -t 192.0.2.3:80 -z\n-S -n";
    assert_eq!(
        shell(&mut director, "ipvsadm -R", lines),
        Printed {
            code: 0,
            out: "-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.2:80 -s wlc\n".to_owned(),
            err: "-z: unknown option\n".to_owned()
        }
    );
    let nested = failed(255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n");
    assert_eq!(shell(&mut director, "ipvsadm -R", "-R\n-C\n"), nested);
    assert_eq!(director.services.len(), 2);
    // ipvsadm-restore begins with an empty table, and leaves out comments.
    let restored = shell(&mut director, "ipvsadm-restore", "# comment\n-A -f 3\n");
    assert_eq!(restored, Printed { code: 0, out: String::new(), err: String::new() });
    assert_eq!(director.services.len(), 1);
}

#[test]
fn a_saved_table_restored_is_the_same_table() {
    let mut director = Director::default();
    for line in [
        "ipvsadm -A -t [2001:db8::1]:80 -s sh -b sh-fallback,sh-port -p 60 -M 64",
        "ipvsadm -a -t [2001:db8::1]:80 -r [2001:db8:1::11]:8080 -m -w 0",
        "ipvsadm -a -t [2001:db8::1]:80 -r 198.51.100.11 -i --tun-type gue --tun-port 6080 --tun-remcsum",
        "ipvsadm -A -f 7 -6 -s dh -o --pe sip",
        "ipvsadm -A --sctp-service 192.0.2.1:36412",
    ] {
        assert_eq!(shell(&mut director, line, "").code, 0, "{line}");
    }
    // With names it is not: ipvsadm writes names of IPv6 hosts that it does not read (recorded).
    let saved = shell(&mut director, "ipvsadm-save -n", "").out;
    let mut other = Director::default();
    assert_eq!(shell(&mut other, "ipvsadm-restore", &saved).code, 0);
    crate::cli::render::sort(&mut director.services);
    crate::cli::render::sort(&mut other.services);
    assert_eq!(director.services, other.services);
}

/// Nobody may ask it.
struct NoNames;

impl Names for NoNames {
    fn host_to_addr(&self, name: &str) -> Option<Ipv4Addr> {
        panic!("asked for the address of {name}")
    }
    fn service_to_port(&self, name: &str, _: Protocol) -> Option<u16> {
        panic!("asked for the port of {name}")
    }
    fn addr_to_host(&self, address: IpAddr) -> Option<String> {
        panic!("asked for the name of {address}")
    }
    fn port_to_service(&self, port: u16, _: Protocol) -> Option<String> {
        panic!("asked for the name of {port}")
    }
}

#[test]
fn numbers_need_no_names() {
    let mut director = Director::default();
    for (line, names) in [
        ("-A -t 192.0.2.1:80 -p -M 255.0.0.0", &NoNames as &dyn Names),
        ("-a -t 192.0.2.1:80 -r [2001:db8::1]:80 -i", &NoNames),
        ("-Ln", &NoNames),
        ("-Sn", &NoNames),
        ("-Lnc", &NoNames),
        ("-L", &Hosts),
    ] {
        let mut session = Session {
            program: "ipvsadm".to_owned(),
            root: true,
            names,
            control: &mut director,
            input: &mut std::io::empty(),
            out: &mut std::io::sink(),
            err: &mut std::io::sink(),
        };
        assert_eq!(session.run(Personality::Ipvsadm, &words(line)).unwrap(), 0, "{line}");
    }
}
