//! What an operator should look at (`lbadm status`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Director;
use super::hops::Route;
use crate::model::{ForwardingMethod, ServiceKey};

/// Warnings of one kind, at most: a whole site that is down is not told server by server.
const MOST: usize = 20;

impl Director {
    /// Everything that is configured and will not work as it stands, in words.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.reload_warnings.clone();
        warnings.extend(self.active_defences());
        shorten(&mut warnings, self.unanswered());
        shorten(&mut warnings, self.unreachable());
        warnings
    }

    /// Virtual addresses for which nobody answers ARP, as far as this host can tell.
    fn unanswered(&self) -> Vec<String> {
        let Some(own) = &self.addresses else { return Vec::new() };
        let vips: BTreeSet<IpAddr> = self
            .services
            .keys()
            .filter_map(|key| match key {
                ServiceKey::Address { address, .. } => Some(address.ip()),
                ServiceKey::Fwmark(_) => None,
            })
            .filter(|address| !own.contains(address) && !address.is_loopback())
            .collect();
        let asks = |a: &IpAddr| if a.is_ipv6() { "neighbour solicitations" } else { "ARP" };
        vips.iter()
            .map(|a| {
                let width = if a.is_ipv6() { 128 } else { 32 };
                format!(
                    "no address of this host answers {} for {a}: add it to an interface (ip address add {a}/{width} dev ...), or have routers send its packets here",
                    asks(a)
                )
            })
            .collect()
    }

    fn unreachable(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for d in self.destinations.values().filter(|d| d.removed_at.is_none()) {
            let (service, address) = (&d.service, d.spec.address);
            match self.route(d) {
                Route::None(why) => warnings
                    .push(format!("destination {address} of {service} gets no new connections: {why}")),
                Route::Hop { link, .. } if !link.attached && d.spec.method == ForwardingMethod::Masq => {
                    warnings.push(format!(
                        "packets to destination {address} of {service} leave by {}, where the director is not attached: replies of NAT are not rewritten there (start lbd with --interface {0} too)",
                        link.name
                    ));
                }
                Route::Hop { .. } | Route::Local | Route::Unknown => {}
            }
        }
        warnings
    }
}

fn shorten(warnings: &mut Vec<String>, more: Vec<String>) {
    let rest = more.len().saturating_sub(MOST);
    warnings.extend(more.into_iter().take(MOST));
    if rest > 0 {
        warnings.push(format!("and {rest} more like this"));
    }
}
