//! Lowers the maximum segment size in a TCP opener (RFC 9293 section 3.7.1) to what fits through a tunnel.

use crate::csum::ChecksumUpdate;
use crate::frame::Frame;
use crate::tables::Tables;

/// Bytes of a TCP header without options.
pub(super) const TCP_LEN: u32 = 20;
/// Offset of the checksum in a TCP header.
const CHECKSUM: u32 = 16;
/// Steps of a walk over options, at most: as many as there can be bytes of them (RFC 9293 section 3.1).
const STEPS: u32 = 40;
/// Kinds of options: end of the list, nothing, maximum segment size.
const END: u8 = 0;
const NOTHING: u8 = 1;
const MSS: u8 = 2;
const MSS_LEN: u8 = 4;

/// Lowers the option of the segment at `tcp`, where it has one that is greater, to `most`. Odd options are left as they
/// are: they are the receiver's to judge.
///
/// Not inlined: rare, and a stack frame of its own. 0 where the frame is shorter than its headers say.
#[inline(never)]
pub(super) fn clamp<T: Tables, Fr: Frame>(tables: &T, frame: &mut Fr, tcp: u32, most: u32) -> u32 {
    u32::from(lower(tables, frame, tcp, most).is_some())
}

#[inline(always)]
fn lower<T: Tables, Fr: Frame>(tables: &T, frame: &mut Fr, tcp: u32, most: u32) -> Option<()> {
    // Two bytes at a time, here and below: of one byte at a place that varies, verifiers do not take it that it was
    // looked whether it is inside the frame.
    let [offset, _] = frame.get::<u16>(tcp + 12)?.to_ne_bytes();
    let end = tcp + u32::from(offset >> 4) * 4;
    let mut at = tcp + TCP_LEN;
    let mut step = 0;
    while step < STEPS {
        step += 1;
        // The verifier need not follow each combination of lengths on its own. No header ends further in.
        at = tables.forget(at) & 0xff;
        if at >= end {
            return Some(());
        }
        let [_, kind] = frame.pair(at - 1)?;
        match kind {
            END => return Some(()),
            NOTHING => at += 1,
            kind => {
                let [_, length] = frame.pair(at)?;
                if kind == MSS && length == MSS_LEN && at + 4 <= end {
                    return replace(frame, tcp, at + 2, most);
                }
                if length < 2 {
                    return Some(());
                }
                at += u32::from(length);
            }
        }
    }
    Some(())
}

#[inline(always)]
fn replace<Fr: Frame>(frame: &mut Fr, tcp: u32, at: u32, most: u32) -> Option<()> {
    let old: u16 = frame.get(at)?;
    if u32::from(u16::from_be(old)) <= most {
        return Some(());
    }
    let new = (most as u16).to_be();
    let checksum: u16 = frame.get(tcp + CHECKSUM)?;
    // At an odd place each byte is the other half of its word (RFC 1071 section 2 B).
    let (a, b) = if at & 1 == 0 { (old, new) } else { (old.swap_bytes(), new.swap_bytes()) };
    frame.put(at, new)?;
    frame.put(tcp + CHECKSUM, ChecksumUpdate::default().word(a, b).apply(checksum))
}
