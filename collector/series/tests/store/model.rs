//! The store against a list of samples per series, through flushes, expiries, restarts and crashes.

use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;
use watchkeep_series::{Labels, Matcher, Options, Sample, SeriesStore};

const RETENTION_MS: i64 = 2 * 3_600_000;
const OPTIONS: Options = Options {
    retention_ms: RETENTION_MS,
    retention_bytes: u64::MAX,
    out_of_order_window_ms: 0,
    series_max: 100,
    memory_bytes_max: usize::MAX,
    samples_max: 1_000_000,
};

#[derive(Debug, Clone)]
enum Step {
    /// `count` samples of a series, `every_ms` apart, the last one now.
    Append {
        series: u8,
        count: u8,
        every_ms: i64,
        value: f64,
    },
    /// Samples at times that the series has seen.
    Past {
        series: u8,
    },
    Advance {
        ms: i64,
    },
    Flush,
    Expire,
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append =
        (0..4_u8, 1..200_u8, 1..20_000_i64, prop_oneof![Just(1.0), any::<f64>()]).prop_map(
            |(series, count, every_ms, value)| Step::Append { series, count, every_ms, value },
        );
    let step = prop_oneof![
        8 => append,
        2 => (0..4_u8).prop_map(|series| Step::Past { series }),
        2 => (1..3_600_000_i64).prop_map(|ms| Step::Advance { ms }),
        4 => Just(Step::Flush),
        3 => Just(Step::Expire),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

/// The same, naively.
#[derive(Default)]
struct Model {
    all: BTreeMap<u8, Vec<(i64, u64)>>,
    flushed: BTreeMap<u8, Vec<(i64, u64)>>,
}

fn labels(series: u8) -> Labels {
    Labels::new([
        ("__name__", "up"),
        ("parity", ["even", "odd"][usize::from(series % 2)]),
        ("instance", &series.to_string()),
    ])
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("mkdir");
    for entry in fs::read_dir(from).expect("read dir") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copy");
        }
    }
}

fn compare(store: &SeriesStore, model: &Model, now_ms: i64) {
    // Expiry works by chunk: what is past its retention may or may not be there.
    let from_ms = now_ms - RETENTION_MS;
    for (matchers, parity) in [
        (vec![], None),
        (vec![Matcher::Equal("parity".into(), "odd".into())], Some(1)),
        (vec![Matcher::regex("parity", "ev.*").expect("compiles")], Some(0)),
    ] {
        let answer: BTreeMap<_, Vec<_>> = store
            .select(&matchers, from_ms, now_ms - 1)
            .expect("select")
            .into_iter()
            .map(|s| {
                let samples = s.samples.iter().map(|s| (s.timestamp_ms, s.value.to_bits()));
                (s.labels, samples.collect())
            })
            .collect();
        let expected: BTreeMap<_, Vec<_>> = model
            .all
            .iter()
            .filter(|(series, _)| parity.is_none_or(|p| **series % 2 == p))
            .map(|(series, samples)| {
                let wanted = samples.iter().filter(|(t, _)| (from_ms..now_ms).contains(t));
                (labels(*series), wanted.copied().collect())
            })
            .filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty())
            .collect();
        assert_eq!(answer, expected);
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut generation = 0;
    let path = |generation: i32| dir.path().join(generation.to_string());
    let mut store = SeriesStore::open(path(0), OPTIONS).expect("opens");
    let mut model = Model::default();
    let mut now_ms = 1_760_000_000_000_i64;
    for step in steps {
        match step {
            Step::Append { series, count, every_ms, value } => {
                now_ms += i64::from(count) * every_ms;
                let known = model.all.entry(series).or_default();
                let mut batch = Vec::new();
                for n in (0..i64::from(count)).rev() {
                    let value = value + n as f64;
                    let sample = Sample { timestamp_ms: now_ms - n * every_ms, value };
                    batch.push((labels(series), sample));
                    if sample.timestamp_ms >= now_ms - RETENTION_MS {
                        known.push((sample.timestamp_ms, value.to_bits()));
                    }
                }
                let became = store.append(&batch, now_ms).expect("append");
                assert_eq!(became.appended + became.too_old, u64::from(count));
            }
            Step::Past { series } => {
                let last = model.all.get(&series).and_then(|s| s.last());
                let Some(last_ms) = last.map(|l| l.0).filter(|l| *l > now_ms - RETENTION_MS + 1)
                else {
                    continue;
                };
                let past = [last_ms - 1, last_ms]
                    .map(|timestamp_ms| (labels(series), Sample { timestamp_ms, value: 9.0 }));
                let became = store.append(&past, now_ms).expect("append");
                assert_eq!((became.out_of_order, became.duplicate, became.appended), (1, 1, 0));
            }
            Step::Advance { ms } => now_ms += ms,
            Step::Flush => {
                store.flush().expect("flush");
                model.flushed = model.all.clone();
            }
            Step::Expire => {
                store.expire(now_ms).expect("expire");
                for samples in model.all.values_mut() {
                    samples.retain(|(t, _)| *t >= now_ms - RETENTION_MS);
                }
                // A series that expired whole is forgotten, and may begin again.
                model.all.retain(|_, samples| !samples.is_empty());
                model.flushed = model.all.clone();
                let stats = store.stats().expect("stats");
                assert_eq!(stats.series, model.all.len());
                assert_eq!(stats.unlogged_samples, 0);
            }
            Step::Restart => {
                store.close().expect("close");
                store = SeriesStore::open(path(generation), OPTIONS).expect("opens");
                model.flushed = model.all.clone();
            }
            Step::Crash => {
                let before = path(generation);
                generation += 1;
                copy(&before, &path(generation));
                store = SeriesStore::open(path(generation), OPTIONS).expect("opens");
                model.all = model.flushed.clone();
            }
        }
        compare(&store, &model, now_ms + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn agrees_with_the_model(steps in steps()) {
        run(steps);
    }
}
