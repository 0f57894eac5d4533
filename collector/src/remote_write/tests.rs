//! Requests like real ones, then with bytes changed: none makes the reader or the store panic, and what is taken is read in order.

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::Index};
use prost::Message;
use watchkeep_catalog::prompb::{BucketSpan, Histogram, Label, Sample, TimeSeries, WriteRequest};
use watchkeep_series::{Options, Queryable, SeriesStore};

use super::wire::Batch;

const NOW_MS: i64 = 1_767_603_600_000;

/// Mostly about now, sometimes anything.
fn times() -> impl Strategy<Value = i64> {
    prop_oneof![8 => NOW_MS - 60_000..NOW_MS, 1 => any::<i64>(), 1 => Just(0)]
}

fn values() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1e6..1e6, 1 => any::<u64>().prop_map(f64::from_bits)]
}

fn spans() -> impl Strategy<Value = Vec<BucketSpan>> {
    let offset = prop_oneof![6 => -3..8_i32, 1 => any::<i32>()];
    let length = prop_oneof![6 => 0..5_u32, 1 => any::<u32>()];
    vec((offset, length).prop_map(|(offset, length)| BucketSpan { offset, length }), 0..4)
}

/// With as many buckets as its spans say, or another number.
fn histogram() -> impl Strategy<Value = Histogram> {
    let counts = prop_oneof![6 => 0..100_u64, 1 => any::<u64>()];
    let schema = prop_oneof![6 => -4..9_i32, 2 => Just(-53), 1 => any::<i32>()];
    let parts = (
        (spans(), spans(), schema, times(), values(), 0..5_i32),
        (option::of(counts.clone()), option::of(values()), counts, -0.001..0.01_f64),
        (vec(-5..20_i64, 0..16), vec(values(), 0..16), vec(values(), 0..6), any::<[bool; 2]>()),
    );
    parts.prop_map(
        |(
            (positive, negative, schema, timestamp, sum, hint),
            (whole, float, zero, width),
            rest,
        )| {
            let (steps, floats, mut custom_values, [fits, is_float]) = rest;
            let custom = schema == -53;
            let (negative, zero) = if custom && fits { (Vec::new(), 0) } else { (negative, zero) };
            custom_values.sort_by(f64::total_cmp);
            let count = |spans: &[BucketSpan]| {
                let wanted: usize = spans.iter().map(|span| span.length.min(64) as usize).sum();
                if fits { wanted } else { steps.len() }
            };
            let absolute = |spans: &[BucketSpan]| -> Vec<i64> {
                let steps = steps.iter().map(|step| step.abs()).chain([1]).collect::<Vec<_>>();
                steps.into_iter().cycle().take(count(spans)).collect()
            };
            let (above, below) = (absolute(&positive), absolute(&negative));
            let total = above.iter().chain(&below).map(|count| count.unsigned_abs()).sum::<u64>();
            let deltas = |counts: &[i64]| {
                let before = [0].into_iter().chain(counts.iter().copied());
                counts.iter().zip(before).map(|(now, before)| now - before).collect::<Vec<_>>()
            };
            let of_floats = |counts: &[i64]| -> Vec<f64> {
                if fits {
                    counts.iter().map(|count| *count as f64).collect()
                } else {
                    floats.clone()
                }
            };
            let (positive_deltas, negative_deltas) =
                if is_float { (Vec::new(), Vec::new()) } else { (deltas(&above), deltas(&below)) };
            let (positive_counts, negative_counts) = if is_float {
                (of_floats(&above), of_floats(&below))
            } else {
                (Vec::new(), Vec::new())
            };
            Histogram {
                count_int: if fits { Some(zero.saturating_add(total)) } else { whole },
                count_float: float.filter(|_| is_float && !fits),
                sum,
                schema,
                zero_threshold: if custom { 0.0 } else { width },
                zero_count_int: Some(zero),
                positive_deltas,
                negative_deltas,
                positive_counts,
                negative_counts,
                positive_spans: positive,
                negative_spans: negative,
                reset_hint: hint,
                timestamp,
                custom_values: if custom { custom_values } else { Vec::new() },
                ..Histogram::default()
            }
        },
    )
}

fn request() -> impl Strategy<Value = WriteRequest> {
    let labels = vec(("[ab]|le|\\PC{0,3}", "\\PC{0,5}"), 0..3);
    let samples = vec((times(), values()), 0..6);
    let samples = samples.prop_map(|all| {
        all.into_iter().map(|(timestamp, value)| Sample { value, timestamp }).collect::<Vec<_>>()
    });
    let series = ("[mn]?", labels, samples, vec(histogram(), 0..4));
    let series = series.prop_map(|(name, labels, samples, histograms)| {
        let named = [("__name__".to_owned(), name)].into_iter().chain(labels);
        let labels = named.map(|(name, value)| Label { name, value }).collect();
        TimeSeries { labels, samples, histograms }
    });
    vec(series, 0..4).prop_map(|timeseries| WriteRequest { timeseries })
}

/// Reads a body, takes it in, and reads what is there then.
fn ingest(store: &SeriesStore, plain: &[u8]) {
    let Ok(batch) = Batch::read(plain) else { return };
    let _ = store.append_series(batch.iter(), NOW_MS);
    store.flush().expect("the disk works");
    Queryable::select(store, &[], i64::MIN, i64::MAX, usize::MAX, &mut |labels, points| {
        let floats = points.floats.iter().map(|sample| sample.timestamp_ms);
        let histograms = points.histograms.iter().map(|sample| sample.timestamp_ms);
        assert!(floats.clone().is_sorted_by(|a, b| a < b), "{labels}");
        assert!(histograms.clone().is_sorted_by(|a, b| a < b), "{labels}");
        let floats: BTreeSet<i64> = floats.collect();
        assert!(histograms.clone().all(|at| !floats.contains(&at)), "{labels}: both at one time");
        for sample in &points.histograms {
            let _ = (sample.value.quantile(0.9), sample.value.to_string());
        }
        Ok(())
    })
    .expect("what was taken can be read");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_request_makes_reader_or_store_panic(
        requests in vec(request(), 1..4),
        changes in vec((any::<Index>(), any::<u8>()), 0..6),
        window in prop_oneof![Just(0), Just(30_000_i64)]
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let options = || Options { out_of_order_window_ms: window, ..Options::default() };
        let store = SeriesStore::open(dir.path(), options()).expect("a store");
        for request in &requests {
            ingest(&store, &request.encode_to_vec());
        }
        // Once more, with a few bytes changed.
        let mut bytes = requests[0].encode_to_vec();
        if !bytes.is_empty() {
            let len = bytes.len();
            changes.iter().for_each(|(at, byte)| bytes[at.index(len)] = *byte);
        }
        ingest(&store, &bytes);
        drop(store);
        // What is on disk is read again.
        let store = SeriesStore::open(dir.path(), options()).expect("the store, again");
        ingest(&store, &[]);
    }
}
