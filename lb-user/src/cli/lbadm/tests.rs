//! The texts and the exit codes of lbadm's own subcommands.

use clap::CommandFactory;

use super::super::ipvsadm::NoNames;
use super::*;
use crate::api::{
    AnsweredElsewhere, DestinationView, ErrorKind, InterfaceStatus, Neighbour, Rates, ReasonCount,
    ServiceView, Stats, Status,
};
use crate::model::{
    DestinationSpec, ForwardingMethod, Fwmark, MarkOwner, MarkRule, MarkTarget, Netmask, OwnedMarkRule,
    Owner, Persistence, PortSpan, Ports, Protocol, Scheduler, SchedulerFlags, ServiceKey, ServiceSpec, Test,
};

/// Gives one prepared answer to whatever is asked.
struct Prepared(Result<Vec<Response>, ControlError>);

impl Control for Prepared {
    fn ask(&mut self, _: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        self.0.clone().map(|answer| answer.into_iter().for_each(part))
    }

    fn detach(&mut self) -> Result<Vec<String>, ControlError> {
        self.0.clone().map(|_| vec!["eth0".to_owned(), "eth1".to_owned()])
    }
}

#[test]
fn detach_names_the_interfaces_or_says_why_not() {
    let done = printed(&["detach"], Ok(vec![]));
    let text = "detached from eth0, eth1; services and connections are forgotten\n".to_owned();
    assert_eq!(done, (0, text, String::new()));
    let message = "lbd of instance default is running".to_owned();
    let refused = printed(&["detach"], Err(ControlError { message, hint: Some("stop it first".to_owned()) }));
    let text = "error: cannot detach: lbd of instance default is running\nhint: stop it first\n".to_owned();
    assert_eq!(refused, (1, String::new(), text));
}

fn printed(words: &[&str], answer: Result<Vec<Response>, ControlError>) -> (u8, String, String) {
    let cli = Cli::try_parse_from(["lbadm"].iter().chain(words)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(cli.command, &mut Prepared(answer), &NoNames, &mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn destination(address: &str, neighbour: Neighbour) -> DestinationView {
    DestinationView {
        destination: DestinationSpec {
            address: address.parse().unwrap(),
            method: ForwardingMethod::DirectRoute,
            weight: 100,
            upper: 0,
            lower: 0,
            tunnel: None,
        },
        owner: Owner::Operator,
        active: 3,
        inactive: 12_345,
        persistent: 0,
        overloaded: false,
        stats: Stats::default(),
        rates: Rates::default(),
        neighbour,
    }
}

fn services() -> Vec<ServiceView> {
    let mark = ServiceView {
        service: ServiceSpec {
            key: ServiceKey::Fwmark(Fwmark { mark: 3, ipv6: true }),
            scheduler: Scheduler::Rr,
            flags: SchedulerFlags(0),
            persistence: None,
            netmask: Netmask::V6(128),
            one_packet: true,
            persistence_engine: None,
            mh_table_size: None,
        },
        owner: Owner::Operator,
        stats: Stats::default(),
        rates: Rates::default(),
        destinations: vec![],
    };
    let (mac, interface) = ("02:00:00:00:00:11".to_owned(), "eth1".to_owned());
    let on_link = Neighbour::Resolved { mac, interface, gateway: None };
    let via = Neighbour::Resolved {
        mac: "02:00:00:00:00:01".to_owned(),
        interface: "eth1".to_owned(),
        gateway: "198.51.100.1".parse().ok(),
    };
    let why = "no answer to ARP on eth1".to_owned();
    let mut limited = destination("198.51.100.13:80", Neighbour::Unresolved { why });
    limited.destination.upper = 10;
    limited.destination.lower = 5;
    limited.overloaded = true;
    limited.owner = Owner::Configuration;
    let web = ServiceView {
        service: ServiceSpec {
            key: ServiceKey::Address { protocol: Protocol::Tcp, address: "192.0.2.1:80".parse().unwrap() },
            scheduler: Scheduler::Sh,
            flags: SchedulerFlags(SchedulerFlags::PORT),
            persistence: Some(Persistence { timeout: 360 }),
            netmask: Netmask::V4(0xffff_ff00),
            one_packet: false,
            persistence_engine: None,
            mh_table_size: None,
        },
        owner: Owner::Configuration,
        destinations: vec![
            limited,
            destination("203.0.113.9:80", via),
            destination("198.51.100.11:80", on_link),
            destination("127.0.0.1:80", Neighbour::Local),
        ],
        ..mark.clone()
    };
    vec![mark, web]
}

fn in_two_parts() -> Vec<Response> {
    let mut parts: Vec<Response> =
        services().into_iter().map(|s| Response::Services { services: vec![s] }).collect();
    parts.push(Response::Done);
    parts
}

#[test]
fn a_table_of_services() {
    let (code, out, err) = printed(&["list"], Ok(in_two_parts()));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "\
192.0.2.1:80/tcp  sh (sh-port), persistent 360 s by 255.255.255.0  (configuration)
  DESTINATION       METHOD  WEIGHT  ACTIVE  INACTIVE  LOWER  UPPER      OWNER          NEIGHBOUR
  127.0.0.1:80      Route   100     3       12345     -      -          operator       this machine
  198.51.100.11:80  Route   100     3       12345     -      -          operator       02:00:00:00:00:11 on eth1
  198.51.100.13:80  Route   100     3       12345     5      10 (over)  configuration  unresolved: no answer to ARP on eth1
  203.0.113.9:80    Route   100     3       12345     -      -          operator       02:00:00:00:00:01 on eth1 via 198.51.100.1

fwmark 3 IPv6  rr, one-packet  (operator)
  no destinations
");
    let (_, empty, _) = printed(&["list"], Ok(vec![Response::Done]));
    assert_eq!(empty, "no services\n");
}

#[test]
fn services_as_json_are_those_of_the_control_socket() {
    let (code, out, _) = printed(&["list", "--json"], Ok(in_two_parts()));
    assert_eq!(code, 0);
    let read: Vec<ServiceView> = serde_json::from_str(&out).unwrap();
    let mut sorted = services();
    sort(&mut sorted);
    assert_eq!(read, sorted);
    assert_eq!(printed(&["list", "--json"], Ok(vec![Response::Done])).1, "[]\n");
}

fn state(forwarding: bool) -> Status {
    let interface = |name: &str, mode: &str| InterfaceStatus {
        name: name.to_owned(),
        mode: mode.to_owned(),
        program: 42,
    };
    let reason = |name: &str, drop, packets| ReasonCount { reason: name.to_owned(), drop, packets };
    Status {
        instance: "edge".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 77,
        forwarding,
        interfaces: vec![interface("eth0", "xdp native"), interface("eth1", "xdp generic")],
        services: 2,
        destinations: 4,
        connections4: (1_048_576, 12),
        connections6: (1_048_576, 0),
        reasons: vec![
            reason("no service", false, 1234),
            reason("no destination", true, 5),
            reason("fragment", false, 1),
        ],
        answered_elsewhere: vec![AnsweredElsewhere {
            address: "192.0.2.2".parse().unwrap(),
            mac: "02:00:00:00:00:99".to_owned(),
            interface: "eth0".to_owned(),
        }],
        warnings: vec!["nobody answers ARP for 192.0.2.1".to_owned()],
    }
}

#[test]
fn the_status_tells_by_its_exit_code_whether_lbd_forwards() {
    let (code, out, _) = printed(&["status"], Ok(vec![Response::Status(state(true))]));
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "\
instance           edge
lbd                0.1.0, pid 77
forwarding         yes
interfaces         eth0: xdp native, program 42
                   eth1: xdp generic, program 42
services           2
destinations       4
connections IPv4   12 in 1048576 slots
connections IPv6   0 in 1048576 slots
packets passed on  1234 no service
                   1 fragment
packets dropped    5 no destination
elsewhere          192.0.2.2 is answered for by 02:00:00:00:00:99 on eth0
warning: nobody answers ARP for 192.0.2.1
"
    );
    let (code, out, _) = printed(&["status"], Ok(vec![Response::Status(state(false))]));
    assert_eq!(code, 1);
    assert!(out.contains("forwarding         no\n"), "{out}");
    let (code, out, _) = printed(&["status", "--json"], Ok(vec![Response::Status(state(true))]));
    assert_eq!((code, serde_json::from_str(&out).ok()), (0, Some(state(true))));
}

#[test]
fn marks_in_their_order() {
    let owned = |rule: MarkRule, owner| OwnedMarkRule { rule, owner };
    let web = MarkRule {
        destination: Some(Test::is("192.0.2.2/31".parse().unwrap())),
        protocol: Some(Test::is(6)),
        destination_ports: Some(Test::is(Ports(vec![PortSpan::one(80), PortSpan::one(443)]))),
        ..MarkRule::new(false, MarkTarget::set(1))
    };
    let peer = MarkRule {
        mac: Some(Test::not("02:00:00:00:00:09".parse().unwrap())),
        comment: "not the peer".to_owned(),
        ..MarkRule::new(false, MarkTarget::Mark { value: 4, mask: 4 })
    };
    let six = MarkRule::new(true, MarkTarget::Accept);
    let rules = vec![
        owned(web, MarkOwner::Configuration),
        owned(peer, MarkOwner::Operator),
        owned(six, MarkOwner::Import),
    ];
    let (code, out, _) = printed(&["marks"], Ok(vec![Response::Marks { rules: rules.clone() }]));
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "\
IPV4  MARK    OWNER          PACKETS
1     1       configuration  -d 192.0.2.2/31 -p tcp -m multiport --dports 80,443
2     or 0x4  operator       -m mac ! --mac-source 02:00:00:00:00:09 -m comment --comment \"not the peer\"
IPV6  MARK    OWNER   PACKETS
1     accept  import  every one
"
    );
    let (_, out, _) = printed(&["marks", "--json"], Ok(vec![Response::Marks { rules: rules.clone() }]));
    assert_eq!(serde_json::from_str::<Vec<OwnedMarkRule>>(&out).unwrap(), rules);
    assert_eq!(printed(&["marks"], Ok(vec![Response::Marks { rules: vec![] }])).1, "no marks\n");
}

#[test]
fn refused_and_unreachable_have_codes_of_their_own() {
    let refusal = Refusal {
        kind: ErrorKind::Internal,
        message: "cannot read the map SERVICES".to_owned(),
        hint: Some("look at the log of lbd".to_owned()),
    };
    let unreachable = ControlError { message: "lbd does not answer".to_owned(), hint: None };
    for (word, failing) in [("list", "list services"), ("status", "tell the status"), ("marks", "list marks")]
    {
        let answer = Ok(vec![Response::Refused(refusal.clone())]);
        let text =
            format!("error: cannot {failing}: cannot read the map SERVICES\nhint: look at the log of lbd\n");
        assert_eq!(printed(&[word], answer), (1, String::new(), text));
        let (code, out, err) = printed(&[word], Err(unreachable.clone()));
        assert_eq!((code, out.as_str()), (3, ""));
        assert!(err.starts_with(&format!("error: cannot {failing}: lbd does not answer")), "{err}");
    }
}

#[test]
fn the_command_line_is_sound_and_its_help_shows_both_grammars() {
    Cli::command().debug_assert();
    Globals::command().debug_assert();
    let help = Cli::command().render_long_help().to_string();
    for text in ["status", "--instance <NAME>", "lbadm -A|-E SERVICE", "--tun-type ipip|gue|gre"] {
        assert!(help.contains(text), "{text} is not in\n{help}");
    }
}

#[test]
fn what_everything_counted() {
    let stats =
        Stats { connections: 177, in_packets: 928, out_packets: 510, in_bytes: 69_241, out_bytes: 59_548 };
    let rates = Rates { connections: 1, in_packets: 20, out_packets: 3, in_bytes: 1300, out_bytes: 4 };
    let answer = || Ok(vec![Response::Stats { stats, rates }]);
    let (code, out, _) = printed(&["stats"], answer());
    assert_eq!(code, 0);
    let expected = [
        "             TOTAL  PER SECOND",
        "connections  177    1",
        "packets in   928    20",
        "packets out  510    3",
        "bytes in     69241  1300",
        "bytes out    59548  4",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
    // The columns of /proc/net/ip_vs_stats.
    let (_, out, _) = printed(&["stats", "--proc"], answer());
    let expected = [
        "   Total Incoming Outgoing         Incoming         Outgoing",
        "   Conns  Packets  Packets            Bytes            Bytes",
        "      B1      3A0      1FE            10E79             E89C",
        "",
        " Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s",
        "       1       14        3              514                4",
        "",
    ];
    assert_eq!(out, expected.join("\n"));
    let (_, out, _) = printed(&["stats", "--json"], answer());
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["stats"]["in_bytes"], &value["rates"]["in_packets"]), (&69_241.into(), &20.into()));
}
