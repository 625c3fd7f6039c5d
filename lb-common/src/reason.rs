//! Why a packet was not forwarded: each is counted, named and documented.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $n:literal, $name:literal, drop: $drop:literal;)*) => {
        /// Why a packet was passed to the director's own stack, answered or dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $variant = $n,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in listings and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// What it means, in words for an operator.
            #[must_use]
            pub const fn doc(self) -> &'static str { match self { $(Self::$variant => concat!($($doc,)*),)* } }

            /// Whether the packet was dropped; otherwise the stack got it.
            #[must_use]
            pub const fn is_drop(self) -> bool { match self { $(Self::$variant => $drop,)* } }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6 (ARP and everything else of the link).
    NotIp = 0, "not-ip", drop: false;
    /// The frame carries a VLAN tag, which is not balanced yet.
    VlanTagged = 1, "vlan-tagged", drop: false;
    /// The frame is not addressed to a MAC of this director.
    NotOurMac = 2, "not-our-mac", drop: false;
    /// Lengths or version of the IP or transport header cannot be.
    Malformed = 3, "malformed", drop: false;
    /// A fragment of a datagram, which is not balanced yet.
    Fragment = 4, "fragment", drop: false;
    /// A transport protocol that is not balanced (ICMP among them).
    NotBalancedProtocol = 5, "not-balanced-protocol", drop: false;
    /// IPv6 extension headers that are not balanced yet.
    ExtensionHeader = 6, "extension-header", drop: false;
    /// No virtual service and no connection has this destination.
    NoService = 7, "no-service", drop: false;
    /// A TCP segment without connection that may not open one.
    NotAnOpener = 8, "not-an-opener", drop: false;
    /// The destination is the director itself: its own stack serves the packet.
    Local = 9, "local", drop: false;
    /// The interface is not one of the director's.
    UnknownInterface = 10, "unknown-interface", drop: false;
    /// The client's port is 20 (FTP data), which is never scheduled.
    FtpData = 11, "ftp-data", drop: false;
    /// No destination could take the connection; answered with port unreachable.
    NoDestination = 12, "no-destination", drop: true;
    /// An ICMP error was due but its rate is limited.
    IcmpRateLimited = 13, "icmp-rate-limited", drop: true;
    /// The connection's destination was removed, or its service.
    DestinationRemoved = 14, "destination-removed", drop: true;
    /// Every place of the connection in the table is taken by an established one. Its packets go on without an entry,
    /// all to one destination; only NAT drops them.
    ConnectionTableFull = 15, "connection-table-full", drop: true;
    /// The MAC of the destination's next hop is not known.
    NeighbourUnresolved = 16, "neighbour-unresolved", drop: true;
    /// The time to live, or hop limit, ends here; answered with time exceeded.
    TtlExceeded = 17, "ttl-exceeded", drop: true;
    /// No next hop towards the client of a NAT connection is known; lbd is asked to resolve it.
    ClientUnresolved = 18, "client-unresolved", drop: true;
    /// Another processor is changing the same place of the connection table.
    Contended = 19, "contended", drop: true;
    /// The frame could not be rewritten: no room, shorter than its headers say, or too long for a checksum over all
    /// of it.
    RewriteFailed = 20, "rewrite-failed", drop: true;
    /// A map that the program needs is missing an element: a defect.
    Internal = 21, "internal", drop: true;
    /// The destination's forwarding method is not in this version's data path.
    MethodUnsupported = 22, "method-unsupported", drop: true;
    /// A packet that would open a connection, dropped because `drop_packet` is active.
    Shed = 23, "drop-packet", drop: true;
    /// The packet does not fit on the way to its destination and must not be fragmented; answered with
    /// fragmentation needed, or packet too big.
    PacketTooBig = 24, "packet-too-big", drop: true;
    /// The packet does not fit on the way to its destination. It might be fragmented, which XDP cannot: the stack,
    /// which could, would take a packet to a virtual address for its own.
    NotFragmented = 25, "not-fragmented", drop: true;
    /// A service with persistence engine sip got what is no SIP message: no Call-ID was found.
    NoCallId = 26, "no-call-id", drop: true;
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn numbers_are_indices_and_every_one_is_documented() {
        assert!(Reason::ALL.len() <= crate::abi::REASONS as usize);
        for (i, r) in Reason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
            assert!(r.doc().len() > 20, "{}", r.name());
        }
    }
}
