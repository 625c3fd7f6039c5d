//! Single questions to the kernel.

use std::net::IpAddr;
use std::pin::pin;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};

use super::error::failed;
use super::{Link, NetlinkError};

/// What the kernel knows of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// State, `NUD_*`.
    pub(super) state: NeighbourState,
    /// MAC, where it is one and the state vouches for it.
    pub(super) mac: Option<[u8; 6]>,
    /// Someone else than the kernel's own discovery keeps it: not to be probed.
    pub(super) managed: bool,
}

impl Neighbour {
    /// The neighbour of a message, with its address; `None` for what is no IP neighbour.
    pub(super) fn from_message(message: &NeighbourMessage) -> Option<(u32, IpAddr, Self)> {
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => address = Some((*a).into()),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => address = Some((*a).into()),
                NeighbourAttribute::LinkLayerAddress(a) => mac = <[u8; 6]>::try_from(a.as_slice()).ok(),
                _ => {}
            }
        }
        let state = message.header.state;
        // NUD_VALID (include/net/neighbour.h).
        let valid = matches!(
            state,
            NeighbourState::Reachable
                | NeighbourState::Stale
                | NeighbourState::Delay
                | NeighbourState::Probe
                | NeighbourState::Permanent
                | NeighbourState::Noarp
        );
        let fixed = matches!(state, NeighbourState::Permanent | NeighbourState::Noarp);
        let managed = fixed || message.header.flags.contains(NeighbourFlags::ExtLearned);
        let neighbour = Self { state, mac: mac.filter(|_| valid), managed };
        Some((message.header.ifindex, address?, neighbour))
    }
}

/// The subnet of an address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    /// Kernel index of its interface.
    pub(super) ifindex: u32,
    /// An address in it.
    pub(super) address: IpAddr,
    /// Length of its prefix.
    pub(super) prefix: u8,
}

impl Subnet {
    fn from_message(message: &AddressMessage) -> Option<Self> {
        // Of a point-to-point link this is the other end, whose subnet is meant (rtnetlink(7): IFA_ADDRESS).
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })?;
        Some(Self { ifindex: message.header.index, address, prefix: message.header.prefix_len })
    }

    /// Whether an address lies in it; one with the whole address as prefix has no neighbours.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, bits: u32| {
            let host = bits.saturating_sub(self.prefix.into());
            host != 0 && (a ^ b).checked_shr(host).unwrap_or(0) == 0
        };
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

/// Questions to the kernel, on one socket.
#[derive(Debug, Clone)]
pub(super) struct Requests(pub(super) Handle);

impl Requests {
    /// Every interface.
    pub(super) async fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let doing = "list interfaces";
        let messages: Vec<_> =
            self.0.link().get().execute().try_collect().await.map_err(|e| failed(doing, e))?;
        Ok(messages.iter().filter_map(Link::from_message).collect())
    }

    /// An interface by its index; `None` where there is none.
    pub(super) async fn link_at(&self, ifindex: u32) -> Result<Option<Link>, NetlinkError> {
        self.one_link(self.0.link().get().match_index(ifindex).execute()).await
    }

    /// An interface by its name; `None` where there is none.
    pub(super) async fn link_named(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        // No interface can have these; the kernel would refuse them each in another way.
        if name.is_empty() || name.len() >= libc::IFNAMSIZ {
            return Ok(None);
        }
        self.one_link(self.0.link().get().match_name(name).execute()).await
    }

    async fn one_link(
        &self,
        answer: impl Stream<Item = Result<netlink_packet_route::link::LinkMessage, rtnetlink::Error>>,
    ) -> Result<Option<Link>, NetlinkError> {
        let doing = "look an interface up";
        match first(answer, doing).await {
            Ok(message) => Ok(Link::from_message(&message)),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The addresses of this host, with their interfaces.
    pub(super) async fn addresses(&self) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
        Ok(self
            .address_messages()
            .await?
            .iter()
            .filter_map(|m| Some((m.header.index, own_address(m)?)))
            .collect())
    }

    /// The subnets that this host's addresses put on its interfaces.
    pub(super) async fn subnets(&self) -> Result<Vec<Subnet>, NetlinkError> {
        Ok(self.address_messages().await?.iter().filter_map(Subnet::from_message).collect())
    }

    async fn address_messages(&self) -> Result<Vec<AddressMessage>, NetlinkError> {
        let doing = "list addresses";
        self.0.address().get().execute().try_collect().await.map_err(|e| failed(doing, e))
    }

    /// The route towards an address.
    pub(super) async fn route(&self, address: IpAddr) -> Result<RouteMessage, NetlinkError> {
        let mut message = RouteMessage::default();
        (message.header.address_family, message.header.destination_prefix_length) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        first(self.0.route().get(message).execute(), "look a route up").await
    }

    /// The neighbour entry of an address; `None` where there is none.
    pub(super) async fn neighbour(
        &self,
        ifindex: u32,
        address: IpAddr,
    ) -> Result<Option<Neighbour>, NetlinkError> {
        let doing = "look a neighbour up";
        let mut request =
            NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(neighbour_message(ifindex, address)));
        // Without NLM_F_DUMP the kernel answers with the one entry.
        request.header.flags = NLM_F_REQUEST;
        let answer = self.0.clone().request(request).map_err(|e| failed(doing, e))?;
        let answer = answer.map(|message| match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => Ok(message),
            NetlinkPayload::Error(error) => Err(rtnetlink::Error::NetlinkError(error)),
            _ => Err(rtnetlink::Error::UnexpectedMessage(message)),
        });
        match first(answer, doing).await {
            Ok(message) => Ok(Neighbour::from_message(&message).map(|(_, _, neighbour)| neighbour)),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every IP neighbour.
    pub(super) async fn neighbours(&self) -> Result<Vec<(u32, IpAddr, Neighbour)>, NetlinkError> {
        let doing = "list neighbours";
        let messages: Vec<_> =
            self.0.neighbours().get().execute().try_collect().await.map_err(|e| failed(doing, e))?;
        Ok(messages.iter().filter_map(Neighbour::from_message).collect())
    }

    /// Asks the kernel to resolve a neighbour as if a packet went there. Not for a permanent entry: `NTF_USE`
    /// would take the permanence away.
    pub(super) async fn resolve(&self, ifindex: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let mut message = neighbour_message(ifindex, address);
        message.header.flags = NeighbourFlags::Use;
        self.change(message, NLM_F_CREATE, "resolve a neighbour").await
    }

    /// Has the kernel ask a known neighbour by unicast whether its MAC is still right.
    pub(super) async fn probe(&self, ifindex: u32, address: IpAddr) -> Result<(), NetlinkError> {
        self.set_state(ifindex, address, NeighbourState::Probe, "probe a neighbour").await
    }

    /// Has the kernel ask everyone on the link who has the address, as if nothing were known of it.
    pub(super) async fn call(&self, ifindex: u32, address: IpAddr) -> Result<(), NetlinkError> {
        self.set_state(ifindex, address, NeighbourState::None, "forget a neighbour").await?;
        self.resolve(ifindex, address).await
    }

    /// Sets the state of an entry, and nothing else of it: the MAC is not sent along, so that one learned in
    /// the meantime stays; without `NLM_F_REPLACE` the flag of IPv6 routers stays (`neigh_add` in
    /// net/core/neighbour.c). An entry that has gone, or has lost its MAC, in the meantime is left alone.
    async fn set_state(
        &self,
        ifindex: u32,
        address: IpAddr,
        state: NeighbourState,
        doing: &'static str,
    ) -> Result<(), NetlinkError> {
        let mut message = neighbour_message(ifindex, address);
        message.header.state = state;
        match self.change(message, 0, doing).await {
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EINVAL)) => Ok(()),
            other => other,
        }
    }

    async fn change(
        &self,
        message: NeighbourMessage,
        flags: u16,
        doing: &'static str,
    ) -> Result<(), NetlinkError> {
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answer = self.0.clone().request(request).map_err(|e| failed(doing, e))?;
        while let Some(message) = answer.next().await {
            if let NetlinkPayload::Error(error) = message.payload {
                return Err(failed(doing, rtnetlink::Error::NetlinkError(error)));
            }
        }
        Ok(())
    }
}

/// A message about one entry of the neighbour table.
fn neighbour_message(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, destination) = match address {
        IpAddr::V4(a) => (AddressFamily::Inet, NeighbourAddress::Inet(a)),
        IpAddr::V6(a) => (AddressFamily::Inet6, NeighbourAddress::Inet6(a)),
    };
    message.header.family = family;
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}

/// The address of an address message: the own end of a point-to-point link.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = || {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    };
    local.or_else(address)
}

/// The first answer; what follows it (an acknowledgement) is read and dropped.
async fn first<T>(
    answer: impl Stream<Item = Result<T, rtnetlink::Error>>,
    doing: &'static str,
) -> Result<T, NetlinkError> {
    let mut answer = pin!(answer);
    match answer.next().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(failed(doing, error)),
        None => Err(NetlinkError::NoAnswer { doing, why: "the connection ended".into() }),
    }
}
