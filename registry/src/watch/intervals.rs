//! Ranges of keys, asked which of them hold a key: a treap ordered by where a range begins, in which every node knows
//! the furthest end below it. A search costs the tree's depth and what it finds, however many ranges there are.
//!
//! ```text
//! ranges [a, c) [b, ∞) [d, e)          [b, ∞) furthest ∞
//! which hold "bb"?                    /                 \
//!                       [a, c) furthest c           [d, e) furthest e     begins behind "bb": not looked at
//! ```

use bytes::Bytes;

/// Where a range ends. An open end is behind every key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// First key behind the range.
    Before(Bytes),
    /// There is none.
    Open,
}

impl End {
    fn is_behind(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < &end[..],
            Self::Open => true,
        }
    }
}

/// A range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    pub(super) from: Bytes,
    pub(super) end: End,
}

#[derive(Debug)]
struct Node<T> {
    interval: Interval,
    value: T,
    /// Random: it keeps the tree shallow. No node has a greater one than its parent.
    priority: u64,
    /// The furthest end in this subtree.
    furthest: End,
    left: Link<T>,
    right: Link<T>,
}

type Link<T> = Option<Box<Node<T>>>;

/// A value for each range.
#[derive(Debug)]
pub(super) struct Intervals<T> {
    root: Link<T>,
    inserted: u64,
}

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Self { root: None, inserted: 0 }
    }
}

impl<T: Default> Intervals<T> {
    /// Changes the value of a range; one that is new begins with the default.
    pub(super) fn update(&mut self, interval: Interval, change: impl FnOnce(&mut T)) {
        self.inserted = self.inserted.wrapping_add(1);
        let priority = scramble(self.inserted);
        update(&mut self.root, interval, priority, change);
    }

    /// Changes the value of a range that is there and takes the range away if `change` says so.
    pub(super) fn shrink(&mut self, interval: &Interval, change: impl FnOnce(&mut T) -> bool) {
        shrink(&mut self.root, interval, change);
    }

    /// Calls `found` for each range that holds `key`.
    pub(super) fn holding<'t>(&'t self, key: &[u8], found: &mut impl FnMut(&'t T)) {
        holding(&self.root, key, found);
    }

    /// Calls `found` for each range.
    pub(super) fn each<'t>(&'t self, found: &mut impl FnMut(&'t T)) {
        each(&self.root, found);
    }
}

fn update<T: Default>(
    link: &mut Link<T>,
    interval: Interval,
    priority: u64,
    change: impl FnOnce(&mut T),
) {
    let Some(node) = link else {
        let mut value = T::default();
        change(&mut value);
        let furthest = interval.end.clone();
        *link =
            Some(Box::new(Node { interval, value, priority, furthest, left: None, right: None }));
        return;
    };
    match interval.cmp(&node.interval) {
        std::cmp::Ordering::Equal => return change(&mut node.value),
        std::cmp::Ordering::Less => update(&mut node.left, interval, priority, change),
        std::cmp::Ordering::Greater => update(&mut node.right, interval, priority, change),
    }
    settle(link);
}

fn shrink<T>(link: &mut Link<T>, interval: &Interval, change: impl FnOnce(&mut T) -> bool) {
    let Some(node) = link else { return };
    match interval.cmp(&node.interval) {
        std::cmp::Ordering::Less => shrink(&mut node.left, interval, change),
        std::cmp::Ordering::Greater => shrink(&mut node.right, interval, change),
        std::cmp::Ordering::Equal => {
            if !change(&mut node.value) {
                return;
            }
            let (left, right) = (node.left.take(), node.right.take());
            *link = merge(left, right);
            return;
        }
    }
    if let Some(node) = link {
        measure(node);
    }
}

/// Joins two trees, all of `left` before all of `right`.
fn merge<T>(left: Link<T>, right: Link<T>) -> Link<T> {
    match (left, right) {
        (None, other) | (other, None) => other,
        (Some(mut left), Some(mut right)) => {
            if left.priority >= right.priority {
                left.right = merge(left.right.take(), Some(right));
                measure(&mut left);
                Some(left)
            } else {
                right.left = merge(Some(left), right.left.take());
                measure(&mut right);
                Some(right)
            }
        }
    }
}

fn measure<T>(node: &mut Node<T>) {
    let below = [&node.left, &node.right].into_iter().flatten().map(|child| &child.furthest);
    let furthest = below.chain([&node.interval.end]).max();
    if let Some(furthest) = furthest
        && *furthest != node.furthest
    {
        node.furthest = furthest.clone();
    }
}

/// After a child changed: lifts the one that has a greater priority, and measures anew.
fn settle<T>(link: &mut Link<T>) {
    let Some(mut node) = link.take() else { return };
    let above =
        |child: &Link<T>| child.as_ref().is_some_and(|child| child.priority > node.priority);
    let (lift_left, lift_right) = (above(&node.left), above(&node.right));
    if lift_left && let Some(mut child) = node.left.take() {
        node.left = child.right.take();
        measure(&mut node);
        child.right = Some(node);
        node = child;
    } else if lift_right && let Some(mut child) = node.right.take() {
        node.right = child.left.take();
        measure(&mut node);
        child.left = Some(node);
        node = child;
    }
    measure(&mut node);
    *link = Some(node);
}

fn holding<'t, T>(link: &'t Link<T>, key: &[u8], found: &mut impl FnMut(&'t T)) {
    let Some(node) = link.as_ref().filter(|node| node.furthest.is_behind(key)) else { return };
    holding(&node.left, key, found);
    if &node.interval.from[..] <= key {
        if node.interval.end.is_behind(key) {
            found(&node.value);
        }
        holding(&node.right, key, found);
    }
}

fn each<'t, T>(link: &'t Link<T>, found: &mut impl FnMut(&'t T)) {
    let Some(node) = link else { return };
    each(&node.left, found);
    found(&node.value);
    each(&node.right, found);
}

/// Neighbouring numbers far apart (the finalizer of splitmix64).
fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(0u8..4, 0..4).prop_map(Bytes::from)
    }

    fn interval() -> impl Strategy<Value = Interval> {
        let end = prop_oneof![3 => key().prop_map(End::Before), 1 => Just(End::Open)];
        (key(), end).prop_map(|(from, end)| Interval { from, end })
    }

    proptest! {
        /// A map of counts and a look at each range say the same.
        #[test]
        fn finds_what_a_look_at_each_range_finds(
            steps in proptest::collection::vec((interval(), any::<bool>()), 0..80),
            keys in proptest::collection::vec(key(), 1..10),
        ) {
            let (mut tree, mut model) = (Intervals::<i32>::default(), BTreeMap::new());
            for (interval, add) in steps {
                if add {
                    tree.update(interval.clone(), |count| *count += 1);
                    *model.entry(interval).or_insert(0) += 1;
                } else {
                    tree.shrink(&interval, |count| { *count -= 1; *count == 0 });
                    if let Some(count) = model.get_mut(&interval) {
                        *count -= 1;
                        if *count == 0 { model.remove(&interval); }
                    }
                }
            }
            for key in keys {
                let (mut found, mut expected) = (Vec::new(), Vec::new());
                tree.holding(&key, &mut |count| found.push(*count));
                for (interval, count) in &model {
                    if interval.from <= key && interval.end.is_behind(&key) {
                        expected.push(*count);
                    }
                }
                prop_assert_eq!(found, expected);
            }
            let mut all = Vec::new();
            tree.each(&mut |count| all.push(*count));
            prop_assert_eq!(all, model.into_values().collect::<Vec<_>>());
        }
    }

    #[test]
    fn stays_shallow_when_ranges_come_in_order() {
        fn depth<T>(link: &Link<T>) -> usize {
            link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
        }
        let mut tree = Intervals::<u32>::default();
        for number in 0..10_000u32 {
            let from = Bytes::copy_from_slice(&number.to_be_bytes());
            let end = End::Before(Bytes::copy_from_slice(&(number + 1).to_be_bytes()));
            tree.update(Interval { from, end }, |value| *value = number);
        }
        assert!(depth(&tree.root) < 50, "{}", depth(&tree.root));
        let mut found = Vec::new();
        tree.holding(&5_000u32.to_be_bytes(), &mut |value| found.push(*value));
        assert_eq!(found, [5_000]);
    }
}
