//! Samples that came late, once they are on disk.

use watchkeep_series::{Labels, Options, Sample, SeriesStore};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const HOUR_MS: i64 = 3_600_000;
/// The begin of two hours that chunks do not reach across.
const BEGIN_MS: i64 = 244_444 * 2 * HOUR_MS;
/// Samples of a full chunk.
const CHUNK: i64 = 120;

/// A late chunk that ends after one that came in order, and begins before it, is read where the latter is not.
#[test]
fn a_query_of_the_past_has_them() -> Outcome {
    let dir = tempfile::tempdir()?;
    let options = Options { out_of_order_window_ms: 2 * HOUR_MS, ..Options::default() };
    let store = SeriesStore::open(&dir, options)?;
    let labels = Labels::new([("__name__", "up")]);
    let at = |timestamp_ms| (labels.clone(), Sample { timestamp_ms, value: 1.0 });
    // Ten minutes in the middle of the first hour, and one sample at the end of the two.
    let middle = BEGIN_MS + HOUR_MS / 2;
    let in_order = (0..CHUNK).map(|n| at(middle + n * 5_000));
    let now_ms = BEGIN_MS + 2 * HOUR_MS - 1_000;
    store.append(&in_order.chain([at(now_ms)]).collect::<Vec<_>>(), now_ms)?;
    // Late ones, from the begin of the two hours nearly to their end.
    let late: Vec<_> = (0..CHUNK).map(|n| at(BEGIN_MS + n * 55_000 + 1)).collect();
    assert_eq!(store.append(&late, now_ms)?.appended, 120);
    let later_ms = now_ms + 2 * HOUR_MS;
    for _ in 0..2 {
        store.flush()?;
        store.expire(later_ms)?;
    }
    let to_ms = middle - 1;
    let found = store.select(&[], BEGIN_MS, to_ms)?;
    let expected = late.iter().filter(|(_, sample)| sample.timestamp_ms <= to_ms).count();
    assert_eq!(found.first().map(|series| series.samples.len()), Some(expected));
    Ok(())
}
