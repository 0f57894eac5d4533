//! Which collectors probe a check, and which one fetches a page of metrics: rendezvous hashing over the collectors that are
//! alive. Pure.
//!
//! Each collector has a score for each check, a hash of both. The best of every zone come first, the zones in the order of
//! their best; where there are fewer zones than vantage points, the best of the others follow:
//!
//! ```text
//! a1 91, a2 80, b1 40, b2 77, c1 12        3 vantage points: a1 (zone a), b2 (zone b), c1 (zone c)
//! a1 91, a2 80, b1 40, b2 77               3 vantage points: a1, b2, then a2
//! ```
//!
//! So nobody has to agree on anything: who sees the same members comes to the same owners. When a member goes, only what it
//! owned gets one owner more; when one comes, it takes the place of one owner here and there and nothing else moves
//! (Thaler and Ravishankar 1998, highest random weight).
//!
//! A collector that has no lease is no member to the others. To itself it is one where probes are concerned: they carry its
//! name, so that nothing collides, and its opinions wait for its lease. Where metrics are fetched it is none: their samples
//! carry no collector's name, so that only one may fetch them.

use std::{cmp::Reverse, collections::BTreeMap};

use tracing::warn;
use watchkeep_catalog::{Collector, KeyValue, client::Change, keys};

use crate::{schedule::hash, target::TargetId};

/// Who shares the checks, as this collector sees it.
#[derive(Debug)]
pub(crate) struct Sharing {
    id: String,
    me: Member,
    vantage_points: usize,
    others: BTreeMap<String, Member>,
    /// Whether this collector is a member only while it has a lease.
    with_lease: bool,
    /// Whether it has one.
    leased: bool,
    /// Whether the members have been listed: before, nobody knows what is whose.
    known: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    hash: u64,
    zone: String,
}

impl Member {
    fn new(id: &str, zone: &str) -> Self {
        Self { hash: hash([id]), zone: zone.to_owned() }
    }
}

impl Sharing {
    /// Of collector `me` at `zone`, which is always one of the members: without its lease it probes on, unheard.
    pub(crate) fn new(me: &str, zone: &str, vantage_points: usize) -> Self {
        Self {
            id: me.to_owned(),
            me: Member::new(me, zone),
            vantage_points: vantage_points.max(1),
            others: BTreeMap::new(),
            with_lease: false,
            leased: false,
            known: false,
        }
    }

    /// Of what only one may do: collector `me` is a member while it has its lease.
    pub(crate) fn of_one(me: &str) -> Self {
        Self { with_lease: true, ..Self::new(me, "", 1) }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// Whether this collector is a member.
    fn takes_part(&self) -> bool {
        self.leased || !self.with_lease
    }

    /// Collectors that are alive.
    pub(crate) fn members(&self) -> usize {
        self.others.len() + usize::from(self.takes_part())
    }

    /// Takes in a change under [`keys::COLLECTORS`]; true when something may have other owners now.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        let took_part = self.takes_part();
        let others = match change {
            Change::Put(kv) => self.put(&kv),
            Change::Delete { key, .. } => match id_of(&key) {
                Some(id) if id == self.id => {
                    self.leased = false;
                    false
                }
                Some(id) => self.others.remove(id).is_some(),
                None => false,
            },
            Change::Reset(kvs, _) => {
                let before = std::mem::take(&mut self.others);
                self.leased = false;
                kvs.iter().for_each(|kv| {
                    self.put(kv);
                });
                !std::mem::replace(&mut self.known, true) || before != self.others
            }
        };
        others || took_part != self.takes_part()
    }

    fn put(&mut self, kv: &KeyValue) -> bool {
        let Some(id) = id_of(&kv.key) else { return false };
        if id == self.id {
            self.leased = true;
            return false;
        }
        let zone = match kv.json::<Collector>() {
            Ok(record) => record.zone,
            Err(error) => {
                warn!(%error, "a collector's record cannot be read: it has no share");
                return self.others.remove(id).is_some();
            }
        };
        let member = Member::new(id, &zone);
        self.others.insert(id.to_owned(), member.clone()).as_ref() != Some(&member)
    }

    /// Whether this collector is an owner of a check.
    pub(crate) fn is_mine(&self, target: &TargetId) -> bool {
        self.owns(of_check(target))
    }

    /// Whether this collector is an owner of what has this hash.
    pub(crate) fn owns(&self, of_target: u64) -> bool {
        // As long as there are no more members than vantage points, everything is everybody's.
        let is_everybodys = self.members() <= self.vantage_points;
        self.takes_part() && (is_everybodys || self.owners_of(of_target).contains(&&*self.id))
    }

    /// The owners of a check, the best first: as many as there are vantage points, or all members.
    pub(crate) fn owners(&self, target: &TargetId) -> Vec<&str> {
        self.owners_of(of_check(target))
    }

    fn owners_of(&self, of_target: u64) -> Vec<&str> {
        let members = self.others.iter().map(|(id, member)| (id.as_str(), member));
        let me = self.takes_part().then_some((self.id.as_str(), &self.me));
        let members = members.chain(me);
        let scored = members.map(|(id, member)| (score(of_target, member.hash), id, &*member.zone));
        pick(scored.collect(), self.vantage_points)
    }
}

fn of_check(target: &TargetId) -> u64 {
    hash([&*target.service, &target.instance, &target.check])
}

fn id_of(key: &str) -> Option<&str> {
    key.strip_prefix(keys::COLLECTORS)
}

/// SplitMix64's finalizer over both hashes.
fn score(target: u64, member: u64) -> u64 {
    let mut mixed = target ^ member;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// The best `count` of `(score, id, zone)`, each zone's best before anybody's second best.
fn pick<'a>(mut scored: Vec<(u64, &'a str, &'a str)>, count: usize) -> Vec<&'a str> {
    scored.sort_unstable_by_key(|(score, id, _)| Reverse((*score, *id)));
    let (mut first, mut later) = (Vec::new(), Vec::new());
    let mut zones: Vec<&str> = Vec::new();
    for (_, id, zone) in scored {
        if zones.contains(&zone) {
            later.push(id);
        } else {
            zones.push(zone);
            first.push(id);
        }
    }
    first.extend(later);
    first.truncate(count);
    first
}

#[cfg(test)]
mod tests;
