//! What names a series: label names and values, sorted by name.
//!
//! All of them lie in one string, so that a series' labels are one allocation and compare and hash as bytes do:
//!
//! ```text
//! count │ length name length value │ …        lengths and the count: one byte below 127, else 127 and four bytes
//! ```
//! Each of those bytes has seven bits, so the whole is UTF-8 when the names and values are.

use std::{cmp::Ordering, fmt, sync::Arc};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// A length from here on takes four more bytes.
const LONG: u8 = 0x7f;

/// Labels, sorted by name, each name once, no value empty (in the Prometheus data model a label with an
/// empty value is one that is not there). Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// Sorts the pairs; of two with one name the last holds, and empty values are dropped. A name or value may
    /// have at most 256 MiB.
    #[must_use]
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        let last_of_name = pairs
            .iter()
            .enumerate()
            .filter(|(at, (name, _))| {
                pairs.get(at + 1).is_none_or(|next| next.0.as_ref() != name.as_ref())
            })
            .map(|(_, (name, value))| (name.as_ref(), value.as_ref()))
            .filter(|(_, value)| !value.is_empty());
        Self::from_sorted(last_of_name)
    }

    /// From pairs that are sorted by name, each name once, no value empty.
    pub(crate) fn from_sorted<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut text = String::with_capacity(256);
        let mut count = 0;
        for (name, value) in pairs {
            put(&mut text, name.as_ref());
            put(&mut text, value.as_ref());
            count += 1;
        }
        let mut head = String::with_capacity(5 + text.len());
        put_length(&mut head, count);
        head.push_str(&text);
        Self(head.into())
    }

    /// The same labels on another metric.
    #[must_use]
    pub fn renamed(&self, metric: &str) -> Self {
        let others = self.iter().filter(|(name, _)| *name != METRIC_NAME);
        Self::new(others.chain([(METRIC_NAME, metric)]))
    }

    /// The same labels with one set, or removed by an empty value.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let before = self.iter().take_while(|(n, _)| *n < name);
        let set = (!value.is_empty()).then_some((name, value));
        let after = self.iter().skip_while(|(n, _)| *n <= name);
        Self::from_sorted(before.chain(set).chain(after))
    }

    /// A label's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().take_while(|(n, _)| *n <= name).find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Where they lie, which their copies share, and nothing else while one of them is there.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// How many copies there are.
    pub(crate) fn copies(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// All labels, sorted by name.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        let (count, rest) = length(&self.0);
        Iter { count, rest }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        length(&self.0).0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The labels one after the other.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    count: usize,
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let (size, rest) = length(self.rest);
        let (name, rest) = rest.split_at(size);
        let (size, rest) = length(rest);
        let (value, rest) = rest.split_at(size);
        self.rest = rest;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Iter<'_> {}

fn put(text: &mut String, part: &str) {
    put_length(text, part.len());
    text.push_str(part);
}

fn put_length(text: &mut String, length: usize) {
    if length < usize::from(LONG) {
        text.push(char::from(length as u8));
    } else {
        text.push(char::from(LONG));
        for shift in [21, 14, 7, 0] {
            text.push(char::from((length >> shift) as u8 & 0x7f));
        }
    }
}

/// The length that a text begins with, and what follows it.
fn length(text: &str) -> (usize, &str) {
    match text.as_bytes() {
        [LONG, a, b, c, d, ..] => {
            let length = [a, b, c, d].iter().fold(0, |sum, byte| sum << 7 | usize::from(**byte));
            (length, &text[5..])
        }
        [short, ..] => (usize::from(*short), &text[1..]),
        [] => (0, text),
    }
}

impl Default for Labels {
    /// No labels.
    fn default() -> Self {
        Self::from_sorted([("", ""); 0])
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Labels {
    /// As PromQL writes it: `probe_success{service="web"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(METRIC_NAME).unwrap_or_default())?;
        f.write_str("{")?;
        let others = self.iter().filter(|(name, _)| *name != METRIC_NAME);
        for (at, (name, value)) in others.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sorted_once_and_never_empty() {
        let labels =
            Labels::new([("service", "web"), ("__name__", "up"), ("zone", ""), ("service", "db")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("__name__", "up"), ("service", "db")]);
        assert_eq!(labels.get("service"), Some("db"));
        assert_eq!(labels.get("zone"), None);
        assert_eq!(labels.to_string(), r#"up{service="db"}"#);
        let renamed = Labels::new([("service", "db"), ("__name__", "down")]);
        assert_eq!(labels.renamed("down"), renamed);
        assert_eq!(Labels::new([("service", "db")]).renamed("down"), renamed);
        assert!(Labels::default().is_empty());
    }

    #[test]
    fn long_texts() {
        let [short, long] = [126, 1 << 20].map(|n| "é".repeat(n / 2));
        let labels = Labels::new([("a", &long), ("b", &short), ("c", &long)]);
        assert_eq!((labels.get("a"), labels.get("b")), (Some(&*long), Some(&*short)));
        assert_eq!((labels.get("c"), labels.len()), (Some(&*long), 3));
    }

    proptest! {
        #[test]
        fn is_an_ordered_map(
            a in prop::collection::btree_map("[a-c]{0,2}", ".{1,3}", 0..5),
            b in prop::collection::btree_map("[a-c]{0,2}", ".{1,3}", 0..5),
        ) {
            let pairs = |labels: &Labels| -> BTreeMap<String, String> {
                labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
            };
            let (one, two) = (Labels::new(&a), Labels::new(&b));
            prop_assert_eq!(pairs(&one), a.clone());
            prop_assert_eq!(one.cmp(&two), a.cmp(&b));
            prop_assert_eq!(one == two, a == b);
        }
    }
}
