//! What aya 0.14 does not tell of a pinned link: the interface it is attached to.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Commands of bpf(2) and the type of XDP links (include/uapi/linux/bpf.h).
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_TYPE_XDP: u32 = 6;

/// `union bpf_attr` of BPF_OBJ_GET.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// `union bpf_attr` of BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct ObjInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`, up to the part of an XDP link.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    _pad: u32,
    ifindex: u32,
    _rest: u32,
}

/// A pinned XDP link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct XdpLinkInfo {
    /// Kernel index of its interface, 0 where that is gone.
    pub(super) ifindex: u32,
    /// Kernel id of its program.
    pub(super) program: u32,
}

/// Looks at a pinned link; `None` where the pin is something else.
///
/// # Errors
/// Where there is no pin, or it cannot be opened.
pub(super) fn xdp_link(pin: &Path) -> io::Result<Option<XdpLinkInfo>> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = ObjGet { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the attribute is whole and of the size given, and the path outlives the call.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut get) }?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = LinkInfo::default();
    let mut ask = ObjInfo {
        bpf_fd: fd.as_raw_fd().unsigned_abs(),
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: as above; the kernel writes at most `info_len` bytes to `info`.
    match unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut ask) } {
        Ok(_) => {}
        // A map or a program has another struct of information.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(None),
        Err(error) => return Err(error),
    }
    let program = info.prog_id;
    Ok((info.kind == BPF_LINK_TYPE_XDP).then_some(XdpLinkInfo { ifindex: info.ifindex, program }))
}

/// bpf(2).
///
/// # Safety
/// `attribute` is what the command takes, and what it points to is valid for that.
unsafe fn bpf<T>(command: libc::c_int, attribute: &mut T) -> io::Result<i32> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attribute, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
