//! The route towards a client of a NAT connection, by the kernel's own tables.

use aya_ebpf::bindings::{bpf_fib_lookup, xdp_md};
use aya_ebpf::helpers::generated::bpf_fib_lookup as fib_lookup;
use lb_common::abi::{Hop, INTERFACES};

use crate::maps::IFACES;

/// Address families of the kernel (include/linux/socket.h).
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The next hop from `source` to `client` (both as the words of sixteen bytes, IPv4 in the first
/// four), as the number of a [`Hop`]; 0 where there is none or its neighbour is not resolved.
#[inline(never)]
pub fn towards(ctx: *mut xdp_md, client: &[u64; 2], source: &[u64; 2], v6: u32) -> u64 {
    // SAFETY: all zeroes are a value of this C struct.
    let mut parameters: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    let [c0, c1] = *client;
    let [s0, s1] = *source;
    // The lookup is as if the director sent it: the client's way need not be the one the frame came by.
    // SAFETY: the context is valid while the program runs.
    parameters.ifindex = unsafe { (*ctx).ingress_ifindex };
    if v6 != 0 {
        parameters.family = AF_INET6;
        parameters.__bindgen_anon_3.ipv6_src = [s0 as u32, (s0 >> 32) as u32, s1 as u32, (s1 >> 32) as u32];
        parameters.__bindgen_anon_4.ipv6_dst = [c0 as u32, (c0 >> 32) as u32, c1 as u32, (c1 >> 32) as u32];
    } else {
        parameters.family = AF_INET;
        parameters.__bindgen_anon_3.ipv4_src = s0 as u32;
        parameters.__bindgen_anon_4.ipv4_dst = c0 as u32;
    }
    // SAFETY: the struct is whole and of the size given.
    let failed = unsafe {
        fib_lookup(ctx.cast(), (&raw mut parameters).cast(), size_of::<bpf_fib_lookup>() as i32, 0)
    };
    if failed != 0 {
        return 0;
    }
    let index = parameters.ifindex & (INTERFACES - 1);
    match IFACES.get(index) {
        Some(interface) if interface.ifindex == parameters.ifindex => {
            Hop::new(parameters.dmac, index as u16).0
        }
        _ => 0,
    }
}
