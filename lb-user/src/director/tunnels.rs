//! Settings of tunnels.

use super::Director;
use super::state::Destination;
use crate::config::Config;
use crate::model::{ForwardingMethod, ServiceKey, Tunnel, TunnelChecksum, TunnelKind, TunnelSettings};

/// The encapsulation of a tunnel of which nothing is said.
pub(super) const IPIP: Tunnel = Tunnel { kind: TunnelKind::Ipip, port: 0, checksum: TunnelChecksum::None };

impl Director {
    /// Takes over what a configuration says of tunnels.
    pub(super) fn set_tunnels(&mut self, config: &Config) {
        if config.tunnels == self.tunnels && config.service_tunnels == self.service_tunnels {
            return;
        }
        self.tunnels = config.tunnels;
        self.service_tunnels.clone_from(&config.service_tunnels);
        let tunnels = self.destinations.iter().filter(|(_, d)| d.spec.method == ForwardingMethod::Tunnel);
        self.touched.destinations.extend(tunnels.map(|(id, _)| *id));
    }

    /// What is said of a service's tunnels, by itself or for all.
    pub(super) fn tunnels_of(&self, key: &ServiceKey) -> TunnelSettings {
        self.service_tunnels.get(key).copied().unwrap_or_default().or(self.tunnels)
    }

    /// Whether packets to a destination need an address of the director in their outer header.
    pub(super) fn needs_source(&self, d: &Destination) -> bool {
        if d.spec.method != ForwardingMethod::Tunnel {
            return false;
        }
        let network = self.tunnels_of(&d.service).outer_source;
        let family = network.is_some_and(|n| n.address().is_ipv6() == d.spec.address.is_ipv6());
        !family || d.spec.tunnel.unwrap_or(IPIP).kind == TunnelKind::Gue
    }
}
