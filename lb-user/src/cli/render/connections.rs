//! Listings of connection entries, a line at a time: there may be millions.

use std::io::{self, Write};

use super::format::endpoint;
use crate::api::ConnectionView;
use crate::cli::ipvsadm::Names;
use crate::model::Protocol;

/// How connections are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct ConnectionFormat {
    pub(in crate::cli) numeric: bool,
    /// With the columns of persistence engines, which are empty where a connection has none.
    pub(in crate::cli) engine: bool,
}

/// Prints connections.
pub(in crate::cli) struct ConnectionLines<'a> {
    out: &'a mut dyn Write,
    format: ConnectionFormat,
    names: &'a dyn Names,
}

impl<'a> ConnectionLines<'a> {
    /// Prints the title.
    pub(in crate::cli) fn begin(
        out: &'a mut dyn Write,
        format: ConnectionFormat,
        names: &'a dyn Names,
    ) -> io::Result<Self> {
        writeln!(out, "IPVS connection entries")?;
        let [state, source, virt, dest] = ["state", "source", "virtual", "destination"];
        write!(out, "pro expire {state:<11} {source:<18} {virt:<18} ")?;
        if format.engine {
            writeln!(out, "{dest:<18} {:<16} pe_data", "pe name")?;
        } else {
            writeln!(out, "{dest}")?;
        }
        Ok(Self { out, format, names })
    }

    /// Prints one connection.
    pub(in crate::cli) fn line(&mut self, connection: &ConnectionView) -> io::Result<()> {
        let protocol = match connection.protocol {
            Some(Protocol::Tcp) => "TCP",
            Some(Protocol::Udp) => "UDP",
            Some(Protocol::Sctp) => "SCTP",
            None => "IP",
        };
        let expires = format!("{:02}:{:02}", connection.expires / 60, connection.expires % 60);
        let name = |a| endpoint(a, connection.protocol, self.format.numeric, self.names);
        let (client, virt) = (name(connection.client), name(connection.virtual_address));
        let (state, destination) = (&connection.state, name(connection.destination));
        writeln!(self.out, "{protocol:<3} {expires:<6} {state:<11} {client:<18} {virt:<18} {destination}")
    }
}
