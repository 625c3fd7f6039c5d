//! Accessors of one connection entry in memory that is shared: what [`crate::flow_table`] works on.

use super::connection::{Connection4, Connection6, FlowKey4, FlowKey6};
use super::{add_u32, and_u32, cas_u32, load_u32, load_u64, or_u32, store_u32, store_u64};
use crate::flow_table::{Body, Entry};

macro_rules! entry {
    ($name:ident, $layout:ident, $key:ident, $word:ty, $count:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy)]
        pub struct $name(*mut $layout);

        impl $name {
            /// An accessor of the entry at `p`.
            ///
            /// # Safety
            /// `p` is aligned and stays valid for reads and writes while the accessor or one it made
            /// lives; way 0 of a bucket where [`Entry::way`] is to be called. Others access the same
            /// memory only through accessors.
            #[inline(always)]
            #[must_use]
            pub const unsafe fn new(p: *mut $layout) -> Self {
                Self(p)
            }
        }

        impl Entry for $name {
            type Key = $key;

            #[inline(always)]
            fn way(&self, n: u32) -> Self {
                // SAFETY: `n` is below WAYS by the mask, and `self` is way 0 of a bucket.
                Self(unsafe { self.0.add((n & (super::WAYS - 1)) as usize) })
            }
            #[inline(always)]
            fn word(&self) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { load_u32(&raw const (*self.0).word) }
            }
            #[inline(always)]
            fn swap_word(&self, old: u32, new: u32) -> bool {
                // SAFETY: valid by `new`.
                unsafe { cas_u32(&raw mut (*self.0).word, old, new) }
            }
            #[inline(always)]
            fn key(&self) -> $key {
                // SAFETY: valid by `new`; a torn key is found out by the word's generation.
                unsafe { core::ptr::read_volatile(&raw const (*self.0).key) }
            }
            #[inline(always)]
            fn differs(&self, key: &$key) -> u64 {
                let ours = (&raw const *key).cast::<u64>();
                let mut differing = 0;
                let mut i = 0;
                while i < size_of::<$key>() / 8 {
                    // SAFETY: valid by `new`; a key is so many aligned
                    // double words without padding.
                    differing |= unsafe {
                        let theirs = (&raw const (*self.0).key).cast::<u64>();
                        load_u64(theirs.add(i)) ^ *ours.add(i)
                    };
                    i += 1;
                }
                differing
            }
            #[inline(always)]
            fn last_seen(&self) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { load_u32(&raw const (*self.0).last_seen) }
            }
            #[inline(always)]
            fn set_last_seen(&self, tick: u32) {
                // SAFETY: valid by `new`.
                unsafe { store_u32(&raw mut (*self.0).last_seen, tick) }
            }
            #[inline(always)]
            fn timeout(&self) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { load_u32(&raw const (*self.0).timeout) }
            }
            #[inline(always)]
            fn set_timeout(&self, ticks: u32) {
                // SAFETY: valid by `new`.
                unsafe { store_u32(&raw mut (*self.0).timeout, ticks) }
            }
            #[inline(always)]
            fn destination(&self) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { load_u32(&raw const (*self.0).destination) }
            }
            #[inline(always)]
            fn peer(&self) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { load_u32(&raw const (*self.0).peer) }
            }
            #[inline(always)]
            fn peer_generation(&self) -> u16 {
                // SAFETY: valid by `new`.
                unsafe { core::ptr::read_volatile(&raw const (*self.0).peer_generation) }
            }
            #[inline(always)]
            fn set_peer(&self, slot: u32, generation: u16) {
                // SAFETY: valid by `new`.
                unsafe {
                    core::ptr::write_volatile(&raw mut (*self.0).peer_generation, generation);
                    store_u32(&raw mut (*self.0).peer, slot);
                }
            }
            #[inline(always)]
            fn flags(&self) -> u16 {
                // SAFETY: valid by `new`.
                unsafe { core::ptr::read_volatile(&raw const (*self.0).flags) }
            }
            #[inline(always)]
            fn set_flags(&self, flags: u16) {
                // SAFETY: valid by `new`.
                unsafe { core::ptr::write_volatile(&raw mut (*self.0).flags, flags) }
            }
            #[inline(always)]
            fn address(&self) -> [u8; 16] {
                // By whole words: byte by byte is what the compiler makes of an array of bytes.
                let mut words = [0u64; 2];
                let mut i = 0;
                while i < $count {
                    // SAFETY: valid by `new`; the field is so many aligned words.
                    words[i] = u64::from(unsafe {
                        core::ptr::read_volatile((&raw const (*self.0).address).cast::<$word>().add(i))
                    });
                    i += 1;
                }
                crate::family::bytes(words)
            }
            #[inline(always)]
            fn port(&self) -> [u8; 2] {
                // SAFETY: valid by `new`; the field is aligned for a word of its size.
                unsafe { core::ptr::read_volatile((&raw const (*self.0).port).cast::<u16>()) }.to_ne_bytes()
            }
            #[inline(always)]
            fn route_generation(&self) -> u16 {
                // SAFETY: valid by `new`.
                unsafe { core::ptr::read_volatile(&raw const (*self.0).route_generation) }
            }
            #[inline(always)]
            fn link(&self) -> u64 {
                // SAFETY: valid by `new`.
                unsafe { load_u64(&raw const (*self.0).link) }
            }
            #[inline(always)]
            fn set_link(&self, link: u64, route_generation: u16) {
                // SAFETY: valid by `new`.
                unsafe {
                    store_u64(&raw mut (*self.0).link, link);
                    core::ptr::write_volatile(&raw mut (*self.0).route_generation, route_generation);
                }
            }
            #[inline(always)]
            fn gate(&self) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { load_u32(&raw const (*self.0).gate) }
            }
            #[inline(always)]
            fn add_gate(&self, delta: u32) {
                // SAFETY: valid by `new`.
                unsafe { add_u32(&raw mut (*self.0).gate, delta) };
            }
            #[inline(always)]
            fn mark_gate(&self, bits: u32) {
                // SAFETY: valid by `new`.
                unsafe { or_u32(&raw mut (*self.0).gate, bits) };
            }
            #[inline(always)]
            fn unmark_gate(&self, bits: u32) {
                // SAFETY: valid by `new`.
                unsafe { and_u32(&raw mut (*self.0).gate, !bits) };
            }
            #[inline(always)]
            fn mark(&self) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { load_u32(&raw const (*self.0).mark) }
            }
            #[inline(always)]
            fn add_mark(&self, delta: u32) -> u32 {
                // SAFETY: valid by `new`.
                unsafe { add_u32(&raw mut (*self.0).mark, delta) }
            }
            #[inline(always)]
            fn write(&self, body: &Body<$key>) {
                let words = crate::family::words(body.address);
                let mut i = 0;
                while i < $count {
                    // SAFETY: as in `address`.
                    unsafe {
                        core::ptr::write_volatile(
                            (&raw mut (*self.0).address).cast::<$word>().add(i),
                            words[i] as $word,
                        );
                    }
                    i += 1;
                }
                // SAFETY: valid by `new`; the slot is claimed, so no one else writes these fields.
                unsafe {
                    store_u32(&raw mut (*self.0).last_seen, body.last_seen);
                    core::ptr::write_volatile(&raw mut (*self.0).key, body.key);
                    store_u32(&raw mut (*self.0).destination, body.destination);
                    store_u32(&raw mut (*self.0).timeout, body.timeout);
                    store_u32(&raw mut (*self.0).peer, body.peer);
                    core::ptr::write_volatile(&raw mut (*self.0).peer_generation, body.peer_generation);
                    core::ptr::write_volatile(&raw mut (*self.0).flags, body.flags);
                    core::ptr::write_volatile(
                        (&raw mut (*self.0).port).cast(),
                        u16::from_ne_bytes(body.port),
                    );
                    core::ptr::write_volatile(&raw mut (*self.0).route_generation, 0);
                    store_u64(&raw mut (*self.0).link, body.link);
                    store_u32(&raw mut (*self.0).mark, body.mark);
                }
            }
        }
    };
}

entry!(Entry4, Connection4, FlowKey4, u32, 1, "Accessor of a [`Connection4`] in shared memory.");
entry!(Entry6, Connection6, FlowKey6, u64, 2, "Accessor of a [`Connection6`] in shared memory.");
