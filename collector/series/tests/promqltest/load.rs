//! `load`: series into memory, with start times and with classic histograms as native ones, too.

use std::{collections::BTreeMap, sync::Arc};

use watchkeep_series::{
    ClassicHistogram, HistogramSample, Labels, METRIC_NAME, Points, StartTime,
    promql::{MemorySeries, notation},
};

use crate::{Failure, script::duration_ms};

pub(crate) fn load(
    memory: &mut MemorySeries,
    step_ms: i64,
    classic_too: bool,
    series: &[String],
) -> Result<(), Failure> {
    let mut loaded = Vec::new();
    for line in series {
        let (labels, rest) = match line.split_once("@st") {
            // `metric@st`: no labels, so the notation has no end of its own.
            Some((metric, rest)) if !metric.contains(char::is_whitespace) => {
                (notation::parse_labels(metric)?.0, Some(rest))
            }
            _ => (notation::parse_labels(line)?.0, None),
        };
        match rest {
            Some(starts) => memory.insert(start_times(labels, starts, step_ms)?),
            None => {
                let (labels, points) = notation::parse_series(line)?;
                loaded.push(notation::place(labels, &points, 0, step_ms));
            }
        }
    }
    if classic_too {
        for points in as_native(&loaded)? {
            let mut points = points;
            hint(&mut points);
            memory.insert(points);
        }
    }
    for mut points in loaded {
        hint(&mut points);
        memory.insert(points);
    }
    Ok(())
}

/// A store says of histograms that follow each other whether their counter was reset; the notation does not.
fn hint(points: &mut Points) {
    let mut before: Option<HistogramSample> = None;
    for sample in &mut points.histograms {
        let follows = before.as_ref().filter(|before| {
            let between = before.timestamp_ms..sample.timestamp_ms;
            !points.floats.iter().any(|s| between.contains(&s.timestamp_ms))
        });
        let hint = sample.value.hint_after(follows.map(|before| &*before.value));
        if hint != sample.value.reset_hint {
            Arc::make_mut(&mut sample.value).reset_hint = hint;
        }
        before = Some(sample.clone());
    }
}

/// Start times as durations before or after their samples: `_ -1m -30s-1mx2`.
fn start_times(labels: Labels, text: &str, step_ms: i64) -> Result<Points, Failure> {
    let mut points = Points { labels, ..Points::default() };
    let mut timestamp_ms = 0;
    for item in text.split_whitespace() {
        if item == "_" {
            timestamp_ms += step_ms;
            continue;
        }
        let (series, times) = match item.rsplit_once('x') {
            Some((series, times)) => (series, times.parse::<usize>()?),
            None => (item, 0),
        };
        let sign = series[1..].find(['+', '-']).map(|at| at + 1);
        let (start, by) = match sign {
            Some(at) => (duration_ms(&series[..at])?, duration_ms(&series[at..])?),
            None => (duration_ms(series)?, 0),
        };
        for n in 0..=i64::try_from(times)? {
            points.starts.push(StartTime { timestamp_ms, start_ms: timestamp_ms + start + by * n });
            timestamp_ms += step_ms;
        }
    }
    Ok(points)
}

/// Classic histograms among the series as native ones with custom buckets.
fn as_native(series: &[Points]) -> Result<Vec<Points>, Failure> {
    let mut found: BTreeMap<Labels, BTreeMap<i64, ClassicHistogram>> = BTreeMap::new();
    let mut with_buckets = Vec::new();
    // Counts and sums last, once it is known which have buckets.
    for part in ["_bucket", "_count", "_sum"] {
        for points in series {
            let name = points.labels.get(METRIC_NAME).unwrap_or_default();
            let Some(base) = name.strip_suffix(part) else { continue };
            let labels = points.labels.with("le", "").renamed(base);
            if part == "_bucket" {
                with_buckets.push(labels.clone());
            } else if !with_buckets.contains(&labels) {
                continue;
            }
            let le: f64 = points.labels.get("le").unwrap_or("+Inf").parse()?;
            let at = found.entry(labels).or_default();
            for sample in &points.floats {
                if sample.value.is_nan() {
                    continue;
                }
                let histogram = at.entry(sample.timestamp_ms).or_default();
                match part {
                    "_bucket" => histogram.set_bucket(le, sample.value)?,
                    "_count" => histogram.set_count(sample.value),
                    _ => histogram.set_sum(sample.value),
                }
            }
        }
    }
    let mut native = Vec::new();
    for (labels, histograms) in found {
        let mut points = Points { labels, ..Points::default() };
        for (timestamp_ms, histogram) in histograms {
            let value = Arc::new(histogram.to_native()?);
            points.histograms.push(HistogramSample { timestamp_ms, value });
        }
        native.push(points);
    }
    Ok(native)
}
