//! SCTP, AH and ESP by raw frames: the kernels that this runs on need no SCTP of their own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netns_tests::{Agent, Director, Site};

/// The last bytes of the MACs, and the addresses, of the recordings' site.
const CLIENT: (u8, [u8; 4]) = (0x02, [203, 0, 113, 10]);
const DIRECTOR: u8 = 0x01;
const VIP: [u8; 4] = [192, 0, 2, 1];
const NAT_VIP: [u8; 4] = [192, 0, 2, 2];
const SERVER: (u8, [u8; 4]) = (0x11, [198, 51, 100, 11]);

/// Chunks (RFC 9260 section 3.2).
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;

/// Client, service and server use one port.
const PORT: u16 = 36_412;

/// CRC32c, bit by bit (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0x82f6_3b78 };
        }
    }
    !crc
}

/// The Internet checksum of a header.
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks(2).map(|pair| pair.iter().fold(0, |n, b| n << 8 | u32::from(*b))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// A frame with an IPv4 packet, in hexadecimal digits.
fn frame(macs: (u8, u8), from: [u8; 4], to: [u8; 4], ttl: u8, protocol: u8, body: &[u8]) -> String {
    let mut ip = vec![0x45, 0];
    ip.extend(u16::try_from(20 + body.len()).unwrap_or(0).to_be_bytes());
    ip.extend([0, 7, 0x40, 0, ttl, protocol, 0, 0]);
    ip.extend(from.iter().chain(&to));
    let sum = checksum(&ip).to_be_bytes();
    ip.splice(10..12, sum);
    let frame = [&[2, 0, 0, 0, 0, macs.1, 2, 0, 0, 0, 0, macs.0, 8, 0], &*ip, body].concat();
    frame.iter().map(|b| format!("{b:02x}")).collect()
}

/// An SCTP packet of one chunk.
fn sctp(kind: u8, from: u16, to: u16) -> Vec<u8> {
    let chunk = [kind, 0, 0, 8, 0xc0, 0xff, 0xee, kind];
    let mut packet = [&from.to_be_bytes()[..], &to.to_be_bytes(), &[9, 8, 7, 6, 0, 0, 0, 0], &chunk].concat();
    let sum = crc32c(&packet).to_le_bytes();
    packet.splice(8..12, sum);
    packet
}

/// Sends a frame from one end and takes what the other end gets of it.
fn goes(from: &mut Agent, to: &mut Agent, sent: &str, received: &str, what: &str) -> Result<()> {
    // The end of the packet, which nobody changes.
    let mark = &sent[sent.len() - 16..];
    to.capture("eth0")?;
    from.send_frame("eth0", sent)?;
    let got = to.frames("eth0", mark, 1, Duration::from_secs(3))?;
    ensure!(got == [received], "{what}: sent {sent}, expected {received}, got {got:?}");
    Ok(())
}

/// A site's two ends.
struct Ends {
    client: Agent,
    server: Agent,
}

impl Ends {
    fn start(site: &Site) -> Result<Self> {
        let client = Agent::start(&site.client(), site.dir())?;
        Ok(Self { client, server: Agent::start(&site.host("rs1"), site.dir())? })
    }

    /// Sends a packet to a service; the server must get it, by NAT with its own address.
    fn request(&mut self, service: [u8; 4], protocol: u8, body: &[u8], what: &str) -> Result<()> {
        let to = if service == NAT_VIP { SERVER.1 } else { service };
        let sent = frame((CLIENT.0, DIRECTOR), CLIENT.1, service, 64, protocol, body);
        let received = frame((DIRECTOR, SERVER.0), CLIENT.1, to, 63, protocol, body);
        goes(&mut self.client, &mut self.server, &sent, &received, what)
    }

    /// Sends a packet from the server of a NAT connection; the client must get it from the service.
    fn reply(&mut self, protocol: u8, body: &[u8], what: &str) -> Result<()> {
        let sent = frame((SERVER.0, DIRECTOR), SERVER.1, CLIENT.1, 64, protocol, body);
        let received = frame((DIRECTOR, CLIENT.0), NAT_VIP, CLIENT.1, 63, protocol, body);
        goes(&mut self.server, &mut self.client, &sent, &received, what)
    }
}

/// The states of the connections of a protocol, as `-Lnc` prints them.
fn states(director: &Director, protocol: &str) -> Result<Vec<String>> {
    let listing = director.adm("-Lnc")?;
    let lines = listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of = lines.filter(|words| words.first() == Some(&protocol));
    of.map(|words| words.get(2).map(ToString::to_string).context("a line without state")).collect()
}

/// The only destination there is: active and inactive connections, packets in and out.
fn counts(director: &Director) -> Result<[u64; 4]> {
    let [d] = <[_; 1]>::try_from(director.destinations()?).ok().context("not one destination")?;
    Ok([d.active, d.inactive, d.counters.in_packets, d.counters.out_packets])
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn associations_reach_their_server_and_their_client() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let mut ends = Ends::start(site)?;
        let director = Director::start(site)?;
        director.adm_all(&[
            "-A --sctp-service 192.0.2.1:36412 -s rr",
            "-a --sctp-service 192.0.2.1:36412 -r 198.51.100.11 -g",
        ])?;
        for (kind, state) in
            [(INIT, "INIT1"), (INIT, "INIT"), (COOKIE_ECHO, "ESTABLISHED"), (14, "ESTABLISHED")]
        {
            ends.request(VIP, 132, &sctp(kind, PORT, PORT), "direct routing")?;
            ensure!(states(&director, "SCTP")? == [state], "after chunk {kind}: {}", director.adm("-Lnc")?);
        }
        let counted = counts(&director)?;
        ensure!(counted == [1, 0, 4, 0], "direct routing counted {counted:?}");
        director.adm("-C")?;

        director.adm_all(&[
            "-A --sctp-service 192.0.2.2:36412 -s rr",
            "-a --sctp-service 192.0.2.2:36412 -r 198.51.100.11 -m",
        ])?;
        let other = ["-a", "--sctp-service", "192.0.2.2:36412", "-r", "198.51.100.12:99", "-m"];
        let refused = director.lbadm(&other)?;
        ensure!(refused.code != 0, "another port was taken");
        ensure!(refused.stderr.contains("-r 198.51.100.12:36412"), "{}", refused.stderr);
        let saved = director.adm("-Sn")?;
        let service = "--sctp-service 192.0.2.2:36412";
        let right = format!("-A {service} -s rr\n-a {service} -r 198.51.100.11:36412 -m -w 1\n");
        ensure!(saved == right, "{saved}");
        let own = 40_001;
        ends.request(NAT_VIP, 132, &sctp(INIT, own, PORT), "NAT, INIT")?;
        ends.reply(132, &sctp(INIT_ACK, PORT, own), "NAT, INIT ACK")?;
        ends.request(NAT_VIP, 132, &sctp(COOKIE_ECHO, own, PORT), "NAT, COOKIE ECHO")?;
        let listed = states(&director, "SCTP")?;
        ensure!(listed.contains(&"C-REPLIED".to_owned()), "{}", director.adm("-Lnc")?);
        ends.reply(132, &sctp(COOKIE_ACK, PORT, own), "NAT, COOKIE ACK")?;
        let counted = counts(&director)?;
        // The two hosts know no SCTP: they may answer each packet with an ICMP error, which goes the connection's way too.
        let [active, inactive, from_client, from_server] = counted;
        ensure!([active, inactive] == [1, 0], "NAT counted {counted:?}");
        ensure!((2..=4).contains(&from_client) && (2..=4).contains(&from_server), "NAT counted {counted:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn ipsec_follows_its_key_exchange() -> Result<()> {
    const ESP: u8 = 50;
    Site::nat_dr()?.test(|site| {
        let mut ends = Ends::start(site)?;
        let director = Director::start(site)?;
        let packet = [&[0, 0, 0x10, 0x20, 0, 0, 0, 1][..], b"sealed for the ends alone"].concat();
        // Both ports 500, no checksum.
        let isakmp = [&[1, 0xf4, 1, 0xf4, 0, 24, 0, 0][..], b"ISAKMP, at least"].concat();
        for (vip, name, method) in [(VIP, "192.0.2.1", "-g"), (NAT_VIP, "192.0.2.2", "-m")] {
            director.adm_all(&[
                &format!("-A -u {name}:500 -s rr"),
                &format!("-a -u {name}:500 -r 198.51.100.11 {method}"),
            ])?;
            ends.request(vip, 17, &isakmp, "ISAKMP")?;
            ends.request(vip, ESP, &packet, "ESP")?;
            let nat = vip == NAT_VIP;
            if nat {
                ends.reply(ESP, &packet, "ESP from the server")?;
            }
            let counted = counts(&director)?;
            // Nobody listens on port 500: by NAT the ICMP error about it comes by as well.
            let answers = u64::from(nat)..=2 * u64::from(nat);
            let [active, inactive, from_client, from_server] = counted;
            ensure!([active, inactive, from_client] == [0, 1, 2], "{method} counted {counted:?}");
            ensure!(answers.contains(&from_server), "{method} counted {counted:?}");
            director.adm("-C")?;
        }
        Ok(())
    })
}
