//! The samples that both sides are given: counters with resets and gaps, gauges with negative, infinite and NaN values,
//! series that begin late, end with a staleness marker or have fewer labels, classic and native histograms.
//!
//! Values are multiples of 1/8, so that sums are exact in whatever order they are added up. Counters begin far above
//! zero, and those with gaps stay there (see `differences.rs` on extrapolation).

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use watchkeep_series::{Histogram, HistogramSample, Labels, Points, Sample, stale_nan};

use crate::generate::{END_MS, JOBS, START_MS};

const INTERVAL_MS: i64 = 15_000;
const BOUNDS: [&str; 6] = ["0.1", "0.25", "0.5", "1", "2.5", "+Inf"];

/// All series.
pub(crate) fn series() -> Vec<Points> {
    let mut rng = StdRng::seed_from_u64(42);
    let mut all = Vec::new();
    for job in JOBS {
        for instance in ["0", "1", "2"] {
            let labels = [("job", job), ("instance", instance)];
            counters(&mut all, &mut rng, &labels);
            let start = f64::from(rng.random_range(-80..80_i32)) / 8.0;
            let temperature = walk(&mut rng, start);
            all.push(points(&mut rng, "temperature", &labels, temperature));
            let up = (0..steps()).map(|_| Some(f64::from(rng.random_bool(0.9)))).collect();
            all.push(points(&mut rng, "up", &labels, up));
        }
        let level = f64::from(rng.random_range(10..100_i32));
        all.push(points(&mut rng, "limit", &[("job", job)], vec![Some(level); steps()]));
        for instance in ["0", "1"] {
            histogram(&mut all, &mut rng, job, instance);
        }
    }
    odd(&mut all, &mut rng);
    for (schema, job) in (-1..).zip(JOBS) {
        all.push(native(&mut rng, schema, job));
    }
    all
}

fn steps() -> usize {
    ((END_MS - START_MS) / INTERVAL_MS) as usize
}

fn counters(all: &mut Vec<Points>, rng: &mut StdRng, labels: &[(&str, &str)]) {
    for code in ["200", "500"] {
        let with_gaps = code == "500";
        let lowest = if with_gaps { 5_000.0 } else { 0.0 };
        let (mut value, mut silent) = (5_000.0, 0);
        let values = (0..steps())
            .map(|_| {
                value += f64::from(rng.random_range(0..40_i32));
                if rng.random_bool(0.02) {
                    value = lowest + f64::from(rng.random_range(0..5_i32));
                }
                if with_gaps && rng.random_bool(0.04) {
                    silent = rng.random_range(1..25);
                }
                silent -= 1;
                (silent < 0).then_some(value)
            })
            .collect();
        let labels = [labels, &[("code", code)]].concat();
        all.push(points(rng, "requests_total", &labels, values));
    }
}

fn walk(rng: &mut StdRng, start: f64) -> Vec<Option<f64>> {
    let mut value = start;
    (0..steps())
        .map(|_| {
            value += f64::from(rng.random_range(-16..17_i32)) / 8.0;
            Some(value)
        })
        .collect()
}

fn histogram(all: &mut Vec<Points>, rng: &mut StdRng, job: &str, instance: &str) {
    let mut counts: [f64; BOUNDS.len()] =
        std::array::from_fn(|bucket| 400.0 + 100.0 * bucket as f64);
    let mut sum = 0.0;
    let mut rows: Vec<Vec<Option<f64>>> = vec![Vec::new(); BOUNDS.len() + 1];
    for _ in 0..steps() {
        for _ in 0..rng.random_range(0..12) {
            let bucket = rng.random_range(0..BOUNDS.len());
            counts[bucket..].iter_mut().for_each(|count| *count += 1.0);
            sum += bucket as f64 / 4.0;
        }
        let row = counts.iter().copied().chain([sum]);
        rows.iter_mut().zip(row).for_each(|(values, value)| values.push(Some(value)));
    }
    let labels = [("job", job), ("instance", instance)];
    let total = rows[BOUNDS.len() - 1].clone();
    all.push(points(rng, "latency_seconds_sum", &labels, rows.remove(BOUNDS.len())));
    all.push(points(rng, "latency_seconds_count", &labels, total));
    // One scrape has one time: buckets of different times would be no histogram.
    let base = points(rng, "latency_seconds_bucket", &labels, rows[0].clone());
    for (le, values) in BOUNDS.iter().zip(rows) {
        let mut floats = base.floats.clone();
        for (sample, value) in floats.iter_mut().zip(values.into_iter().flatten()) {
            sample.value = value;
        }
        let names = [("__name__", "latency_seconds_bucket"), ("le", le)];
        let labels = Labels::new(labels.iter().chain(&names).copied());
        all.push(Points { labels, floats, ..Points::default() });
    }
}

/// Series that are unlike others.
fn odd(all: &mut Vec<Points>, rng: &mut StdRng) {
    let half = steps() / 2;
    let nothing = || vec![None; half];
    let some = |value| vec![Some(value); half];
    all.push(points(rng, "flat", &[], vec![Some(7.0); steps()]));
    all.push(points(rng, "odd", &[("kind", "late")], [nothing(), some(3.5)].concat()));
    all.push(points(rng, "odd", &[("kind", "gone")], [some(2.0), nothing()].concat()));
    let stale = [some(1.0), vec![Some(stale_nan())], nothing()].concat();
    all.push(points(rng, "odd", &[("kind", "stale"), ("job", "api")], stale));
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -2.0, 0.0];
    let values = (0..steps()).map(|step| Some(special[(step / 9) % special.len()])).collect();
    all.push(points(rng, "odd", &[("kind", "special"), ("job", "web")], values));
    let mut blinking = vec![Some(4.0); steps()];
    blinking.iter_mut().step_by(7).for_each(|value| *value = Some(stale_nan()));
    all.push(points(rng, "odd", &[("kind", "blinking"), ("job", "db")], blinking));
}

/// A native histogram: whole counts, buckets on both sides that appear one after the other, resets, another zero bucket
/// and another schema for each job.
fn native(rng: &mut StdRng, schema: i32, job: &str) -> Points {
    let values = vec![Some(0.0); steps()];
    let mut points = points(rng, "native", &[("job", job)], values);
    let mut histogram = Histogram::parse("{{count:9000 z_bucket:9000}}").expect("a histogram");
    (histogram.schema, histogram.zero_threshold) = (schema, 0.25 * f64::from(schema + 2));
    for float in std::mem::take(&mut points.floats) {
        let side = if rng.random_bool(0.7) { "" } else { "n_" };
        let (offset, zero) = (rng.random_range(3..9_i32), rng.random_range(0..3_i32));
        let counts: Vec<i32> = (0..3).map(|_| rng.random_range(1..5)).collect();
        let total = zero + counts.iter().sum::<i32>();
        let width = histogram.zero_threshold;
        let [a, b, c] = counts[..] else { continue };
        let more = format!(
            "{{{{schema:{schema} count:{total} sum:{total} z_bucket:{zero} z_bucket_w:{width} \
             {side}offset:{offset} {side}buckets:[{a} {b} {c}]}}}}"
        );
        let more = Histogram::parse(&more).expect("a histogram");
        if rng.random_bool(0.02) {
            // As counters with gaps: a reset, but far above zero.
            histogram = Histogram { count: 1_000.0, zero_count: 1_000.0, ..more.clone() };
            histogram.positive_buckets.clear();
            histogram.positive_spans.clear();
            histogram.negative_buckets.clear();
            histogram.negative_spans.clear();
        }
        histogram.add(&more).expect("alike");
        let value = Arc::new(histogram.clone());
        points.histograms.push(HistogramSample { timestamp_ms: float.timestamp_ms, value });
    }
    points
}

/// Samples at the series' own phase with some jitter, never at a whole second.
fn points(
    rng: &mut StdRng,
    name: &str,
    labels: &[(&str, &str)],
    values: Vec<Option<f64>>,
) -> Points {
    let labels = Labels::new(labels.iter().copied().chain([("__name__", name)]));
    let phase = rng.random_range(1_000..14_000_i64);
    let mut floats = Vec::new();
    for (step, value) in (0..).zip(values) {
        let jitter = rng.random_range(0..400);
        let at = START_MS + step * INTERVAL_MS + phase + jitter;
        let timestamp_ms = if at % 1_000 == 0 { at + 1 } else { at };
        floats.extend(value.map(|value| Sample { timestamp_ms, value }));
    }
    Points { labels, floats, ..Points::default() }
}
