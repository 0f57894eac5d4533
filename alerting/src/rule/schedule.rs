//! When groups are evaluated: at fixed times, spread over the interval by a hash of the group, so that not all of
//! them ask at once. Pure.

use std::time::Duration;

/// The last time at or before `now_ms` at which the group `id` is evaluated.
#[must_use]
pub fn aligned(id: &str, interval: Duration, now_ms: i64) -> i64 {
    let interval = millis(interval);
    let offset = i64::from_str_radix(id.get(..15).unwrap_or_default(), 16).unwrap_or(0) % interval;
    let base = now_ms - offset;
    base - base.rem_euclid(interval) + offset
}

/// How many evaluations were left out when the one of `last_ms` ended at `now_ms`.
#[must_use]
pub fn missed(last_ms: i64, interval: Duration, now_ms: i64) -> u64 {
    let passed = (now_ms - last_ms).max(0) / millis(interval);
    u64::try_from(passed - 1).unwrap_or(0)
}

fn millis(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_the_groups_own() {
        let minute = Duration::from_mins(1);
        for id in ["cbf29ce484222325", "0000000000000000", "00000000000003e8", ""] {
            for now in [0, 1_700_000_012_345, 59_999] {
                let at = aligned(id, minute, now);
                assert!(at <= now && now - at < 60_000, "{id} {now} {at}");
                assert_eq!(aligned(id, minute, at), at);
                assert_eq!(aligned(id, minute, at + 59_999), at);
                assert_eq!(aligned(id, minute, at + 60_000), at + 60_000);
            }
        }
        assert_eq!((missed(0, minute, 59_000), missed(0, minute, 60_000)), (0, 0));
        assert_eq!((missed(0, minute, 120_000), missed(0, minute, 185_000)), (1, 2));
    }
}
