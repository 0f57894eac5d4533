//! Which collectors probe a check: rendezvous hashing over the collectors that are alive. Pure.
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
            known: false,
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// Collectors that are alive, this one included.
    pub(crate) fn members(&self) -> usize {
        self.others.len() + 1
    }

    /// Takes in a change under [`keys::COLLECTORS`]; true when checks may have other owners now.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Put(kv) => self.put(&kv),
            Change::Delete { key, .. } => {
                id_of(&key).is_some_and(|id| self.others.remove(id).is_some())
            }
            Change::Reset(kvs, _) => {
                let before = std::mem::take(&mut self.others);
                kvs.iter().for_each(|kv| {
                    self.put(kv);
                });
                !std::mem::replace(&mut self.known, true) || before != self.others
            }
        }
    }

    fn put(&mut self, kv: &KeyValue) -> bool {
        let Some(id) = id_of(&kv.key).filter(|id| *id != self.id) else { return false };
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

    /// Whether this collector is an owner.
    pub(crate) fn is_mine(&self, target: &TargetId) -> bool {
        // As long as there are no more members than vantage points, everything is everybody's.
        self.members() <= self.vantage_points || self.owners(target).contains(&&*self.id)
    }

    /// The owners of a check, the best first: as many as there are vantage points, or all members.
    pub(crate) fn owners(&self, target: &TargetId) -> Vec<&str> {
        let TargetId { service, instance, check } = target;
        let of_target = hash([&**service, instance, check]);
        let members = self.others.iter().map(|(id, member)| (id.as_str(), member));
        let members = members.chain([(self.id.as_str(), &self.me)]);
        let scored = members.map(|(id, member)| (score(of_target, member.hash), id, &*member.zone));
        pick(scored.collect(), self.vantage_points)
    }
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
