//! How the samples of one series are kept: `open` grows sample by sample, `sealed` is what becomes of it,
//! smaller, once it is full.

pub(crate) mod open;
pub(crate) mod sealed;

/// Samples of a full chunk.
pub(crate) const SAMPLES_MAX: usize = 120;

/// The length of a bucket of time: chunks do not reach across its end.
const BUCKET_MS: i64 = 2 * 3_600_000;

/// The bucket that a time lies in. Times beyond 490,000 years lie in the first and in the last.
pub(crate) fn bucket(timestamp_ms: i64) -> i32 {
    let bucket = timestamp_ms.div_euclid(BUCKET_MS);
    bucket.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// When a bucket begins.
pub(crate) fn bucket_start_ms(bucket: i32) -> i64 {
    i64::from(bucket) * BUCKET_MS
}

/// When a bucket ends: the first time that is not in it.
pub(crate) fn bucket_end_ms(bucket: i32) -> i64 {
    bucket_start_ms(bucket) + BUCKET_MS
}
