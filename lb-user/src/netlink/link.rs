//! Interfaces.

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};

/// Whether frames can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Up, with carrier.
    Up,
    /// Set down, or without carrier.
    Down,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Kernel index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// MAC; `None` where frames of it have none (loopback, tun).
    pub mac: Option<[u8; 6]>,
    /// MTU, bytes of IP.
    pub mtu: u32,
    /// Whether frames can pass.
    pub state: LinkState,
}

impl Link {
    /// An interface from the kernel's message; `None` where that lacks the name.
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        let (mut name, mut address, mut mtu) = (None, None, 0);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(n) => name = Some(n.clone()),
                LinkAttribute::Address(a) => address = <[u8; 6]>::try_from(a.as_slice()).ok(),
                LinkAttribute::Mtu(m) => mtu = *m,
                _ => {}
            }
        }
        let header = &message.header;
        let up = header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
        Some(Self {
            ifindex: header.index,
            name: name?,
            mac: address.filter(|_| header.link_layer_type == LinkLayerType::Ether),
            mtu,
            state: if up { LinkState::Up } else { LinkState::Down },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: LinkLayerType, flags: LinkFlags) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = kind;
        message.header.flags = flags;
        message.attributes = vec![
            LinkAttribute::IfName("eth0".into()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::Mtu(1500),
        ];
        message
    }

    #[test]
    fn an_interface_is_up_with_carrier_only() {
        let both = LinkFlags::Up | LinkFlags::LowerUp;
        let link = Link::from_message(&message(LinkLayerType::Ether, both)).unwrap();
        let expected = Link {
            ifindex: 7,
            name: "eth0".into(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            state: LinkState::Up,
        };
        assert_eq!(link, expected);
        let link = Link::from_message(&message(LinkLayerType::Ether, LinkFlags::Up)).unwrap();
        assert_eq!(link.state, LinkState::Down);
    }

    #[test]
    fn what_is_no_ethernet_has_no_mac() {
        let link = Link::from_message(&message(LinkLayerType::Loopback, LinkFlags::Up)).unwrap();
        assert_eq!(link.mac, None);
        assert_eq!(Link::from_message(&LinkMessage::default()), None);
    }
}
