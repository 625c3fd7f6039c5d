//! twos: of two random choices by weight the less loaded one (ip_vs_twos.c).

use super::select::{overhead, usable};
use crate::abi::{NONE, Service};
use crate::tables::{Tables, Walk};

/// A choice.
#[derive(Clone, Copy)]
struct Choice {
    /// What is left of the number drawn; before the walk knows the sum of the weights, the number itself.
    rest: u64,
    load: u64,
    weight: u64,
    id: u32,
}

impl Choice {
    const fn new(number: u64) -> Self {
        Self { rest: number, load: 0, weight: 0, id: NONE }
    }

    /// Takes the destination where its weight uses up what is left.
    #[inline(always)]
    fn offer<T: Tables>(&mut self, tables: &T, id: u32, weight: u64) {
        if self.id != NONE {
            return;
        }
        if self.rest > weight {
            self.rest = self.rest.wrapping_sub(weight);
            return;
        }
        let (active, inactive, _) = tables.load(id);
        *self = Self { rest: 0, load: overhead(active, inactive), weight, id };
    }
}

/// Twice over the list: the sum of the weights, then the two choices.
#[derive(Clone, Copy)]
struct Twos {
    first: u32,
    slots: u32,
    total: u64,
    one: Choice,
    two: Choice,
}

impl Walk for Twos {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let choosing = i >= self.slots;
        if i == self.slots {
            // Both ends of 0 to the sum can be drawn.
            let Some(one) = self.one.rest.checked_rem(self.total.wrapping_add(1)) else { return true };
            let Some(two) = self.two.rest.checked_rem(self.total.wrapping_add(1)) else { return true };
            (self.one.rest, self.two.rest) = (one, two);
        }
        let at = if choosing { i.wrapping_sub(self.slots) } else { i };
        let Some(id) = tables.slot(self.first.wrapping_add(at)) else { return true };
        let Some(destination) = usable(tables, id) else { return false };
        let weight = u64::from(destination.weight);
        if !choosing {
            self.total = self.total.wrapping_add(weight);
            return false;
        }
        self.one.offer(tables, id, weight);
        self.two.offer(tables, id, weight);
        self.one.id != NONE && self.two.id != NONE
    }
}

/// A number of 64 random bits: what is left by a division by the sum of all weights is as good as even.
#[inline(always)]
fn draw<T: Tables>(tables: &T) -> u64 {
    u64::from(tables.random()) << 32 | u64::from(tables.random())
}

/// The destination's id, [`NONE`] without. Not inlined: a stack frame of its own.
#[inline(never)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> u32 {
    let mut walk = Twos {
        first: service.first_slot,
        slots: service.slots,
        total: 0,
        one: Choice::new(draw(tables)),
        two: Choice::new(draw(tables)),
    };
    tables.walk(service.slots.wrapping_mul(2), &mut walk);
    let Twos { one, two, .. } = walk;
    // Where usable ones became fewer between the two rounds, a choice may have found nobody.
    if one.id == NONE
        || (two.id != NONE && two.weight.wrapping_mul(one.load) > one.weight.wrapping_mul(two.load))
    {
        two.id
    } else {
        one.id
    }
}
