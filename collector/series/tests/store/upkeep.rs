//! While the store deletes and merges, it is written to, flushed and read.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use watchkeep_series::{Labels, Matcher, Options, Sample, SeriesStore};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const HOUR_MS: i64 = 3_600_000;
/// The begin of two hours that chunks do not reach across.
const BEGIN_MS: i64 = 244_444 * 2 * HOUR_MS;

fn series(n: usize) -> Labels {
    Labels::new([("__name__", "noise"), ("n", &*n.to_string())])
}

/// More rows than are deleted at once: what comes between is on disk before all of them are gone.
#[test]
fn an_expiry_lets_samples_be_flushed_between_its_steps() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options::default())?;
    let dead = 21_000;
    let old: Vec<_> =
        (0..dead).map(|n| (series(n), Sample { timestamp_ms: BEGIN_MS, value: 1.0 })).collect();
    store.append(&old, BEGIN_MS)?;
    store.flush()?;
    let now_ms = BEGIN_MS + 30 * HOUR_MS;
    let mut steps = 0;
    let expired = store.expire_in_steps(now_ms, || {
        // A new series each time: they join the group of the youngest ones that are being deleted.
        let sample = Sample { timestamp_ms: now_ms + steps, value: steps as f64 };
        let label = steps.to_string();
        let between = Labels::new([("__name__", "between"), ("n", &*label)]);
        store.append(&[(between, sample)], now_ms).expect("taken");
        store.flush().expect("no lock is held");
        steps += 1;
    })?;
    assert_eq!(expired.series, dead);
    assert!(steps >= 4, "{steps} steps");
    // As after a crash right behind the last step.
    drop(store);
    let store = SeriesStore::open(&dir, Options::default())?;
    let found = store.select(&[], 0, i64::MAX)?;
    assert_eq!(found.len() as i64, steps);
    assert!(found.iter().all(|one| one.samples.len() == 1), "{found:?}");
    assert_eq!(store.stats()?.series as i64, steps);
    Ok(())
}

const SERIES: usize = 40;
const STEP_MS: i64 = 10_000;
/// Ten minutes.
const STEPS_AT_ONCE: i64 = 60;
const RETENTION_MS: i64 = 6 * HOUR_MS;
/// Fifteen hours; then until tables were merged, but not for ever.
const ROUNDS: i64 = 90;
const ROUNDS_MAX: i64 = 900;
/// Series with a sample each that come with each round, and bytes of their labels: they fill memtables.
const BALLAST: i64 = 200;
const BALLAST_BYTES: usize = 3_000;

/// Times of all series, with values that do not compress.
fn batch(from_ms: i64) -> Vec<(Labels, Sample)> {
    let labels: Vec<_> = (0..SERIES).map(series).collect();
    let steps = (0..STEPS_AT_ONCE).map(|step| from_ms + step * STEP_MS);
    let of = |timestamp_ms: i64| {
        let value = move |n: usize| (timestamp_ms as f64 + n as f64).sin();
        let labels = labels.iter().enumerate();
        labels.map(move |(n, labels)| (labels.clone(), Sample { timestamp_ms, value: value(n) }))
    };
    steps.flat_map(of).collect()
}

fn ballast(round: i64, timestamp_ms: i64) -> Vec<(Labels, Sample)> {
    let text = |n: i64| format!("{:0>BALLAST_BYTES$}", round * BALLAST + n);
    let labels = |n| Labels::new([("__name__", "ballast"), ("text", &*text(n))]);
    (0..BALLAST).map(|n| (labels(n), Sample { timestamp_ms, value: 1.0 })).collect()
}

/// Every sample that is to be kept is in every answer, once, while fjall writes tables and merges them, and while the oldest
/// buckets are deleted.
#[test]
fn what_is_kept_is_read_while_tables_are_merged_and_buckets_are_deleted() -> Outcome {
    let dir = tempfile::tempdir()?;
    let options = Options { retention_ms: RETENTION_MS, ..Options::default() };
    let store = SeriesStore::open(&dir, options)?;
    let (now_ms, done) = (AtomicI64::new(BEGIN_MS), AtomicBool::new(false));
    let mut deleted = 0;
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let matcher = [Matcher::Equal("n".into(), "7".into())];
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let to_ms = now_ms.load(Ordering::Acquire);
                let found = store.select(&matcher, BEGIN_MS, to_ms - 1).expect("select");
                // What was to be kept when the answer was there.
                let from_ms = (now_ms.load(Ordering::Acquire) - RETENTION_MS).max(BEGIN_MS);
                let times = found.iter().flat_map(|one| &one.samples).map(|s| s.timestamp_ms);
                let kept = times.filter(|time| *time >= from_ms);
                let first = from_ms + (BEGIN_MS - from_ms).rem_euclid(STEP_MS);
                assert!(kept.eq((first..to_ms).step_by(STEP_MS as usize)), "a gap or a double");
                reads += 1;
            }
            reads
        });
        for round in 0..ROUNDS_MAX {
            if round >= ROUNDS && has_merged(dir.path()) {
                break;
            }
            let from_ms = BEGIN_MS + round * STEPS_AT_ONCE * STEP_MS;
            let to_ms = from_ms + STEPS_AT_ONCE * STEP_MS;
            store.append(&batch(from_ms), to_ms).expect("append");
            store.append(&ballast(round, from_ms), to_ms).expect("append");
            store.flush().expect("flush");
            now_ms.store(to_ms, Ordering::Release);
            if round % 6 == 0 {
                deleted += store.expire(to_ms).expect("expire").chunks;
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("the reader")
    });
    assert!(reads > 20, "{reads} reads");
    assert!(deleted > SERIES * 6 * 3, "{deleted} chunks were deleted");
    assert!(has_merged(dir.path()), "nothing was merged: {:?}", tables(dir.path()));
    Ok(())
}

/// Whether of all tables that were written some are not there any more.
fn has_merged(dir: &Path) -> bool {
    let tables = tables(dir);
    tables.iter().max().is_some_and(|highest| (tables.len() as u64) < *highest)
}

/// The numbers of fjall's tables: each that is written has the next one.
fn tables(dir: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let of = |path: PathBuf| {
        if path.is_dir() {
            return tables(&path);
        }
        let in_tables = path.parent().is_some_and(|folder| folder.ends_with("tables"));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.parse().ok().filter(|_| in_tables).into_iter().collect()
    };
    entries.flatten().flat_map(|entry| of(entry.path())).collect()
}
