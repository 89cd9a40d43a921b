//! Properties of choices.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;

const IDLE: Member =
    Member { id: 0, weight: 1, tier: 0, waiting: 0, in_flight: 0, has_room: true, is_ejected: false, is_new: false };

fn pool(count: u64) -> Vec<Member> {
    (0..count).map(|n| Member { id: stable_hash(&format!("member-{n}")), ..IDLE }).collect()
}

fn chosen(members: &[Member], policy: Policy, key: Option<u64>, chance: u64) -> Option<usize> {
    let key = key.map(KeyState::new);
    let chosen = choose(members, policy, key, chance).map(|choice| choice.index);
    let quick = choose_among_equals(members.iter().copied(), chance);
    if quick.is_some() && (policy == Policy::LeastRequests || key.is_none()) {
        let kind =
            |index: Option<usize>| index.and_then(|at| members.get(at)).map(|m| (m.waiting, m.in_flight, m.tier));
        assert_eq!(kind(quick), kind(chosen), "in one pass and in several");
        return quick;
    }
    chosen
}

/// Returns pseudo-random numbers, the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |n| mix(seed ^ mix(n)))
}

#[test]
fn the_fewest_that_wait_come_first_then_the_fewest_in_flight() {
    let mut members = pool(3);
    (members[0].waiting, members[1].waiting, members[2].waiting) = (2, 1, 1);
    (members[0].in_flight, members[1].in_flight, members[2].in_flight) = (2, 9, 8);
    for chance in numbers(1).take(100) {
        assert_eq!(chosen(&members, Policy::LeastRequests, None, chance), Some(2));
    }
}

#[test]
fn ties_are_broken_by_chance() {
    let members = pool(4);
    let mut taken = [0; 4];
    for chance in numbers(2).take(4000) {
        taken[chosen(&members, Policy::LeastRequests, None, chance).unwrap()] += 1;
    }
    assert!(taken.iter().all(|count| (900..1100).contains(count)), "{taken:?}");
}

#[test]
fn shares_follow_the_weights_whether_the_pool_is_busy_or_not() {
    for (policy, at_once) in [
        (Policy::LeastRequests, 1),
        (Policy::LeastRequests, 40),
        (Policy::LeastRequests, 1000),
        (Policy::PrefixAffinity, 1),
        (Policy::PrefixAffinity, 1000),
    ] {
        let mut members = pool(64);
        members.iter_mut().zip(0..).for_each(|(member, n)| member.weight = 1 + n % 8);
        let weight: f64 = members.iter().map(|member| f64::from(member.weight)).sum();
        let (mut taken, mut running) = (vec![0_u32; 64], std::collections::VecDeque::new());
        let mut random = numbers(3);
        for _ in 0..100_000 {
            if running.len() == at_once {
                // A member that serves at the rate of its weight finishes in proportion to it.
                let at = random.next().unwrap() as usize % running.len();
                let index: usize = running.swap_remove_back(at).unwrap();
                members[index].waiting -= 1;
                members[index].in_flight -= 1;
            }
            let index = chosen(&members, policy, random.next(), random.next().unwrap()).unwrap();
            members[index].waiting += 1;
            members[index].in_flight += 1;
            taken[index] += 1;
            running.push_back(index);
        }
        for (member, taken) in members.iter().zip(taken) {
            let fair = 100_000.0 * f64::from(member.weight) / weight;
            let off = f64::from(taken) / fair;
            assert!((0.9..1.1).contains(&off), "{policy:?}, {at_once} at once, weight {}: {off}", member.weight);
        }
    }
}

#[test]
fn a_tier_is_used_only_while_no_lower_one_can_take_a_request() {
    let mut members = pool(4);
    members[2].tier = 1;
    members[3].tier = 2;
    for key in [None, Some(7)] {
        let of_two = |members: &[Member]| chosen(members, Policy::PrefixAffinity, key, 5);
        members[0].has_room = true;
        members[1].has_room = true;
        members[2].has_room = true;
        assert!(of_two(&members).unwrap() < 2);
        members[0].has_room = false;
        assert_eq!(of_two(&members), Some(1));
        members[1].is_ejected = true;
        assert_eq!(of_two(&members), Some(2), "one of the next tier rather than an ejected one");
        members[2].has_room = false;
        members[3].has_room = false;
        assert_eq!(of_two(&members), Some(1), "an ejected one rather than none");
        members[1].has_room = false;
        assert_eq!(of_two(&members), None);
        members[1].is_ejected = false;
        members[3].has_room = true;
    }
}

#[test]
fn requests_that_begin_alike_go_to_the_same_member_in_every_proxy() {
    let members = pool(7);
    let mut other_order = members.clone();
    other_order.reverse();
    for (key, chance) in numbers(4).zip(numbers(5)).take(1000) {
        let here = members[chosen(&members, Policy::PrefixAffinity, Some(key), chance).unwrap()].id;
        let there = other_order[chosen(&other_order, Policy::PrefixAffinity, Some(key), !chance).unwrap()].id;
        assert_eq!(here, there);
    }
}

#[test]
fn a_member_that_leaves_moves_only_the_keys_that_it_had() {
    let members = pool(8);
    let fewer: Vec<_> = members.iter().copied().skip(1).collect();
    let mut moved = 0;
    for key in numbers(6).take(8000) {
        let before = members[chosen(&members, Policy::PrefixAffinity, Some(key), 0).unwrap()].id;
        let after = fewer[chosen(&fewer, Policy::PrefixAffinity, Some(key), 0).unwrap()].id;
        assert!(before == after || before == members[0].id);
        moved += u32::from(before != after);
    }
    assert!((800..1200).contains(&moved), "{moved}");
}

#[test]
fn a_key_stays_at_its_home_until_too_many_requests_wait_there() {
    let mut members = pool(4);
    let choose = |members: &[Member], key, chance| choose(members, Policy::PrefixAffinity, Some(key), chance).unwrap();
    let first = choose(&members, KeyState::new(11), 0);
    assert!(!first.spilled && first.is_home);
    let known = KeyState { home: Some(short_id(members[first.index].id)), ..KeyState::new(11) };
    members[first.index].waiting = 8;
    members[first.index].in_flight = 8;
    assert_eq!(choose(&members, known, 0).index, first.index, "1.5 times the average and eight more");
    let new = choose(&members, KeyState::new(11), 0);
    assert!(new.index != first.index && new.spilled && new.is_home, "a new key has nothing to gain there");
    members[first.index].waiting = 30;
    let next = choose(&members, known, 0);
    assert!(next.spilled && next.index != first.index && !next.is_home);
    assert_eq!(next, choose(&members, known, 99), "the next in the order of the key, not any");
    members[first.index].waiting = 0;
    members[first.index].in_flight = 500;
    assert_eq!(choose(&members, known, 0).index, first.index, "what streams already does not count");
    members.remove(first.index);
    assert!(choose(&members, known, 0).is_home, "its home is gone: it gets another");
}

#[test]
fn where_nothing_is_reused_the_least_loaded_takes_a_new_key() {
    let mut members = pool(4);
    members.iter_mut().for_each(|member| member.waiting = 1);
    members[3].waiting = 0;
    for key in numbers(10).take(100) {
        let key = KeyState { is_reused: false, ..KeyState::new(key) };
        assert_eq!(choose(&members, Policy::PrefixAffinity, Some(key), 0).unwrap().index, 3);
    }
}

#[test]
fn recent_keys_are_remembered_and_the_oldest_give_way() {
    let (recent, now) = (RecentKeys::default(), Duration::from_secs(7));
    let member = stable_hash("member-1");
    assert_eq!(recent.look_up(5).home, None);
    recent.remember(5, member, now);
    assert_eq!(recent.look_up(5).home, Some(short_id(member)));
    for key in numbers(11).take(20_000) {
        recent.remember(key, stable_hash("other"), now + Duration::from_secs(60));
    }
    assert_eq!(recent.look_up(5).home, None, "its size is fixed");
    let known = numbers(11).take(20_000).filter(|key| recent.look_up(*key).home.is_some()).count();
    assert!((2000..=4096).contains(&known), "{known}");
    for key in numbers(12).take(200) {
        recent.look_up(key);
    }
    assert!(!recent.look_up(1).is_reused, "nothing was known for long");
}

#[test]
fn a_member_that_joins_counts_as_averagely_loaded() {
    let mut members = pool(3);
    members[0].waiting = 4;
    members[1].waiting = 6;
    assert_eq!(chosen(&members, Policy::LeastRequests, None, 1), Some(2));
    members[2].is_new = true;
    assert_eq!(chosen(&members, Policy::LeastRequests, None, 1), Some(0));
    members.iter_mut().for_each(|member| member.is_new = true);
    assert_eq!(chosen(&members, Policy::LeastRequests, None, 1), Some(2), "all are new");
}

#[test]
fn a_beginning_that_many_share_gives_way_to_that_of_the_conversation() {
    let (hot, mut now) = (HotKeys::default(), Duration::from_secs(1));
    let mut random = numbers(7);
    let mut rare = 0;
    // One system prompt has half of the traffic, a thousand others have the rest.
    for n in 0..4000 {
        now += Duration::from_millis(10);
        let conversation = random.next().unwrap();
        let shared = if n % 2 == 0 { 1 } else { mix(conversation % 1000 + 2) };
        let key = hot.count(PrefixKeys { shared, conversation }, 4, now);
        if n > 100 {
            if shared == 1 {
                assert_eq!(key, conversation, "request {n}");
            }
            rare += u32::from(shared != 1 && key == shared);
        }
    }
    assert!(rare > 1900, "{rare} of the others went by what they share");
    // Alone it is all that there is, and yet no more than one member can serve after it has rested.
    now += Duration::from_secs(600);
    assert_eq!(hot.count(PrefixKeys { shared: 1, conversation: 9 }, 4, now), 1);
}

#[test]
fn a_key_near_the_threshold_does_not_move_all_the_time() {
    let (hot, mut now) = (HotKeys::default(), Duration::from_secs(1));
    let (mut random, mut moves, mut last) = (numbers(8), 0, false);
    for _ in 0..20_000 {
        now += Duration::from_millis(5);
        let number = random.next().unwrap();
        // A quarter of the traffic of four members: right at the threshold.
        let shared = if number % 4 == 0 { 1 } else { mix(number) };
        let is_hot = hot.count(PrefixKeys { shared, conversation: number | 1 << 63 }, 4, now) != shared;
        if shared == 1 {
            moves += u32::from(is_hot != last);
            last = is_hot;
        }
    }
    assert!(moves <= 3, "{moves}");
}

#[test]
fn a_member_that_fails_while_others_do_not_is_ejected_for_longer_each_time() {
    let (bad, good, now) = (Outlier::default(), Outlier::default(), 1000);
    let fails = |times: u32| (0..times).filter(|_| bad.failed()).count();
    assert_eq!(fails(EJECT_AFTER_FAILURES - 1), 0);
    bad.succeeded();
    assert_eq!(fails(EJECT_AFTER_FAILURES), 1, "in a row");
    assert_eq!(bad.eject([&good].into_iter(), now), Some(Duration::from_secs(10)));
    assert!(bad.is_ejected(now + 9_999) && !bad.is_ejected(now + 10_000));
    let mut at = now;
    for seconds in [20, 40, 80, 160, 300, 300] {
        at = bad.ejected_until(at).unwrap() + 1;
        fails(EJECT_AFTER_FAILURES);
        assert_eq!(bad.eject([&good].into_iter(), at), Some(Duration::from_secs(seconds)));
    }
    at = bad.ejected_until(at).unwrap() + 301_000;
    fails(EJECT_AFTER_FAILURES);
    assert_eq!(bad.eject([&good].into_iter(), at), Some(Duration::from_secs(10)), "it was well for long");
}

fn fail(member: &Outlier) {
    for _ in 0..EJECT_AFTER_FAILURES {
        member.failed();
    }
}

#[test]
fn never_more_than_half_of_a_pool_is_ejected_and_nobody_where_all_fail() {
    let members: Vec<_> = (0..5).map(|_| Outlier::default()).collect();
    let eject = |at: usize, now| {
        let others = members.iter().enumerate().filter(move |(n, _)| *n != at).map(|(_, other)| other);
        fail(&members[at]);
        members[at].eject(others, now).is_some()
    };
    assert_eq!([eject(0, 1), eject(1, 1), eject(2, 1)], [true, true, false]);
    let all: Vec<_> = (0..3).map(|_| Outlier::default()).collect();
    all.iter().for_each(fail);
    assert_eq!(all[0].eject(all.iter().skip(1), 1), None);
    assert_eq!(Outlier::default().eject([].into_iter(), 1), None, "a pool of one");
}
