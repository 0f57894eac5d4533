//! Which watchers want a key: single keys by hash, ranges by an interval tree. Watchers of the same key or range share
//! one place, so what a put costs does not depend on watchers elsewhere.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    intervals::{End, Interval, Intervals},
    target::{Interest, Target},
};

/// Watchers of one key or range, by number.
type Group = HashMap<u64, Arc<Target>>;

/// All watchers of a member.
#[derive(Default)]
pub(super) struct Index {
    keys: HashMap<Bytes, Group>,
    ranges: Intervals<Group>,
}

fn interval(interest: &Interest) -> Interval {
    let end = interest.bounds().to().is_some();
    let end = if end { End::Before(interest.range_end.clone()) } else { End::Open };
    Interval { from: interest.key.clone(), end }
}

impl Index {
    pub(super) fn insert(&mut self, target: Arc<Target>) {
        let interest = &target.interest;
        if interest.bounds().is_point() {
            let group = self.keys.entry(interest.key.clone()).or_default();
            group.insert(target.number, target);
        } else {
            let interval = interval(interest);
            self.ranges.update(interval, |group| {
                group.insert(target.number, target);
            });
        }
    }

    pub(super) fn remove(&mut self, target: &Target) {
        let without = |group: &mut Group| {
            group.remove(&target.number);
            group.is_empty()
        };
        if !target.interest.bounds().is_point() {
            return self.ranges.shrink(&interval(&target.interest), without);
        }
        if let Entry::Occupied(mut group) = self.keys.entry(target.interest.key.clone())
            && without(group.get_mut())
        {
            group.remove();
        }
    }

    /// Calls `found` for each watcher whose key or range holds `key`.
    pub(super) fn holding<'i>(&'i self, key: &[u8], found: &mut impl FnMut(&'i Arc<Target>)) {
        self.keys.get(key).into_iter().flat_map(HashMap::values).for_each(&mut *found);
        self.ranges.holding(key, &mut |group| group.values().for_each(&mut *found));
    }

    /// Calls `found` for each watcher.
    pub(super) fn each<'i>(&'i self, found: &mut impl FnMut(&'i Arc<Target>)) {
        self.keys.values().flat_map(HashMap::values).for_each(&mut *found);
        self.ranges.each(&mut |group| group.values().for_each(&mut *found));
    }
}
