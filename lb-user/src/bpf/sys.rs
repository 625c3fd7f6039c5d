//! What aya 0.14 does not do: tell of a pinned link the interface it is attached to, and read many elements of a HASH at
//! once.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::mapped::Shared;

/// Commands of bpf(2) and the type of XDP links (include/uapi/linux/bpf.h).
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
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

/// `union bpf_attr` of BPF_MAP_LOOKUP_BATCH.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Where a read of a HASH goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Cursor {
    #[default]
    Begin,
    At(u32),
    End,
}

/// Reads elements of a HASH from where `cursor` is, as many as `room` allows, and moves it; an element that comes or goes
/// meanwhile may be left out.
///
/// # Errors
/// Of the system call: `ENOSPC` where a single chain of the HASH has more elements than there is room for.
pub(super) fn read_hash<K: Shared, V: Shared>(
    map: BorrowedFd<'_>,
    cursor: &mut Cursor,
    room: &mut Vec<(K, V)>,
    most: usize,
) -> io::Result<()> {
    let from = match cursor {
        Cursor::Begin => None,
        Cursor::At(bucket) => Some(*bucket),
        Cursor::End => return Ok(()),
    };
    let mut next = 0_u32;
    let mut keys: Vec<MaybeUninit<K>> = Vec::new();
    let mut values: Vec<MaybeUninit<V>> = Vec::new();
    keys.resize_with(most, MaybeUninit::uninit);
    values.resize_with(most, MaybeUninit::uninit);
    let mut ask = Batch {
        in_batch: from.as_ref().map_or(0, |bucket| (&raw const *bucket) as u64),
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(most).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd().unsigned_abs(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: the attribute is whole and of the size given; keys and values have room for `count` each (the caller's map
    // has such ones), and a place in a HASH is 32 bits.
    *cursor = match unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut ask) } {
        Ok(_) => Cursor::At(next),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Cursor::End,
        Err(error) => return Err(error),
    };
    let read = keys.into_iter().zip(values).take(ask.count as usize);
    // SAFETY: so many the kernel has written, and any bytes are a value of a `Shared`.
    room.extend(read.map(|(key, value)| unsafe { (key.assume_init(), value.assume_init()) }));
    Ok(())
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
