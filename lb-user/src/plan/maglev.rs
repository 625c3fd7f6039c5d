//! The table of mh (ip_vs_mh.c; ipvs-semantics section 3.2): every destination takes buckets in an order of its own, in turns
//! as many as its share.

use lb_common::hash;
use lb_common::sched::MH_SIZES;

use super::Member;
use super::slots::gcd;

/// Bits of the smallest table; each size that follows has one more (Kconfig: `IP_VS_MH_TAB_INDEX`).
const LEAST_BITS: u32 = 8;

/// How a destination takes its buckets.
struct Order {
    id: u32,
    /// Buckets of one turn.
    turns: u32,
    /// The bucket to try next.
    next: u32,
    /// From one try to the next one.
    skip: u32,
}

/// The buckets of a table of `size`, one of [`MH_SIZES`]; empty where no destination ever had a weight.
///
/// The order in which destinations take turns is that of their addresses, the greatest first, whatever the order in which
/// they were added: two directors with the same ones have the same table. The kernel takes them newest first, which is the
/// same where they were added by ascending addresses.
pub(super) fn table(members: &[Member], size: u32) -> Vec<u32> {
    let mut members: Vec<&Member> = members.iter().filter(|m| m.last_weight != 0).collect();
    members.sort_unstable_by_key(|m| std::cmp::Reverse(m.address));
    let divisor = members.iter().fold(0, |divisor, m| gcd(divisor, m.last_weight));
    let greatest = members.iter().map(|m| m.last_weight).max().unwrap_or(0);
    let Some(ratio) = greatest.checked_div(divisor) else { return Vec::new() };
    let bits =
        MH_SIZES.iter().zip(LEAST_BITS..).find(|(s, _)| **s == size).map_or(LEAST_BITS, |(_, bits)| bits);
    // Great weights are cut down, so that the first destinations do not take the whole table.
    let shift = (u32::BITS - ratio.leading_zeros()).saturating_sub(bits / 2);
    let mut orders: Vec<Order> = members
        .iter()
        .map(|m| {
            let name = m.name();
            Order {
                id: m.id,
                turns: ((m.last_weight / divisor) >> shift).max(1),
                next: hash::mh_first(name) % size,
                skip: hash::mh_second(name) % (size - 1) + 1,
            }
        })
        .collect();
    let mut buckets = vec![None; size as usize];
    let mut free = buckets.len();
    while free > 0 {
        for order in &mut orders {
            for _ in 0..order.turns {
                if free == 0 {
                    break;
                }
                // The size is a prime: a step of any length comes by every bucket.
                while buckets[order.next as usize].is_some() {
                    order.next = (order.next + order.skip) % size;
                }
                buckets[order.next as usize] = Some(order.id);
                free -= 1;
            }
        }
    }
    buckets.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use lb_common::testing::{MhServer, mh_table};
    use proptest::prelude::*;

    use super::*;

    fn member(n: u32, weight: u32, last_weight: u32) -> Member {
        let ip = Ipv4Addr::from_bits(0xc633_6400 + n);
        Member { id: n + 7, weight, last_weight, address: SocketAddr::new(IpAddr::V4(ip), 80) }
    }

    fn members() -> impl Strategy<Value = Vec<Member>> {
        let weight = prop_oneof![3 => 0..5_u32, 1 => 1..65_536_u32, 1 => (1..9_u32).prop_map(|w| w * 100)];
        prop::collection::vec(weight, 1..12)
            .prop_map(|weights| (1..).zip(weights).map(|(n, weight)| member(n, weight, weight)).collect())
    }

    /// Buckets by address, whatever the ids are.
    fn by_address(table: &[u32], members: &[Member]) -> Vec<SocketAddr> {
        let address = |id: &u32| members.iter().find(|m| m.id == *id).unwrap().address;
        table.iter().map(address).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_table_is_the_one_by_the_book(members in members(), size in prop::sample::select(MH_SIZES[..6].to_vec())) {
            let mut servers: Vec<MhServer> = members.iter().map(|m| MhServer { id: m.id, name: m.name(), last_weight: m.last_weight }).collect();
            servers.reverse();
            prop_assert_eq!(table(&members, size), mh_table(size, &servers));
        }

        #[test]
        fn two_directors_have_the_same_table_whatever_the_order_of_adding(
            (members, shuffled) in members().prop_flat_map(|m| (Just(m.clone()), Just(m).prop_shuffle())),
            ids in any::<u32>(),
        ) {
            // Their ids are others too.
            let other: Vec<Member> = shuffled.iter().zip(ids..=u32::MAX).map(|(m, id)| Member { id, ..*m }).collect();
            prop_assume!(other.len() == members.len());
            prop_assert_eq!(by_address(&table(&members, 251), &members), by_address(&table(&other, 251), &other));
        }

        #[test]
        fn weight_0_leaves_the_table_as_it_is(members in members(), at in any::<prop::sample::Index>()) {
            let mut quiesced = members.clone();
            quiesced[at.index(members.len())].weight = 0;
            prop_assert_eq!(table(&quiesced, 509), table(&members, 509));
        }
    }

    #[test]
    fn a_destination_that_goes_moves_few_others() {
        let all: Vec<Member> = (1..=10).map(|n| member(n, 1, 1)).collect();
        let before = table(&all, 4093);
        let after = table(&all[1..], 4093);
        let moved = before.iter().zip(&after).filter(|(b, a)| **b != 8 && b != a).count();
        assert!(moved < 4093 / 20, "{moved} buckets of others moved");
    }

    #[test]
    fn shares_are_as_the_weights() {
        let all = [member(1, 1, 1), member(2, 2, 2), member(3, 3, 3)];
        let mut shares = BTreeMap::new();
        for id in table(&all, 4093) {
            *shares.entry(id).or_insert(0) += 1;
        }
        assert_eq!(shares.into_values().collect::<Vec<i32>>(), [682, 1364, 2047]);
    }

    #[test]
    fn who_never_had_a_weight_has_no_bucket() {
        assert!(table(&[member(1, 0, 0)], 251).is_empty());
        let one = table(&[member(1, 0, 0), member(2, 9, 9)], 251);
        assert_eq!(one, [9; 251]);
    }

    /// The clients of recording `mh-1-2-3`: the kernel's own choices.
    #[test]
    fn clients_go_where_the_kernel_sent_them() {
        let all = [member(11, 1, 1), member(12, 2, 2), member(13, 3, 3)];
        let table = table(&all, 4093);
        let server = |client: u32| table[(hash::mh_first(client) % 4093) as usize] - 7 - 10;
        let first: Vec<u32> = (10..30).map(|n| server(0xcb00_7100 + n)).collect();
        assert_eq!(first, [1, 2, 3, 1, 3, 3, 1, 3, 3, 2, 1, 2, 1, 3, 3, 2, 1, 1, 2, 3]);
    }
}
