//! Limits, and what a store that was closed or copied while open remembers.

use watchkeep_series::{Labels, Matcher, Options, Sample, SeriesError, SeriesStore};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const NOW_MS: i64 = 1_760_000_000_000;

fn up(instance: usize) -> Labels {
    Labels::new([("__name__", "up"), ("instance", &instance.to_string())])
}

fn at(timestamp_ms: i64) -> Sample {
    Sample { timestamp_ms, value: 1.0 }
}

#[test]
fn one_series_too_many_is_named_and_the_others_are_taken() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options { series_max: 2, ..Options::default() })?;
    let batch = [0, 1, 2, 3, 0].into_iter().zip(0..).map(|(i, n)| (up(i), at(NOW_MS + n)));
    let error = store.append(&batch.collect::<Vec<_>>(), NOW_MS).expect_err("too many");
    let SeriesError::SeriesMax { appended, .. } = &error else { panic!("{error}") };
    assert_eq!((appended.appended, appended.series_max), (3, 2));
    assert_eq!(
        error.to_string(),
        "series up{instance=\"2\"} is one more than series_max = 2: metric \"up\" has 2 series, label \
         \"instance\" has 2 values; raise the limit or have that label dropped"
    );
    assert_eq!(store.select(&[], 0, i64::MAX)?.len(), 2);
    Ok(())
}

#[test]
fn a_series_too_many_for_the_memory_is_named_and_the_others_are_taken() -> Outcome {
    let dir = tempfile::tempdir()?;
    let options = Options { memory_bytes_max: 300_000, ..Options::default() };
    let store = SeriesStore::open(&dir, options)?;
    let all: Vec<_> = (0..3_000).map(|n| (up(n), at(NOW_MS))).collect();
    let error = store.append(&all, NOW_MS).expect_err("too many");
    let SeriesError::MemoryMax { appended, .. } = &error else { panic!("{error}") };
    // A few hundred bytes each.
    let taken = appended.appended as usize;
    assert!((400..1_500).contains(&taken), "{taken}");
    let text = error.to_string();
    assert!(text.contains(&format!("series up{{instance=\"{taken}\"}} is one too many")), "{text}");
    assert!(text.contains(&format!("metric \"up\" has {taken} series")), "{text}");
    // Those that are known go on; those that are forgotten make room.
    let known: Vec<_> = (0..taken).map(|n| (up(n), at(NOW_MS + 1))).collect();
    assert_eq!(store.append(&known, NOW_MS)?.appended as usize, taken);
    let later_ms = NOW_MS + 27 * 3_600_000;
    store.expire(later_ms)?;
    store.append(&[(up(2_999), at(later_ms))], later_ms)?;
    Ok(())
}

#[test]
fn times_far_from_now_are_counted() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options::default())?;
    let day = 25 * 3_600_000;
    let times = [NOW_MS - day - 1, NOW_MS - day, NOW_MS + 600_000, NOW_MS + 600_001];
    let batch = times.map(|t| (up(1), at(t)));
    let became = store.append(&batch, NOW_MS)?;
    assert_eq!((became.too_old, became.appended, became.too_new), (1, 2, 1));
    Ok(())
}

#[test]
fn an_answer_has_a_limit() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options { samples_max: 150, ..Options::default() })?;
    let batch: Vec<_> = (0..151).map(|n| (up(1), at(NOW_MS + n))).collect();
    store.append(&batch, NOW_MS)?;
    for _ in 0..2 {
        assert!(matches!(store.select(&[], 0, i64::MAX), Err(SeriesError::SamplesMax(150))));
        assert_eq!(store.select(&[], NOW_MS + 1, i64::MAX)?[0].samples.len(), 150);
        store.flush()?;
    }
    Ok(())
}

#[test]
fn a_dropped_store_has_what_was_flushed() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options::default())?;
    store.append(&[(up(1), at(NOW_MS))], NOW_MS)?;
    store.flush()?;
    store.append(&[(up(1), at(NOW_MS + 1)), (up(2), at(NOW_MS))], NOW_MS)?;
    drop(store);
    let store = SeriesStore::open(&dir, Options::default())?;
    let answer = store.select(&[Matcher::Equal("__name__".into(), "up".into())], 0, i64::MAX)?;
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0].samples, [at(NOW_MS)]);
    Ok(())
}

#[test]
fn a_directory_in_use_is_refused_with_words() -> Outcome {
    let dir = tempfile::tempdir()?;
    let _store = SeriesStore::open(&dir, Options::default())?;
    let error = SeriesStore::open(&dir, Options::default()).expect_err("locked");
    assert!(error.to_string().contains("another process may have it open"), "{error}");
    Ok(())
}

#[test]
fn readers_see_every_sample_once_while_chunks_move_to_disk() -> Outcome {
    let dir = tempfile::tempdir()?;
    let store = SeriesStore::open(&dir, Options::default())?;
    let samples = 3_000;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for series in store.select(&[], 0, i64::MAX).expect("select") {
                    let times = series.samples.iter().map(|s| s.timestamp_ms);
                    let expected = NOW_MS..NOW_MS + series.samples.len() as i64;
                    assert!(times.eq(expected), "a gap or a double");
                }
                reads += 1;
            }
            reads
        });
        for n in 0..samples {
            store.append(&[(up(1), at(NOW_MS + n))], NOW_MS).expect("append");
            if n % 7 == 0 {
                store.flush().expect("flush");
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().expect("reader") > 0);
    });
    assert_eq!(store.select(&[], 0, i64::MAX)?[0].samples.len(), 3_000);
    Ok(())
}
