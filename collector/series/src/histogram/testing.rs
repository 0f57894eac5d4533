//! Histograms for property tests, and a naive model of one: every observation by itself.

use proptest::prelude::*;

use super::{CUSTOM_SCHEMA, Histogram, ResetHint, span};

type Side = std::collections::BTreeMap<i64, u16>;

fn side(range: std::ops::Range<i64>) -> impl Strategy<Value = Side> {
    prop::collection::btree_map(range, 0_u16..20, 0..12)
}

fn total(side: &Side) -> f64 {
    side.values().map(|c| f64::from(*c)).sum()
}

/// Exponential buckets of any schema, outside of a zero bucket of one of a few widths.
pub(super) fn exponential() -> impl Strategy<Value = Histogram> {
    let threshold = prop::sample::select(vec![0.0, 1e-128, 0.001, 0.25, 0.3, 1.0]);
    (-2_i32..5, threshold, 0_u16..9, side(-12..30), side(-12..30)).prop_map(
        |(schema, zero_threshold, zero, mut positive, mut negative)| {
            for side in [&mut positive, &mut negative] {
                side.retain(|index, _| {
                    super::bound::upper(index - 1, schema, &[]) >= zero_threshold
                });
            }
            let count = f64::from(zero) + total(&positive) + total(&negative);
            let pack = |side: Side| span::pack(side.into_iter().map(|(i, c)| (i, f64::from(c))));
            let (positive_spans, positive_buckets) = pack(positive);
            let (negative_spans, negative_buckets) = pack(negative);
            Histogram {
                reset_hint: ResetHint::Unknown,
                schema,
                zero_threshold,
                zero_count: zero.into(),
                count,
                sum: count * 1.5,
                positive_spans,
                negative_spans,
                positive_buckets,
                negative_buckets,
                custom_values: Vec::new(),
            }
        },
    )
}

/// Custom buckets on some of ten bounds.
pub(super) fn custom() -> impl Strategy<Value = Histogram> {
    let bounds = prop::sample::subsequence((-3..7).collect::<Vec<i8>>(), 0..10);
    (bounds, side(0..11)).prop_map(|(bounds, mut buckets)| {
        buckets.retain(|index, _| *index <= bounds.len() as i64);
        let count = total(&buckets);
        let (positive_spans, positive_buckets) =
            span::pack(buckets.into_iter().map(|(i, c)| (i, f64::from(c))));
        Histogram {
            schema: CUSTOM_SCHEMA,
            count,
            sum: count * 2.0,
            positive_spans,
            positive_buckets,
            custom_values: bounds.into_iter().map(f64::from).collect(),
            ..Histogram::default()
        }
    })
}
