//! What an operator should look at (`lbadm status`).

use super::Director;
use super::hops::Route;
use crate::model::ForwardingMethod;

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
