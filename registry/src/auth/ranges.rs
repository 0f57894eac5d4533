//! A set of keys as disjoint ranges, and whether it covers a request: pure.
//!
//! ```text
//! granted  [a, c)  [b, f)  [m, …)     merged  [a, f)  [m, …)
//! asked    [b, e) covered    [e, n) not: f to m is missing    x covered
//! ```

use bytes::Bytes;

/// From a key up to another, without it; no end: all keys behind the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) from: Bytes,
    pub(super) to: Option<Bytes>,
}

impl Interval {
    /// The range of a request or a permission as etcd writes it: an empty end is the key alone, `"\0"` no end.
    pub(super) fn new(key: &Bytes, end: &Bytes) -> Self {
        let to = match &end[..] {
            b"" => Some([&key[..], b"\0"].concat().into()),
            b"\0" => None,
            _ => Some(end.clone()),
        };
        Self { from: key.clone(), to }
    }

    /// All keys that begin with `prefix`, which does not end in `ff`.
    pub(super) fn prefix(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { from: Bytes::copy_from_slice(prefix.as_bytes()), to: Some(end.into()) }
    }

    fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// Whether all of `other` lies in it.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.from <= other.from && reaches(self.to.as_ref(), other.to.as_deref())
    }

    /// Whether they have a key in common.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let ends_before = |a: &Self, b: &Self| a.to.as_ref().is_some_and(|to| *to <= b.from);
        !self.is_empty()
            && !other.is_empty()
            && !ends_before(self, other)
            && !ends_before(other, self)
    }

    /// What is left of it without `hole`.
    fn without(self, hole: &Self) -> [Option<Self>; 2] {
        if !self.overlaps(hole) {
            return [Some(self), None];
        }
        let before = (self.from < hole.from)
            .then(|| Self { from: self.from.clone(), to: Some(hole.from.clone()) });
        let after = hole.to.as_ref().and_then(|end| {
            let more = self.to.as_ref().is_none_or(|to| to > end);
            more.then(|| Self { from: end.clone(), to: self.to.clone() })
        });
        [before, after]
    }
}

/// Whether a range that ends at `to` reaches as far as `other`; none is the farthest.
fn reaches(to: Option<&Bytes>, other: Option<&[u8]>) -> bool {
    match (to, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(to), Some(other)) => &to[..] >= other,
    }
}

/// Disjoint ranges in order, none of which touches the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Interval>);

impl Ranges {
    /// Their union.
    pub(super) fn union(intervals: impl IntoIterator<Item = Interval>) -> Self {
        let mut sorted: Vec<_> = intervals.into_iter().filter(|i| !i.is_empty()).collect();
        sorted.sort_by(|a, b| a.from.cmp(&b.from));
        let mut merged: Vec<Interval> = Vec::with_capacity(sorted.len());
        for next in sorted {
            match merged.last_mut() {
                Some(last) if reaches(last.to.as_ref(), Some(&next.from)) => {
                    if !reaches(last.to.as_ref(), next.to.as_deref()) {
                        last.to = next.to;
                    }
                }
                _ => merged.push(next),
            }
        }
        Self(merged)
    }

    /// The same without `hole`.
    pub(super) fn without(self, hole: &Interval) -> impl Iterator<Item = Interval> {
        self.0.into_iter().flat_map(|interval| interval.without(hole)).flatten()
    }

    /// Whether every key that a request means lies in it.
    pub(super) fn covers(&self, key: &[u8], end: &[u8]) -> bool {
        let behind = self.0.partition_point(|interval| interval.from <= key);
        let Some(interval) = behind.checked_sub(1).map(|at| &self.0[at]) else { return false };
        match end {
            b"" => interval.to.as_ref().is_none_or(|to| key < to),
            b"\0" => interval.to.is_none(),
            _ => {
                interval.to.as_ref().is_none_or(|to| key < to)
                    && reaches(interval.to.as_ref(), Some(end))
            }
        }
    }

    /// Whether it is all keys.
    pub(super) fn is_everything(&self) -> bool {
        matches!(&self.0[..], [Interval { from, to: None }] if from.iter().all(|byte| *byte == 0) && from.len() <= 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LETTERS: &[u8] = b"abcd";

    fn range() -> impl Strategy<Value = (Bytes, Bytes)> {
        let key = || proptest::collection::vec(proptest::sample::select(LETTERS), 1..3);
        let end = prop_oneof![
            2 => Just(Vec::new()),
            1 => Just(vec![0]),
            5 => key(),
        ];
        (key(), end).prop_map(|(key, end)| (key.into(), end.into()))
    }

    /// Every key of up to three letters, and some beside the letters.
    fn keys() -> Vec<Bytes> {
        let mut all: Vec<Vec<u8>> = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..3 {
            let known = all.len();
            for at in from..known {
                for letter in b"\0abcdz" {
                    let longer = [&all[at][..], &[*letter]].concat();
                    all.push(longer);
                }
            }
            from = known;
        }
        all.into_iter().skip(1).map(Bytes::from).collect()
    }

    fn has(key: &[u8], (from, end): &(Bytes, Bytes)) -> bool {
        crate::mvcc::Bounds::new(from, end).contains(key)
    }

    proptest! {
        /// A request is covered exactly when each key in it is granted: keys of three letters tell ranges of two apart.
        #[test]
        fn covers_as_each_key_is_granted(
            granted in proptest::collection::vec(range(), 0..6),
            hole in range(),
            asked in range(),
        ) {
            let intervals = || granted.iter().map(|(key, end)| Interval::new(key, end));
            let hole_interval = Interval::new(&hole.0, &hole.1);
            let all = Ranges::union(intervals());
            let holed = Ranges::union(all.clone().without(&hole_interval));
            let meant: Vec<Bytes> = keys().into_iter().filter(|key| has(key, &asked)).collect();
            let each = |allowed: &dyn Fn(&Bytes) -> bool| meant.iter().all(allowed);
            let granted_key = |key: &Bytes| granted.iter().any(|range| has(key, range));
            // What means no key at all gives nothing away, however it is judged.
            if !meant.is_empty() {
                prop_assert_eq!(all.covers(&asked.0, &asked.1), each(&granted_key));
                let left = |key: &Bytes| granted_key(key) && !has(key, &hole);
                prop_assert_eq!(holed.covers(&asked.0, &asked.1), each(&left));
            }
            prop_assert_eq!(
                Interval::new(&asked.0, &asked.1).overlaps(&hole_interval),
                meant.iter().any(|key| has(key, &hole))
            );
        }
    }

    #[test]
    fn touching_ranges_are_one() {
        let ranges = Ranges::union(
            [("c", "f"), ("a", "c"), ("x", "\0")]
                .map(|(a, b)| Interval::new(&Bytes::from(a), &Bytes::from(b))),
        );
        assert!(ranges.covers(b"a", b"f"));
        assert!(!ranges.covers(b"a", b"g"));
        assert!(!ranges.covers(b"a", b"\0"), "to the end of all keys");
        assert!(ranges.covers(b"y", b"\0"));
        assert!(!ranges.covers(b"w", b"\0"));
        assert!(!ranges.is_everything());
        assert!(Ranges::union([Interval::new(&"\0".into(), &"\0".into())]).is_everything());
    }
}
