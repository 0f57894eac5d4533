//! Spans and counts as a list of indexed counts, and back.

use super::{INDEX_MAX, Span};

/// Each bucket's index and count, rising. What spans and counts do not share is left out.
pub(super) fn cells(spans: &[Span], buckets: &[f64]) -> impl Iterator<Item = (i64, f64)> {
    let mut end = 0_i64;
    let indexes = spans.iter().flat_map(move |span| {
        let start = end.saturating_add(i64::from(span.offset)).clamp(-INDEX_MAX, INDEX_MAX);
        end = start.saturating_add(i64::from(span.length)).min(INDEX_MAX);
        start..end
    });
    indexes.zip(buckets.iter().copied())
}

/// The fewest spans that hold these cells, whose indexes rise.
pub(super) fn pack(cells: impl IntoIterator<Item = (i64, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut buckets): (Vec<Span>, Vec<f64>) = Default::default();
    let mut end = 0_i64;
    for (index, count) in cells {
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span { offset: (index - end) as i32, length: 1 }),
        }
        buckets.push(count);
        end = index + 1;
    }
    (spans, buckets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(map in prop::collection::btree_map(-5_000_i64..5_000, 0.0..9.0, 0..40)) {
            let (spans, buckets) = pack(map.clone());
            prop_assert_eq!(cells(&spans, &buckets).collect::<Vec<_>>(), Vec::from_iter(map));
            prop_assert!(spans.iter().skip(1).all(|s| s.offset > 0 && s.length > 0));
        }

        #[test]
        fn any_spans_are_read(raw: Vec<(i32, u16)>, buckets: Vec<f64>) {
            let spans: Vec<_> =
                raw.iter().map(|&(offset, length)| Span { offset, length: length.into() }).collect();
            prop_assert!(cells(&spans, &buckets).all(|(index, _)| index.abs() <= INDEX_MAX));
        }
    }

    #[test]
    fn empty_spans_are_only_gaps() {
        let spans = [
            Span { offset: -2, length: 1 },
            Span { offset: 1, length: 0 },
            Span { offset: 2, length: 2 },
        ];
        let found: Vec<_> = cells(&spans, &[1.0, 2.0, 3.0]).collect();
        assert_eq!(found, [(-2, 1.0), (2, 2.0), (3, 3.0)]);
        assert_eq!(pack(found).0, [Span { offset: -2, length: 1 }, Span { offset: 3, length: 2 }]);
    }
}
