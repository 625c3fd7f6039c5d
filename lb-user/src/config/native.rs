//! The native configuration file of lbd, in TOML.
//!
//! ```toml
//! [director]
//! interfaces = ["eth0"]
//!
//! [[service]]
//! tcp = "192.0.2.1:80"
//! scheduler = "wrr"
//!
//! [[service.destination]]
//! address = "198.51.100.11:8080"
//! method = "nat"
//! weight = 2
//!
//! [[mark]]
//! destination = "192.0.2.2/31"
//! protocol = "tcp"
//! ports = [80, 443]
//! mark = 1
//!
//! [timeouts]
//! tcp = 900
//!
//! [sysctl]
//! expire_nodest_conn = 1
//! ```

use toml::de::DeTable;

use super::diagnostics::Errors;
use super::mark::read_mark;
use super::reader::Reader;
use super::service::{read_mh_table_size, read_service};
use super::sysctl::read_sysctls;
use super::tunnel::read_settings;
use super::{Config, Diagnostics, TableSizes};
use crate::model::{ServiceKey, Timeouts, TunnelSettings};

/// Longest timeout, seconds (31 days, as ipvsadm takes).
pub(super) const MAX_TIMEOUT: u32 = 2_678_400;

/// Longest name of a network interface, bytes (`IFNAMSIZ` less the terminating 0).
const INTERFACE_NAME_MAX: usize = 15;

/// Reads a configuration; `name` is the file's, for the messages.
///
/// # Errors
/// Every error of the text, with place and remedy. Text that is no TOML at all is reported alone.
pub fn parse(text: &str, name: &str) -> Result<Config, Diagnostics> {
    let errors = Errors::default();
    let (document, wrong) = DeTable::parse_recoverable(text);
    if !wrong.is_empty() {
        for error in wrong {
            let title = error.message().replace('\n', ": ");
            // Mostly an address without its quotes, which begins as a number does.
            let help = if title.starts_with("invalid ") { "text stands in double quotes" } else { "" };
            errors.report(error.span().unwrap_or(0..0), title, "", help);
        }
        return Err(Diagnostics::new(name, text, errors.into_list()));
    }
    let config = read(Reader::new(document.get_ref(), document.span(), "the file", &errors));
    let list = errors.into_list();
    if list.is_empty() { Ok(config) } else { Err(Diagnostics::new(name, text, list)) }
}

fn read(mut file: Reader<'_>) -> Config {
    let mut config = Config::default();
    let mut keys: Vec<ServiceKey> = Vec::new();
    for table in file.tables("service", "service", "a service") {
        let span = table.span();
        let Some((service, destinations, tunnels)) = read_service(table) else { continue };
        if keys.contains(&service.key) {
            let title = format!("service {} is defined twice", service.key);
            file.errors().report(span, title, "the second one", "remove one of the two");
            continue;
        }
        keys.push(service.key);
        if tunnels != TunnelSettings::default() {
            config.service_tunnels.insert(service.key, tunnels);
        }
        config.services.push((service, destinations));
    }
    for table in file.tables("mark", "mark", "a mark") {
        config.marks.extend(read_mark(table));
    }
    config.timeouts = file.table("timeouts", "the timeouts").map(read_timeouts);
    if let Some(mut table) = file.table("tunnels", "the tunnels") {
        config.tunnels = read_settings(&mut table);
        table.finish();
    }
    if let Some(table) = file.table("sysctl", "the sysctls") {
        config.sysctls = read_sysctls(table);
    }
    if let Some(table) = file.table("tables", "the table sizes") {
        config.tables = read_tables(table);
    }
    if let Some(table) = file.table("director", "the director") {
        (config.interfaces, config.mh_table_size) = read_director(table);
    }
    file.finish();
    config
}

fn read_timeouts(mut table: Reader<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    for (key, value) in
        [("tcp", &mut timeouts.tcp), ("tcp-fin", &mut timeouts.tcp_fin), ("udp", &mut timeouts.udp)]
    {
        if let Some(seconds) = table.number(key, &(1..=MAX_TIMEOUT), "seconds") {
            *value = seconds.value;
        }
    }
    table.finish();
    timeouts
}

fn read_tables(mut table: Reader<'_>) -> TableSizes {
    let mut sizes = TableSizes::default();
    // The upper ends keep every map below the 4 GiB that one array map may have.
    for (key, value, range) in [
        ("connections", &mut sizes.connections, 1_024..=16_777_216),
        ("services", &mut sizes.services, 1..=1_048_576),
        ("destinations", &mut sizes.destinations, 1..=4_194_304),
        ("slots", &mut sizes.slots, 256..=268_435_456),
    ] {
        if let Some(size) = table.number(key, &range, "") {
            *value = size.value;
        }
    }
    table.finish();
    sizes
}

fn read_director(mut table: Reader<'_>) -> (Vec<String>, Option<u32>) {
    let mut interfaces: Vec<String> = Vec::new();
    for name in table.strings("interfaces", "eth0") {
        let bad = |c: char| c.is_whitespace() || c == '/' || c == ':';
        if name.value.is_empty() || name.value.len() > INTERFACE_NAME_MAX || name.value.contains(bad) {
            let title = format!("`{}` cannot be the name of an interface", name.value);
            table.errors().report(name.span, title, "", "`ip link` shows the names");
        } else if interfaces.iter().any(|i| i == name.value) {
            let title = format!("interface `{}` is named twice", name.value);
            table.errors().report(name.span, title, "", "remove it here");
        } else {
            interfaces.push(name.value.to_owned());
        }
    }
    let mh_table_size = read_mh_table_size(&mut table).map(|size| size.value);
    table.finish();
    (interfaces, mh_table_size)
}
