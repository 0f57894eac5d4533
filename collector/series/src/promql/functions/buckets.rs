//! Quantiles and fractions of classic histograms: cumulative counts by upper bound.

/// Differences of counts that are rounding errors, relative.
const TOLERANCE: f64 = 1e-12;

/// A bucket: observations up to `bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) bound: f64,
    pub(crate) count: f64,
}

/// The value below which `q` of the observations lie, evenly spread within a bucket; and whether counts that fell had to
/// be raised. The buckets are sorted by this.
pub(crate) fn quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if !prepare(buckets) {
        return (f64::NAN, false);
    }
    let forced = monotonic(buckets);
    let [.., before_last, last] = buckets.as_slice() else { return (f64::NAN, false) };
    if last.count == 0.0 {
        return (f64::NAN, false);
    }
    let mut rank = q * last.count;
    let at = buckets[..buckets.len() - 1].partition_point(|b| b.count < rank);
    if at == buckets.len() - 1 {
        return (before_last.bound, forced);
    }
    let end = buckets[at].bound;
    if at == 0 && end <= 0.0 {
        return (end, forced);
    }
    let (mut start, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        start = buckets[at - 1].bound;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (end - start) * (rank / count), forced)
}

/// The share of the observations between two values.
pub(crate) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !prepare(buckets) {
        return f64::NAN;
    }
    let all = buckets.last().map_or(0.0, |b| b.count);
    if all == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value: f64| rank(value, buckets).filter(|rank| *rank <= all).unwrap_or(all);
    (rank(upper) - rank(lower)) / all
}

/// How many observations lie below a value.
fn rank(value: f64, buckets: &[Bucket]) -> Option<f64> {
    let mut below = 0.0;
    let mut start = match buckets.first() {
        Some(first) if first.bound > 0.0 => 0.0,
        _ => f64::NEG_INFINITY,
    };
    for bucket in buckets {
        if start >= value {
            return Some(below);
        }
        if bucket.bound > value {
            if start == f64::NEG_INFINITY {
                // Nothing can be said of where in an endless bucket an observation lies.
                return Some(bucket.count);
            }
            return Some(below + (bucket.count - below) * (value - start) / (bucket.bound - start));
        }
        below = bucket.count;
        start = bucket.bound;
    }
    None
}

/// Sorts, merges buckets of one bound; false when the highest is not +Inf.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.last().is_none_or(|b| b.bound != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Raises counts that fall; rounding errors are evened out without mention.
fn monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let Some(mut before) = buckets.first().map(|b| b.count) else { return false };
    for bucket in &mut buckets[1..] {
        if nearly(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            forced = true;
        } else {
            before = bucket.count;
        }
    }
    forced
}

fn nearly(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()
    }

    #[test]
    fn quantiles() {
        let inf = f64::INFINITY;
        for (q, pairs, expected, forced) in [
            (0.5, vec![(1.0, 1.0), (2.0, 3.0), (inf, 4.0)], 1.5, false),
            (1.0, vec![(1.0, 1.0), (2.0, 3.0), (inf, 4.0)], 2.0, false),
            (0.1, vec![(inf, 4.0), (2.0, 4.0), (1.0, 4.0)], 0.1, false),
            (0.5, vec![(1.0, 2.0), (2.0, 1.0), (inf, 4.0)], 1.0, true),
            (0.5, vec![(-1.0, 4.0), (inf, 4.0)], -1.0, false),
        ] {
            assert_eq!(quantile(q, &mut buckets(&pairs)), (expected, forced), "{q} {pairs:?}");
        }
        assert!(quantile(0.5, &mut buckets(&[(1.0, 1.0)])).0.is_nan());
        assert!(quantile(0.5, &mut Vec::new()).0.is_nan());
    }

    #[test]
    fn fractions() {
        let of = |lower, upper| {
            fraction(lower, upper, &mut buckets(&[(1.0, 1.0), (2.0, 3.0), (f64::INFINITY, 4.0)]))
        };
        assert_eq!(of(0.0, 1.0), 0.25);
        assert_eq!(of(1.0, 1.5), 0.25);
        assert_eq!(of(f64::NEG_INFINITY, f64::INFINITY), 1.0);
        assert_eq!(of(2.0, 1.0), 0.0);
    }
}
