//! A director and a real server, each in a network namespace of its own, on one wire.

use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::model::NextHop;
use crate::netlink::{NetEvent, Netlink};

/// MAC of the real server at first.
pub(super) const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
/// For a test as a whole.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a line of shell in the namespace of the calling thread; its output.
pub(super) fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A namespace other than the caller's, that lives as long as its thread.
pub(super) struct Server {
    lines: Option<mpsc::Sender<String>>,
    done: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
    tid: i32,
}

impl Server {
    fn start() -> Self {
        let (lines, work) = mpsc::channel::<String>();
        let (report, done) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            tell.send(gettid().as_raw()).unwrap();
            for line in work {
                shell(&line);
                report.send(()).unwrap();
            }
        });
        let tid = told.recv().unwrap();
        Self { lines: Some(lines), done, thread: Some(thread), tid }
    }

    /// Runs a line of shell there.
    pub(super) fn shell(&self, line: &str) {
        self.lines.as_ref().unwrap().send(line.to_owned()).unwrap();
        self.done.recv().unwrap();
    }

    /// Changes its MAC without a word to anybody.
    pub(super) fn move_to(&self, mac: [u8; 6]) {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        self.shell(&format!("ip link set eth1 address {mac}"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What a test works with.
pub(super) struct Site {
    pub(super) netlink: Netlink,
    pub(super) events: tokio::sync::mpsc::Receiver<NetEvent>,
    pub(super) server: Server,
}

/// Runs a test in the director's namespace: eth0 is 192.0.2.1 and 2001:db8::1; on its other end the real
/// server has .11 and .12, ::11 and ::12.
pub(super) fn with_site(test: impl AsyncFnOnce(Site) + Send + 'static) {
    let director = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let server = Server::start();
        // Without a link-local address that has passed its duplicate detection, which takes a second or two, the
        // kernel sends no solicitation of ours: none is to be done here.
        shell(&format!(
            "ip link set lo up
            ip link add eth0 address 02:00:00:00:00:01 type veth peer name eth1 address 02:00:00:00:00:11
            ip link set eth1 netns {}
            echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad
            echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
            ip address add 192.0.2.1/24 dev eth0
            ip address add 2001:db8::1/64 dev eth0 nodad
            ip link set eth0 up",
            server.tid
        ));
        server.shell(
            "echo 0 > /proc/sys/net/ipv4/conf/all/arp_notify
            echo 0 > /proc/sys/net/ipv4/conf/eth1/arp_notify
            echo 0 > /proc/sys/net/ipv6/conf/all/ndisc_notify
            echo 0 > /proc/sys/net/ipv6/conf/eth1/ndisc_notify
            ip address add 192.0.2.11/24 dev eth1
            ip address add 192.0.2.12/24 dev eth1
            ip address add 2001:db8::11/64 dev eth1 nodad
            ip address add 2001:db8::12/64 dev eth1 nodad
            ip link set eth1 up",
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut netlink = Netlink::new().unwrap();
            let events = netlink.events().unwrap();
            let test = test(Site { netlink, events, server });
            tokio::time::timeout(LIMIT, test).await.unwrap();
        });
    });
    if let Err(panic) = director.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Site {
    pub(super) fn watch(&self, addresses: &[&str]) {
        self.netlink.watch(addresses.iter().map(|address| ip(address)).collect());
    }

    /// Waits for an event, at most so long; how long it took.
    pub(super) async fn wait(
        &mut self,
        what: &str,
        within: Duration,
        mut is: impl FnMut(&NetEvent) -> bool,
    ) -> Duration {
        let start = Instant::now();
        let found = async {
            loop {
                if is(&self.events.recv().await.unwrap()) {
                    break;
                }
            }
        };
        let found = tokio::time::timeout(within, found).await;
        assert!(found.is_ok(), "no {what} within {within:?}");
        start.elapsed()
    }

    /// Waits for a watched address to go to a MAC.
    pub(super) async fn resolved(&mut self, address: &str, to: [u8; 6], within: Duration) -> Duration {
        let what = format!("{address} at {to:02x?}");
        self.wait(&what, within, |event| match event {
            NetEvent::NextHop { address: of, next_hop: NextHop::Resolved { mac, .. } } => {
                *of == ip(address) && *mac == to
            }
            _ => false,
        })
        .await
    }

    /// Waits for a watched address to be unresolved, for a reason with these words.
    pub(super) async fn unresolved(&mut self, address: &str, words: &str, within: Duration) -> Duration {
        let what = format!("{address} unresolved: {words}");
        self.wait(&what, within, |event| match event {
            NetEvent::NextHop { address: of, next_hop: NextHop::Unresolved { why } } => {
                *of == ip(address) && why.contains(words)
            }
            _ => false,
        })
        .await
    }

    /// The events of a time.
    pub(super) async fn during(&mut self, time: Duration) -> Vec<NetEvent> {
        let mut events = Vec::new();
        let collect = async {
            while let Some(event) = self.events.recv().await {
                events.push(event);
            }
        };
        drop(tokio::time::timeout(time, collect).await);
        events
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
