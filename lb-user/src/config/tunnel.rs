//! What is said of tunnels: `[tunnels]`, the keys of a service, the encapsulation of a destination.

use super::reader::Reader;
use crate::model::{OuterNetwork, Tunnel, TunnelChecksum, TunnelKind, TunnelSettings};

/// Reads `mss-clamp` and `outer-source`.
pub(super) fn read_settings(table: &mut Reader<'_>) -> TunnelSettings {
    let mss_clamp = table.boolean("mss-clamp").map(|on| on.value);
    let outer_source = table.string("outer-source", "10.64.0.0/16").and_then(|text| {
        let network: Option<OuterNetwork> = text.value.parse().ok();
        if network.is_none() {
            let title = format!("`{}` is no network that outer addresses can come from", text.value);
            let help = "write an IPv4 network, or an IPv6 one of a prefix from 96 to 128: \
                        outer-source = \"10.64.0.0/16\"";
            table.errors().report(text.span.clone(), title, "", help);
        }
        network
    });
    TunnelSettings { mss_clamp, outer_source }
}

/// Reads `tunnel`, `tunnel-port` and `tunnel-checksum` of a destination; `is_tunnel` tells whether its method is one.
pub(super) fn read_tunnel(table: &mut Reader<'_>, is_tunnel: bool) -> Option<Tunnel> {
    const KEYS: [&str; 3] = ["tunnel", "tunnel-port", "tunnel-checksum"];
    let kind = table.string(KEYS[0], "gue").and_then(|name| match name.value {
        "ipip" => Some(TunnelKind::Ipip),
        "gue" => Some(TunnelKind::Gue),
        "gre" => Some(TunnelKind::Gre),
        other => {
            let title = format!("unknown encapsulation `{other}`");
            table.errors().report(name.span, title, "", "one of ipip, gue, gre");
            None
        }
    });
    let kind = kind.unwrap_or(TunnelKind::Ipip);
    let port = table.number(KEYS[1], &(1..=65_535), "").and_then(|port| u16::try_from(port.value).ok());
    let checksum = table.string(KEYS[2], "csum").and_then(|name| match name.value {
        "nocsum" => Some(TunnelChecksum::None),
        "csum" => Some(TunnelChecksum::Checksum),
        "remcsum" => Some(TunnelChecksum::Remote),
        other => {
            let title = format!("unknown checksum variant `{other}`");
            table.errors().report(name.span, title, "", "one of nocsum, csum, remcsum");
            None
        }
    });
    let given = KEYS.map(|key| table.has(key));
    if !is_tunnel {
        for (key, _) in KEYS.iter().zip(given).filter(|(_, given)| *given) {
            let title = format!("`{key}` is only for tunnels");
            table.errors().report(table.key_span(key), title, "", "add: method = \"tunnel\"");
        }
        return None;
    }
    let wrong = match (kind, given) {
        (TunnelKind::Gue, [_, false, _]) => Some((KEYS[0], "gue needs a port", "add: tunnel-port = 6080")),
        (TunnelKind::Ipip | TunnelKind::Gre, [_, true, _]) => {
            Some((KEYS[1], "only gue has a port", "remove it, or write: tunnel = \"gue\""))
        }
        (TunnelKind::Ipip, [.., true]) => {
            Some((KEYS[2], "ipip has no checksum", "remove it, or write: tunnel = \"gre\""))
        }
        (TunnelKind::Gre, _) if checksum == Some(TunnelChecksum::Remote) => {
            Some((KEYS[2], "gre has no remote checksum", "write: tunnel-checksum = \"csum\""))
        }
        _ => None,
    };
    if let Some((key, title, help)) = wrong {
        table.errors().report(table.key_span(key), title, "", help);
    }
    Some(Tunnel { kind, port: port.unwrap_or(0), checksum: checksum.unwrap_or(TunnelChecksum::None) })
}
