//! Names of hosts and services through the C library, so that nsswitch.conf, /etc/hosts,
//! /etc/services and DNS are asked as every other program asks them.
//!
//! The only calls of the C library's name services; one of the few places with `unsafe`.

use std::ffi::{CStr, CString, c_char, c_int};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use crate::cli::ipvsadm::Names;
use crate::model::Protocol;

/// The longest name of a host with its terminating 0 (`NI_MAXHOST`).
const HOST_NAME_MAX: usize = 1025;

/// getservbyname and getservbyport give a pointer to memory that the next call of either overwrites.
static SERVICE_DATABASE: Mutex<()> = Mutex::new(());

/// The machine's names.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

const fn protocol_name(protocol: Protocol) -> &'static CStr {
    match protocol {
        Protocol::Tcp => c"tcp",
        Protocol::Udp => c"udp",
        Protocol::Sctp => c"sctp",
    }
}

impl Names for SystemNames {
    fn host_to_addr(&self, name: &str) -> Option<Ipv4Addr> {
        let addresses = (name, 0).to_socket_addrs().ok()?;
        addresses.into_iter().find_map(|address| match address.ip() {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        })
    }

    fn service_to_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let name = CString::new(name).ok()?;
        let _turn = SERVICE_DATABASE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: both arguments are NUL-terminated strings that outlive the call, and the lock keeps
        // every other thread of this library out of the memory that it returns.
        let entry = unsafe { libc::getservbyname(name.as_ptr(), protocol_name(protocol).as_ptr()) };
        // SAFETY: the pointer is null or points to a servent that is valid until the next call, which
        // the lock holds back.
        let port = unsafe { entry.as_ref() }?.s_port;
        port_of(port)
    }

    fn addr_to_host(&self, address: IpAddr) -> Option<String> {
        let address = SockaddrStorage::from(SocketAddr::new(address, 0));
        let mut host = [0_u8; HOST_NAME_MAX];
        let room = libc::socklen_t::try_from(host.len()).ok()?;
        // SAFETY: the address is a socket address of `address.len()` bytes, `host` has `room` bytes to
        // write to, and no service is asked for.
        let failed = unsafe {
            libc::getnameinfo(
                address.as_ptr(),
                address.len(),
                host.as_mut_ptr().cast::<c_char>(),
                room,
                std::ptr::null_mut(),
                0,
                libc::NI_NAMEREQD,
            )
        };
        if failed != 0 {
            return None;
        }
        let name = CStr::from_bytes_until_nul(&host).ok()?;
        name.to_str().ok().map(str::to_owned)
    }

    fn port_to_service(&self, port: u16, protocol: Protocol) -> Option<String> {
        let _turn = SERVICE_DATABASE.lock().unwrap_or_else(PoisonError::into_inner);
        let port = c_int::from(port.to_be());
        // SAFETY: the protocol is a NUL-terminated string, and the lock keeps every other thread of
        // this library out of the memory that it returns.
        let entry = unsafe { libc::getservbyport(port, protocol_name(protocol).as_ptr()) };
        // SAFETY: the pointer is null or points to a servent that is valid until the next call, which
        // the lock holds back.
        let name = unsafe { entry.as_ref() }?.s_name;
        if name.is_null() {
            return None;
        }
        // SAFETY: the name of a servent is a NUL-terminated string, valid as long as the servent is.
        let name = unsafe { CStr::from_ptr(name) };
        name.to_str().ok().map(str::to_owned)
    }
}

/// The port of a servent, which holds 16 bits in network order.
fn port_of(s_port: c_int) -> Option<u16> {
    u16::try_from(s_port).ok().map(u16::from_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_knows_itself() {
        assert_eq!(SystemNames.host_to_addr("localhost"), Some(Ipv4Addr::LOCALHOST));
        assert!(SystemNames.addr_to_host(Ipv4Addr::LOCALHOST.into()).is_some());
        assert_eq!(SystemNames.host_to_addr("a\0b"), None);
        assert_eq!(SystemNames.host_to_addr(""), None);
    }

    #[test]
    fn services_are_those_of_the_machine() {
        // Only where the machine has a list of them: minimal systems have none.
        let Ok(list) = std::fs::read_to_string("/etc/services") else { return };
        for (line, name, protocol, port) in
            [("http\t", "http", Protocol::Tcp, 80), ("domain\t", "domain", Protocol::Udp, 53)]
        {
            if list.lines().any(|l| l.starts_with(line)) {
                assert_eq!(SystemNames.service_to_port(name, protocol), Some(port));
                assert_eq!(SystemNames.port_to_service(port, protocol).as_deref(), Some(name));
            }
        }
        assert_eq!(SystemNames.service_to_port("no such service", Protocol::Tcp), None);
        assert_eq!(SystemNames.port_to_service(65_533, Protocol::Sctp), None);
    }
}
