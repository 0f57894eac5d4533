//! Series of classic histograms (`x_bucket{le=…}`, `x_count`, `x_sum`) gathered to series of native ones (`x`).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::{ClassicHistogram, HistogramError};
use crate::{HistogramSample, Labels, METRIC_NAME, Points};

/// The label of a bucket's upper bound.
const BOUND: &str = "le";

/// The native histograms that classic series among these stand for, with custom buckets, sorted by labels. A
/// `_bucket` whose bound is no number is passed over, as is any series of another name. (`load_with_nhcb` in test files.)
///
/// # Errors
/// When a bucket's count falls below that of a lower one at the same time.
pub fn native_from_classic(series: &[Points]) -> Result<Vec<Points>, HistogramError> {
    let mut gathered: BTreeMap<Labels, BTreeMap<i64, ClassicHistogram>> = BTreeMap::new();
    for points in series {
        let Some((labels, part)) = part_of(&points.labels) else { continue };
        let by_time = gathered.entry(labels).or_default();
        for sample in &points.floats {
            let histogram = match by_time.entry(sample.timestamp_ms) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(ClassicHistogram::default()),
            };
            match part {
                Part::Bucket(le) => histogram.set_bucket(le, sample.value)?,
                Part::Count => histogram.set_count(sample.value),
                Part::Sum => histogram.set_sum(sample.value),
            }
        }
    }
    let native = |(labels, by_time): (Labels, BTreeMap<i64, ClassicHistogram>)| {
        let sample = |(timestamp_ms, classic): (&i64, &ClassicHistogram)| {
            let value = Arc::new(classic.to_native()?);
            Ok(HistogramSample { timestamp_ms: *timestamp_ms, value })
        };
        let histograms = by_time.iter().map(sample).collect::<Result<_, HistogramError>>()?;
        Ok(Points { labels, histograms, ..Points::default() })
    };
    gathered.into_iter().map(native).collect()
}

#[derive(Clone, Copy)]
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// The native histogram's labels, and what of it this series is.
fn part_of(labels: &Labels) -> Option<(Labels, Part)> {
    let name = labels.get(METRIC_NAME)?;
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        let le: f64 = labels.get(BOUND)?.parse().ok().filter(|le: &f64| !le.is_nan())?;
        (base, Part::Bucket(le))
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, Part::Count)
    } else {
        (name.strip_suffix("_sum")?, Part::Sum)
    };
    let is_bucket = matches!(part, Part::Bucket(_));
    let others =
        labels.iter().filter(|(name, _)| *name != METRIC_NAME && !(is_bucket && *name == BOUND));
    Some((Labels::new(others.chain([(METRIC_NAME, base)])), part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    fn series(name: &str, labels: &[(&str, &str)], values: &[f64]) -> Points {
        let labels = Labels::new(labels.iter().copied().chain([(METRIC_NAME, name)]));
        let at = |(at, value): (usize, &f64)| Sample { timestamp_ms: at as i64, value: *value };
        Points { labels, floats: values.iter().enumerate().map(at).collect(), ..Points::default() }
    }

    #[test]
    fn parts_come_together() -> Result<(), HistogramError> {
        let made = native_from_classic(&[
            series("x_bucket", &[("le", "1"), ("job", "a")], &[1.0, 2.0]),
            series("x_bucket", &[("le", "+Inf"), ("job", "a")], &[3.0, 5.0]),
            series("x_sum", &[("job", "a")], &[4.5]),
            series("x_bucket", &[("le", "nothing"), ("job", "a")], &[9.0]),
            series("x_bucket", &[("job", "a")], &[9.0]),
            series("y_count", &[], &[2.0]),
            series("up", &[], &[1.0]),
        ])?;
        let text: Vec<_> = made
            .iter()
            .flat_map(|p| {
                p.histograms.iter().map(|h| format!("{} {}", p.labels, h.value.notation()))
            })
            .collect();
        assert_eq!(
            text,
            [
                r#"x{job="a"} {{schema:-53 count:3 sum:4.5 custom_values:[1] buckets:[1 2]}}"#,
                r#"x{job="a"} {{schema:-53 count:5 custom_values:[1] buckets:[2 3]}}"#,
                "y{} {{schema:-53 count:2 custom_values:[] buckets:[2]}}",
            ]
        );
        let falling = [
            series("x_bucket", &[("le", "1")], &[2.0]),
            series("x_bucket", &[("le", "2")], &[1.0]),
        ];
        assert!(native_from_classic(&falling).is_err());
        Ok(())
    }
}
