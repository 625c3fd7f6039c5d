//! The help text of the ipvsadm grammar.

/// The version line; scripts look for `ipvsadm v1.31` and for the version of IPVS.
pub(super) fn version() -> String {
    format!("ipvsadm v1.31 lbadm-{} (compiled with popt and IPVS v1.2.1)", env!("CARGO_PKG_VERSION"))
}

/// The help text of the grammar, for a program of this name.
#[must_use]
pub fn help(program: &str) -> String {
    TEXT.replace("PROGRAM", program)
}

const TEXT: &str = "\
Configures and lists the virtual services of the director lbd.

A command comes first, its options follow in any order; short ones may be joined (-Ln).

  PROGRAM -A|-E SERVICE [-s SCHEDULER] [-b FLAGS] [-p [SECONDS]] [-M NETMASK] [-o] [--pe ENGINE]
  PROGRAM -D SERVICE
  PROGRAM -a|-e SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]
  PROGRAM -d SERVICE -r SERVER
  PROGRAM -L|-l [-n] [SERVICE | -c | --timeout | --daemon] [LISTING]
  PROGRAM -Z [SERVICE]
  PROGRAM -C
  PROGRAM -S [-n]
  PROGRAM -R
  PROGRAM --set TCP TCPFIN UDP
  PROGRAM --start-daemon|--stop-daemon master|backup [SYNC]

Commands
  -A, --add-service      add a service
  -E, --edit-service     replace all options of a service; what is not given gets its default
  -D, --delete-service   delete a service with its servers
  -a, --add-server       add a server to a service
  -e, --edit-server      replace all options of a server; what is not given gets its default
  -d, --delete-server    delete a server
  -L, -l, --list         list services and servers, connections, timeouts or sync daemons
  -Z, --zero             set the counters of a service, or of all, to 0
  -C, --clear            delete every service
  -S, --save             print the commands that make the present services and servers
  -R, --restore          carry out such commands, one a line, from standard input
      --set              set three timeouts, seconds; 0 leaves one as it is
      --start-daemon, --stop-daemon
                         connection sync
  -h, --help             print this
  -v, --version          print the version

SERVICE is one of
  -t, --tcp-service HOST[:PORT]     a TCP address; IPv6 as [ADDRESS]:PORT
  -u, --udp-service HOST[:PORT]     a UDP address
      --sctp-service HOST[:PORT]    an SCTP address
  -f, --fwmark-service MARK [-6]    packets with a firewall mark, with -6 (--ipv6) the IPv6 ones

Options of services
  -s, --scheduler NAME        rr wrr lc wlc sh dh fo ovf sed nq; wlc if not given
  -b, --sched-flags LIST      sh-fallback, sh-port, flag-1 to flag-3, comma-separated
  -p, --persistent [SECONDS]  a client keeps its server; for 360 seconds if not given
  -M, --netmask MASK          what counts as one client: a mask, for IPv6 a prefix length
  -o, --ops                   one-packet scheduling (UDP, marks)
      --pe ENGINE             persistence engine

Options of servers
  -r, --real-server HOST[:PORT]  the server; its port is the service's if not given
  -g, --gatewaying            direct routing (the default)
  -i, --ipip                  tunnel
  -m, --masquerading          NAT
  -w, --weight N              0 to 65535; 1 if not given; 0 takes no new connections
  -x, --u-threshold N         no new connections from N on; 0 is no limit
  -y, --l-threshold N         and again from below N on
TUNNEL is any of
      --tun-type ipip|gue|gre, --tun-port PORT, --tun-nocsum, --tun-csum, --tun-remcsum

LISTING is any of
  -n, --numeric               addresses and ports as numbers
  -c, --connection            the connection entries
      --stats, --rate         counters, or rates per second
      --thresholds, --persistent-conn, --tun-info
                              other columns
  -X, --exact                 counters in full
      --nosort                in the director's own order
      --sort                  nothing: sorted is the default
SYNC is any of
      --mcast-interface IF, --mcast-group ADDRESS, --mcast-port PORT, --mcast-ttl N,
      --syncid N, --sync-maxlen BYTES
";
