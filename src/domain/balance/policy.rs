//! The balancing policies: fewest requests, and affinity to a prefix.

use super::mix;
use super::recent_keys::{KeyState, short_id};

/// The factor by which the waiting requests of a member may exceed its share before a request with a key goes
/// elsewhere.
const BOUND_FACTOR: f32 = 1.5;
/// The number of waiting requests that the home of a key may have beyond that: a hit in its cache is worth a wait.
const HOME_SLACK: f32 = 8.0;
/// The same for a new key, which nothing is lost by sending elsewhere.
const NEW_SLACK: f32 = 1.5;
/// The number of requests in flight that weigh as much as one that waits for its first byte: prefill queues, decoding
/// hardly does.
const DECODES_PER_PREFILL: f32 = 64.0;
/// The weight of chance against load if members weigh differently. The larger it is, the better the shares follow the
/// weights in a pool with little load; with 4 they do within a tenth.
const LUCK: f32 = 4.0;

/// How the members of a pool share its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Requests that begin alike go to the same member.
    #[default]
    PrefixAffinity,
    /// The member with the fewest requests takes the next one.
    LeastRequests,
}

impl Policy {
    /// Parses the name of a policy in settings and labels.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::PrefixAffinity, Self::LeastRequests].into_iter().find(|policy| policy.name() == name)
    }

    /// Returns its name in settings and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrefixAffinity => "prefix_affinity",
            Self::LeastRequests => "least_requests",
        }
    }
}

/// The state of one member at the moment of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its id, the same in every proxy; see [`super::stable_hash`].
    pub id: u64,
    /// Its share, from 1.
    pub weight: u16,
    /// Its tier; a tier is used only while no lower one has a member that can take a request.
    pub tier: u8,
    /// The number of requests that wait for their first byte.
    pub waiting: u32,
    /// The number of all requests.
    pub in_flight: u32,
    /// Whether it can take one more.
    pub has_room: bool,
    /// Whether it is ejected for its failures. It takes requests only if every other member is ejected as well.
    pub is_ejected: bool,
    /// Whether it has just joined: it counts as loaded like the average, so that it is not flooded.
    pub is_new: bool,
}

/// A member that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its place among the members.
    pub index: usize,
    /// Whether the request had a key and its first member was too busy.
    pub spilled: bool,
    /// Whether later requests with the key should go there, too.
    pub is_home: bool,
}

/// Chooses the member that takes a request. `key` is what is known of its prefix, `chance` is a random number.
///
/// A key that earlier requests had goes where they went, unless too many requests wait there. A new key goes to its first
/// member in the order of weighted rendezvous hashing, so that proxies which do not know of each other choose alike,
/// unless that member has more to do than the others; then, and if hardly any request of the pool begins as another
/// did, to the least loaded.
///
/// Returns `None` if no member has room.
pub fn choose(members: &[Member], policy: Policy, key: Option<KeyState>, chance: u64) -> Option<Choice> {
    let usable = Usable::among(members)?;
    let usable_members = members.iter().enumerate().filter(move |(_, member)| usable.has(member));
    let totals = Totals::of(usable_members.clone().map(|(_, member)| member));
    let least = |spilled, is_home| {
        least(usable_members.clone(), &totals, chance).map(|index| Choice { index, spilled, is_home })
    };
    let Some(KeyState { key, home, is_reused }) = key.filter(|_| policy == Policy::PrefixAffinity) else {
        return least(false, false);
    };
    // A member that is gone is nobody's home.
    let home = home.filter(|home| members.iter().any(|member| short_id(member.id) == *home));
    match home {
        Some(home) => {
            let at_home = usable_members.clone().find(|(_, member)| short_id(member.id) == home);
            match at_home.filter(|(_, member)| totals.is_within(member, HOME_SLACK)) {
                Some((index, _)) => Some(Choice { index, spilled: false, is_home: false }),
                None => first_by_key(usable_members.clone(), &totals, key, HOME_SLACK)
                    .map(|(index, _)| Choice { index, spilled: true, is_home: false })
                    .or_else(|| least(true, false)),
            }
        }
        None if !is_reused => least(false, true),
        None => match first_by_key(usable_members.clone(), &totals, key, NEW_SLACK) {
            Some((index, true)) => Some(Choice { index, spilled: false, is_home: true }),
            _ => least(true, true),
        },
    }
}

/// Chooses as [`choose`] does without a key, in one pass, if all members weigh the same, and all or none have just
/// joined. Returns `None` otherwise, or if no member has room.
pub fn choose_among_equals(members: impl Iterator<Item = Member>, chance: u64) -> Option<usize> {
    let (mut best, mut first): (Option<(u64, u64, usize)>, _) = (None, None);
    for (index, member) in members.enumerate() {
        let kind = (member.is_new, member.weight);
        if *first.get_or_insert(kind) != kind {
            return None;
        }
        if !member.has_room {
            continue;
        }
        let class = u64::from(member.is_ejected) << 8 | u64::from(member.tier);
        let waiting = u64::from(member.waiting.min((1 << 23) - 1));
        let load = class << 55 | waiting << 32 | u64::from(member.in_flight);
        let luck = mix(chance ^ member.id);
        if best.is_none_or(|(least, least_luck, _)| (load, luck) < (least, least_luck)) {
            best = Some((load, luck, index));
        }
    }
    best.map(|(_, _, index)| index)
}

/// The members that a choice is between.
#[derive(Clone, Copy)]
struct Usable {
    tier: u8,
    ejected: bool,
}

impl Usable {
    /// Returns the lowest tier with room; that of ejected members only if there is no other in any tier.
    fn among(members: &[Member]) -> Option<Self> {
        let with_room = members.iter().filter(|member| member.has_room);
        with_room.map(|member| (member.is_ejected, member.tier)).min().map(|(ejected, tier)| Self { tier, ejected })
    }

    fn has(self, member: &Member) -> bool {
        member.has_room && member.tier == self.tier && member.is_ejected == self.ejected
    }
}

/// The sums over the members.
struct Totals {
    count: f32,
    /// The number of members that are not new.
    settled: f32,
    settled_waiting: f32,
    settled_in_flight: f32,
    weight: f32,
    waiting: f32,
    same_weight: bool,
}

impl Totals {
    fn of<'a>(members: impl Iterator<Item = &'a Member>) -> Self {
        let mut totals = Self {
            count: 0.0,
            settled: 0.0,
            settled_waiting: 0.0,
            settled_in_flight: 0.0,
            weight: 0.0,
            waiting: 0.0,
            same_weight: true,
        };
        let mut first = None;
        for member in members {
            totals.count += 1.0;
            totals.weight += f32::from(member.weight);
            totals.waiting += member.waiting as f32;
            if !member.is_new {
                totals.settled += 1.0;
                totals.settled_waiting += member.waiting as f32;
                totals.settled_in_flight += member.in_flight as f32;
            }
            totals.same_weight &= *first.get_or_insert(member.weight) == member.weight;
        }
        totals
    }

    /// Returns true if a member has no more than its share of the waiting requests, within a bound.
    fn is_within(&self, member: &Member, slack: f32) -> bool {
        let share = (self.waiting + 1.0) * f32::from(member.weight) / self.weight;
        self.load(member).0 + 1.0 <= BOUND_FACTOR * share + slack
    }

    /// Returns the load of a member; if it is new, at least the average of those that are not.
    fn load(&self, member: &Member) -> (f32, f32) {
        let (waiting, in_flight) = (member.waiting as f32, member.in_flight as f32);
        match member.is_new && self.settled > 0.0 {
            false => (waiting, in_flight),
            true => {
                (waiting.max(self.settled_waiting / self.settled), in_flight.max(self.settled_in_flight / self.settled))
            }
        }
    }
}

/// Returns the member with the least load. If all weigh the same, that is the fewest that wait, then the fewest in
/// flight, with ties broken by chance. Otherwise each counts as a queue that is served at the rate of its weight, with
/// a random length to come, so that the shares follow the weights whether the pool is busy or not.
fn least<'a>(members: impl Iterator<Item = (usize, &'a Member)>, totals: &Totals, chance: u64) -> Option<usize> {
    let cost = |member: &Member| {
        let ((waiting, in_flight), luck) = (totals.load(member), mix(chance ^ member.id));
        match totals.same_weight {
            true => (waiting, in_flight, unit(luck)),
            false => {
                let load = waiting + in_flight / DECODES_PER_PREFILL;
                ((load - LUCK * totals.count * unit(luck).ln()) / f32::from(member.weight), 0.0, 0.0)
            }
        }
    };
    let costs = members.map(|(index, member)| (index, cost(member)));
    costs.min_by(|(_, a), (_, b)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)).map(|(index, _)| index)
}

/// Returns the first member in the order of the key (weighted rendezvous hashing) that has no more than its share of
/// the waiting requests, within a bound, and whether it is the first of all.
fn first_by_key<'a>(
    members: impl Iterator<Item = (usize, &'a Member)>,
    totals: &Totals,
    key: u64,
    slack: f32,
) -> Option<(usize, bool)> {
    let rank = |member: &Member| -unit(mix(key ^ member.id)).ln() / f32::from(member.weight);
    let (mut first, mut best): (Option<f32>, Option<(f32, usize)>) = (None, None);
    for (index, member) in members {
        let rank = rank(member);
        first = Some(first.map_or(rank, |first| first.min(rank)));
        if best.is_none_or(|(least, _)| rank < least) && totals.is_within(member, slack) {
            best = Some((rank, index));
        }
    }
    best.map(|(rank, index)| (index, first.is_none_or(|first| first >= rank)))
}

/// Returns a number above 0 and up to 1 from random bits.
fn unit(bits: u64) -> f32 {
    ((bits >> 40) as f32 + 1.0) / (1_u32 << 24) as f32
}
