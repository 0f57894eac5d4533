//! Samples that are not plain floats in order: late ones, staleness markers, native histograms; and what is deleted by
//! size. Each through restarts.

use std::sync::Arc;

use watchkeep_series::{
    Histogram, HistogramSample, Incoming, Labels, Options, Points, Queryable, Sample, SeriesStore,
    is_stale, stale_nan,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const NOW_MS: i64 = 1_760_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn at(timestamp_ms: i64, value: f64) -> Sample {
    Sample { timestamp_ms, value }
}

fn up() -> Labels {
    Labels::new([("__name__", "up")])
}

#[test]
fn late_samples_are_read_in_order_and_once() -> Outcome {
    let dir = tempfile::tempdir()?;
    let options = Options { out_of_order_window_ms: HOUR_MS, ..Options::default() };
    let mut store = SeriesStore::open(&dir, options)?;
    // Even seconds in order, then odd ones late, enough of them for chunks of their own.
    let even = (0..500).map(|n| (up(), at(NOW_MS + n * 2_000, n as f64)));
    assert_eq!(store.append(&even.collect::<Vec<_>>(), NOW_MS + 1_000_000)?.appended, 500);
    for (from, to) in [(0, 100), (300, 500), (100, 300)] {
        let odd = (from..to).map(|n| (up(), at(NOW_MS + n * 2_000 + 1_000, -1.0)));
        let odd: Vec<_> = odd.collect();
        let became = store.append(&odd[..odd.len() - 1], NOW_MS + 1_000_000)?;
        assert_eq!((became.appended, became.out_of_order), (odd.len() as u64 - 1, 0));
        let again = store.append(&odd[odd.len() - 3..odd.len() - 1], NOW_MS + 1_000_000)?;
        assert_eq!(again.appended + again.duplicate, 2);
        for step in 0..3 {
            let times: Vec<_> =
                store.select(&[], 0, i64::MAX)?[0].samples.iter().map(|s| s.timestamp_ms).collect();
            assert!(times.is_sorted_by(|a, b| a < b), "{step}: a double, or out of order");
            let late = times.iter().filter(|t| (**t - NOW_MS) % 2_000 != 0).count() as i64;
            let all = [(0, 100), (300, 500), (100, 300)];
            let taken = all.iter().take_while(|range| **range != (from, to)).count() + 1;
            let expected: i64 = all[..taken].iter().map(|(from, to)| to - from - 1).sum();
            assert_eq!((late, times.len() as i64 - late), (expected, 500), "step {step}");
            match step {
                0 => store.flush()?,
                _ => {
                    drop(store);
                    store = SeriesStore::open(&dir, options)?;
                }
            }
        }
    }
    let too_late = store.append(&[(up(), at(NOW_MS - HOUR_MS * 2, 1.0))], NOW_MS)?;
    assert_eq!(too_late.out_of_order, 1);
    store.expire(NOW_MS + HOUR_MS * 20)?;
    assert_eq!(store.select(&[], 0, i64::MAX)?[0].samples.len(), 997);
    Ok(())
}

#[test]
fn histograms_and_staleness_markers_survive_restarts() -> Outcome {
    let dir = tempfile::tempdir()?;
    let mut store = SeriesStore::open(&dir, Options::default())?;
    let histogram = |n: i64| {
        let text = format!("{{{{schema:1 sum:{n} count:{n} buckets:[{n} 2 1]}}}}");
        Ok::<_, watchkeep_series::HistogramError>(HistogramSample {
            timestamp_ms: NOW_MS + n * 10_000,
            value: Arc::new(Histogram::parse(&text)?),
        })
    };
    let all = (0..100).map(histogram).collect::<Result<Vec<_>, _>>()?;
    let labels = [("__name__", "latency")];
    let stale = at(NOW_MS + 1_000_000, stale_nan());
    for n in 0..100 {
        let incoming = Incoming { labels: &labels, samples: &[], histograms: &all[n..=n] };
        let became = store.append_series([incoming].into_iter(), NOW_MS + HOUR_MS)?;
        assert_eq!(became.appended, 1);
        if n % 33 == 0 {
            store.flush()?;
            drop(store);
            store = SeriesStore::open(&dir, Options::default())?;
        }
    }
    let incoming = Incoming { labels: &labels, samples: &[stale], histograms: &[] };
    store.append_series([incoming].into_iter(), NOW_MS + HOUR_MS)?;
    store.close()?;
    let store = SeriesStore::open(&dir, Options::default())?;
    let mut read = Vec::<Points>::new();
    Queryable::select(&store, &[], 0, i64::MAX, 101, &mut |_, points| {
        read.push(points.clone());
        Ok(())
    })?;
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].histograms, all);
    assert_eq!(read[0].floats.len(), 1);
    assert!(is_stale(read[0].floats[0].value));
    let few = Queryable::select(&store, &[], 0, i64::MAX, 100, &mut |_, _| Ok(()));
    assert!(few.is_err(), "101 samples are more than 100");
    Ok(())
}

#[test]
fn the_oldest_go_when_there_are_too_many_bytes() -> Outcome {
    let dir = tempfile::tempdir()?;
    let options = Options { retention_bytes: 300_000, ..Options::default() };
    let store = SeriesStore::open(&dir, options)?;
    let mut random = 1_u64;
    for minute in 0..20 * 60 {
        let now_ms = NOW_MS + minute * 60_000;
        let batch = (0..50).map(|n| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let name = Labels::new([("__name__", "m"), ("n", &n.to_string())]);
            (name, at(now_ms, (random >> 11) as f64 / 1e3))
        });
        store.append(&batch.collect::<Vec<_>>(), now_ms)?;
        store.flush()?;
        if minute % 30 == 0 {
            store.expire(now_ms)?;
        }
    }
    let stats = store.stats()?;
    let live = stats.chunk_bytes + stats.log_bytes as u64;
    // The bucket that is being filled comes on top.
    assert!(live < 450_000, "{live} bytes");
    let (oldest, last) = (store.select(&[], 0, i64::MAX)?, NOW_MS + (20 * 60 - 1) * 60_000);
    assert_eq!(oldest.len(), 50);
    for series in oldest {
        let first = series.samples[0].timestamp_ms;
        assert!(first > NOW_MS + HOUR_MS, "nothing was deleted");
        assert_eq!(series.samples.len() as i64, (last - first) / 60_000 + 1, "a gap");
    }
    Ok(())
}

#[test]
fn listings_and_cardinality() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options::default())?;
    let series = |metric: &str, n: i64| {
        Labels::new([("__name__", metric), ("instance", &n.to_string()), ("job", "a")])
    };
    let batch =
        (0..9).map(|n| (series(if n < 6 { "b" } else { "c" }, n), at(NOW_MS + n * 1_000, 1.0)));
    store.append(&batch.collect::<Vec<_>>(), NOW_MS)?;
    let all = (i64::MIN, i64::MAX);
    let c = vec![watchkeep_series::Matcher::Equal("__name__".into(), "c".into())];
    let on = || false;
    let names = |m: &[Vec<_>], times| store.label_names(m, times, 9, &on).unwrap();
    assert_eq!(names(&[], all), ["__name__", "instance", "job"]);
    assert_eq!(names(&[], (NOW_MS + 9_000, i64::MAX)), [""; 0]);
    assert_eq!(names(std::slice::from_ref(&c), (0, NOW_MS + 5_999)), [""; 0]);
    let values = |m: &[Vec<_>], times| store.label_values("instance", m, times, 3, &on).unwrap();
    assert_eq!(values(&[], all), ["0", "1", "2"]);
    assert_eq!(values(std::slice::from_ref(&c), (NOW_MS + 7_000, i64::MAX)), ["7", "8"]);
    let both = [c.clone(), c];
    assert_eq!(store.series(&both, all, 2, &on)?, [series("c", 6), series("c", 7)]);
    assert_eq!(store.times(), Some((NOW_MS, NOW_MS + 8_000)));
    let most = store.cardinality(1);
    let first = |counts: &[watchkeep_series::Count]| (counts[0].name.clone(), counts[0].value);
    assert_eq!(first(&most.series_by_metric), ("b".into(), 6));
    assert_eq!(first(&most.values_by_label), ("instance".into(), 9));
    assert_eq!(first(&most.series_by_pair), ("job=a".into(), 9));
    assert_eq!(most.label_pairs, 12);
    Ok(())
}

#[test]
fn another_format_is_refused_by_name() -> Outcome {
    let dir = tempfile::tempdir()?;
    let database = fjall::Database::builder(dir.path()).open()?;
    let rows = database.keyspace("series", fjall::KeyspaceCreateOptions::default)?;
    rows.insert([0], [1, 0, 0, 0, 0, 0, 0, 0, 7])?;
    drop((rows, database));
    let error = SeriesStore::open(&dir, Options::default()).expect_err("format 1").to_string();
    assert!(error.contains("it has format 1, this version reads 2"), "{error}");
    Ok(())
}

/// Whoever lists holds the lock that ingest waits for: it is asked whether to go on, and goes at once.
#[test]
fn listings_stop_when_nobody_waits() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options::default())?;
    let series = |n: i64| Labels::new([("__name__", "m"), ("n", &n.to_string())]);
    store.append(&(0..10_000).map(|n| (series(n), at(NOW_MS, 1.0))).collect::<Vec<_>>(), NOW_MS)?;
    let (all, asked) = ((i64::MIN, i64::MAX), std::cell::Cell::new(0));
    // At the third question.
    let stop = || asked.replace(asked.get() + 1) == 2;
    let m = [vec![watchkeep_series::Matcher::Equal("__name__".into(), "m".into())]];
    let stopped = |result: Result<usize, watchkeep_series::SeriesError>| {
        matches!(result, Err(watchkeep_series::SeriesError::Stopped)) && asked.replace(0) == 3
    };
    for selectors in [&[][..], &m] {
        let list = store.series(selectors, all, usize::MAX, &stop);
        assert!(stopped(list.map(|list| list.len())));
        let list = store.label_values("n", selectors, all, usize::MAX, &stop);
        assert!(stopped(list.map(|list| list.len())));
    }
    let list = store.label_names(&m, all, usize::MAX, &stop);
    assert!(stopped(list.map(|list| list.len())));
    Ok(())
}
